//! All metrics: one table of names, and one registry per engine. Handles are resolved once, not per frame.
//!
//! Only names in [`TABLE`] can be exported, and all of them are registered, so the table is the documentation. Labels
//! are bounded: sources, strategies, models and handlers come from the configuration, reasons and kinds are constants,
//! and classes and rules beyond a limit are counted as `other`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::handles::{HandlerMetrics, ModelMetrics, StrategyMetrics, VersionMetrics};
use super::machine::Sample;
use super::meter::{self, Meter};
use super::process::Reading;
use super::source::SourceMetrics;
use crate::types::{Clock, SourceId};

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution in buckets.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Its full name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Its help text, one sentence.
    pub help: &'static str,
}

const fn row(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind, labels, help }
}

use Kind::{Counter as C, Gauge as G, Histogram as H};

/// All metrics, in order of documentation.
pub const TABLE: &[Definition] = &[
    row("dsengine_build_info", G, &["version"], "Always 1; the labels say what is running."),
    row(
        "dsengine_deployment_info",
        G,
        &["name", "version", "environment"],
        "Always 1; the labels are those of the configuration.",
    ),
    row("dsengine_uptime_seconds", G, &[], "Seconds since this engine started."),
    row("dsengine_machine_cpu_percent", G, &[], "CPU of the machine in use over the last metrics interval."),
    row("dsengine_machine_memory_percent", G, &[], "Memory of the machine in use at the last metrics interval."),
    row("dsengine_problems", G, &[], "What keeps this engine from being healthy: the number of sentences in /health."),
    row("dsengine_source_up", G, &["source"], "1 while frames of the source flow, else 0."),
    row(
        "dsengine_source_state",
        G,
        &["source", "state"],
        "1 for the state the source is in, 0 for those it has been in.",
    ),
    row("dsengine_source_reconnects_total", C, &["source"], "Attempts to bring the source back after a failure."),
    row(
        "dsengine_source_last_frame_timestamp_seconds",
        G,
        &["source"],
        "Unix time at which the newest frame was captured.",
    ),
    row("dsengine_source_fps", G, &["source"], "Frames received per second over the last few seconds."),
    row("dsengine_source_queue_depth", G, &["source"], "Frames of the source waiting for its lane."),
    row("dsengine_frames_decoded_total", C, &["source"], "Frames received from the source's decoder."),
    row("dsengine_frames_total", C, &["source"], "Frames judged: detected, tracked and seen by every strategy."),
    row("dsengine_frames_dropped_total", C, &["source", "reason"], "Frames not judged, by reason."),
    row(
        "dsengine_frame_latency_seconds",
        H,
        &["source", "stage"],
        "Time a frame spent in a stage; total is from arrival to verdict.",
    ),
    row("dsengine_detections_total", C, &["source", "class"], "Detections after all strategies, by class."),
    row(
        "dsengine_alerts_total",
        C,
        &["source", "rule", "outcome"],
        "Alerts by outcome: raised + recovered = delivered + dead_lettered + expired + dropped + suppressed + digested \
         + refused + still pending.",
    ),
    row(
        "dsengine_alert_deliveries_total",
        C,
        &["handler", "outcome"],
        "Delivery attempts by handler: delivered, retried, failed (given up).",
    ),
    row(
        "dsengine_alert_latency_seconds",
        H,
        &["handler"],
        "From the capture of the frame to the delivery of its alert.",
    ),
    row(
        "dsengine_alert_undelivered_total",
        C,
        &["reason"],
        "Deliveries that do not happen, one per alert and handler: given_up, expired, queue_full, journal_full, handler_removed.",
    ),
    row(
        "dsengine_alert_decisions_lost_total",
        C,
        &[],
        "Decisions on drafts that the log behind `dsengine explain` neither has nor counts, for lack of room.",
    ),
    row(
        "dsengine_alert_pictures_total",
        C,
        &["outcome"],
        "Pictures of alerts: kept, dropped (no room), failed (not encoded or written), removed (old, many, unneeded).",
    ),
    row(
        "dsengine_alert_commands_total",
        C,
        &["outcome"],
        "What handlers asked of the engine: taken, or refused as queue_full, too_large, closed.",
    ),
    row("dsengine_handler_memory_bytes", G, &["handler"], "Memory of a scripted handler's instance."),
    row("dsengine_handler_state_bytes", G, &["handler"], "State that the host keeps for a scripted handler."),
    row(
        "dsengine_handler_limited_total",
        C,
        &["handler", "what"],
        "What went over a limit without failing the delivery: slow deliveries, log lines left out.",
    ),
    row("dsengine_alerts_pending", G, &["handler"], "Alerts accepted and waiting for the handler."),
    row("dsengine_strategy_calls_total", C, BY_SOURCE, "Frames the strategy was asked to judge."),
    row("dsengine_strategy_off_schedule_total", C, BY_SOURCE, "Frames the strategy's schedule left out."),
    row(
        "dsengine_strategy_faults_total",
        C,
        &["strategy", "source", "kind"],
        "Calls that failed or ran into a limit, by kind; the frame passed unchanged.",
    ),
    row(
        "dsengine_strategy_limited_total",
        C,
        &["strategy", "source", "what"],
        "What went over a limit without failing the call: slow calls, alerts and log lines left out, messages cut.",
    ),
    row("dsengine_strategy_call_seconds", H, BY_SOURCE, "Duration of the strategy's calls."),
    row("dsengine_strategy_memory_bytes", G, BY_SOURCE, "Memory of the strategy's instance."),
    row("dsengine_strategy_state_bytes", G, BY_SOURCE, "State that the host keeps for the strategy."),
    row("dsengine_strategy_alerts_total", C, BY_SOURCE, "Alerts the strategy raised."),
    row(
        "dsengine_strategy_shadow_total",
        C,
        &["strategy", "source", "verdict"],
        "Frames shown to a shadow, by how its verdict compares: same, different, fault, skipped while it is switched off.",
    ),
    row(
        "dsengine_strategy_generation",
        G,
        &["strategy"],
        "Generation that judges now; grows by one with every reload.",
    ),
    row("dsengine_strategy_degraded", G, BY_SOURCE, "1 while the strategy is switched off after repeated faults."),
    row("dsengine_strategy_reloads_total", C, &["strategy", "result"], "Reloads by result: ok, rejected, rolled_back."),
    row("dsengine_inference_seconds", H, &["model"], "Duration of the model's runs, one per batch."),
    row("dsengine_inference_frames_total", C, &["model"], "Frames the model was run on."),
    row(
        "dsengine_inference_rejected_total",
        C,
        &["model"],
        "Values of the model's output that were refused: not finite, outside 0..1, no box.",
    ),
    row("dsengine_queue_depth", G, &["queue"], "Items waiting in a queue of the engine."),
    row(
        "dsengine_api_refused_total",
        C,
        &["reason"],
        "Requests that the API refused: wrong_token, no_token, scope (of a token that may not do this).",
    ),
    row("dsengine_log_lines_lost_total", C, &[], "Lines that logging.log_file did not take: they are missing from it."),
    row("process_cpu_seconds_total", C, &[], "User and system CPU time spent by the process."),
    row("process_resident_memory_bytes", G, &[], "Resident memory of the process."),
    row("process_open_fds", G, &[], "Open file descriptors of the process."),
    row("process_threads", G, &[], "Threads of the process."),
];

/// Labels of the series of a strategy's instances.
const BY_SOURCE: &[&str] = &["strategy", "source"];

/// From a tenth of a millisecond to ten seconds.
const SECONDS: &[f64] =
    &[1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// From two microseconds to a quarter of a second: the duration of one strategy call.
const CALL_SECONDS: &[f64] =
    &[2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.25];

/// One engine's metrics. Cheap handles come from [`Metrics::source`], [`Metrics::strategy`], [`Metrics::model`] and
/// [`Metrics::handler`]; [`Metrics::render`] writes the page.
pub struct Metrics {
    pub(super) clock: Arc<dyn Clock>,
    registry: Registry,
    plugins: Arc<meter::Families>,
    started_ns: u64,
    deployment: IntGaugeVec,
    uptime: Gauge,
    /// Number of health problems; set by the health check.
    pub problems: IntGauge,
    machine: [Gauge; 2],
    pub(super) families: Families,
    sources: Mutex<BTreeMap<SourceId, SourceMetrics>>,
    process: Mutex<Counter>,
    process_rss: IntGauge,
    process_fds: IntGauge,
    process_threads: IntGauge,
}

/// The families with labels.
pub(super) struct Families {
    pub(super) up: IntGaugeVec,
    pub(super) state: IntGaugeVec,
    pub(super) reconnects: IntCounterVec,
    pub(super) last_frame: GaugeVec,
    pub(super) fps: GaugeVec,
    pub(super) source_queue: IntGaugeVec,
    pub(super) decoded: IntCounterVec,
    pub(super) judged: IntCounterVec,
    pub(super) dropped: IntCounterVec,
    pub(super) latency: HistogramVec,
    pub(super) detections: IntCounterVec,
    pub(super) alerts: IntCounterVec,
    deliveries: IntCounterVec,
    alert_latency: HistogramVec,
    pending: IntGaugeVec,
    undelivered: IntCounterVec,
    decisions_lost: IntCounterVec,
    handler_memory: IntGaugeVec,
    handler_state: IntGaugeVec,
    handler_limited: IntCounterVec,
    pictures: IntCounterVec,
    commands: IntCounterVec,
    calls: IntCounterVec,
    off_schedule: IntCounterVec,
    faults: IntCounterVec,
    call_seconds: HistogramVec,
    generation: IntGaugeVec,
    degraded: IntGaugeVec,
    limited: IntCounterVec,
    memory: IntGaugeVec,
    state_bytes: IntGaugeVec,
    strategy_alerts: IntCounterVec,
    shadow: IntCounterVec,
    reloads: IntCounterVec,
    inference: HistogramVec,
    inference_frames: IntCounterVec,
    inference_rejected: IntCounterVec,
    queue: IntGaugeVec,
    refused: IntCounterVec,
    log_lost: IntCounterVec,
}

impl Families {
    /// Creates the series of reasons and outcomes, so that the first increment shows as a rise.
    fn begin(&self) {
        for reason in ["given_up", "expired", "queue_full", "journal_full", "handler_removed"] {
            self.undelivered.with_label_values(&[reason]);
        }
        for outcome in ["kept", "dropped", "failed", "removed"] {
            self.pictures.with_label_values(&[outcome]);
        }
        for outcome in ["taken", "queue_full", "too_large", "closed"] {
            self.commands.with_label_values(&[outcome]);
        }
        for reason in ["wrong_token", "no_token", "scope"] {
            self.refused.with_label_values(&[reason]);
        }
        self.log_lost.with_label_values::<&str>(&[]);
        self.decisions_lost.with_label_values::<&str>(&[]);
    }
}

/// Registers families by their row in [`TABLE`].
struct Registrar<'a>(&'a Registry);

#[allow(
    clippy::expect_used,
    reason = "names, labels and uniqueness are constants of this file; the first test builds them"
)]
impl Registrar<'_> {
    fn definition(name: &str, kind: Kind) -> &'static Definition {
        TABLE.iter().find(|d| d.name == name && d.kind == kind).expect("every metric has a row of its kind in TABLE")
    }

    fn add<T: Collector + Clone + 'static>(&self, family: T) -> T {
        self.0.register(Box::new(family.clone())).expect("every metric is registered once");
        family
    }

    fn counters(&self, name: &str) -> IntCounterVec {
        let d = Self::definition(name, Kind::Counter);
        self.add(IntCounterVec::new(Opts::new(d.name, d.help), d.labels).expect("a valid definition"))
    }

    fn float_counter(&self, name: &str) -> Counter {
        let d = Self::definition(name, Kind::Counter);
        let family = self.add(CounterVec::new(Opts::new(d.name, d.help), d.labels).expect("a valid definition"));
        family.with_label_values::<&str>(&[])
    }

    fn gauges(&self, name: &str) -> IntGaugeVec {
        let d = Self::definition(name, Kind::Gauge);
        self.add(IntGaugeVec::new(Opts::new(d.name, d.help), d.labels).expect("a valid definition"))
    }

    fn float_gauges(&self, name: &str) -> GaugeVec {
        let d = Self::definition(name, Kind::Gauge);
        self.add(GaugeVec::new(Opts::new(d.name, d.help), d.labels).expect("a valid definition"))
    }

    fn histograms(&self, name: &str, buckets: &[f64]) -> HistogramVec {
        let d = Self::definition(name, Kind::Histogram);
        let options = HistogramOpts::new(d.name, d.help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, d.labels).expect("a valid definition"))
    }
}

impl Metrics {
    /// Creates a fresh registry for one engine. `clock` measures uptime and rates.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let registry = Registry::new();
        let r = Registrar(&registry);
        r.gauges("dsengine_build_info").with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let deployment = r.gauges("dsengine_deployment_info");
        let none: &[&str] = &[];
        let uptime = r.float_gauges("dsengine_uptime_seconds").with_label_values(none);
        let problems = r.gauges("dsengine_problems").with_label_values(none);
        let machine = ["dsengine_machine_cpu_percent", "dsengine_machine_memory_percent"];
        let machine = machine.map(|name| r.float_gauges(name).with_label_values(none));
        let families = Families {
            up: r.gauges("dsengine_source_up"),
            state: r.gauges("dsengine_source_state"),
            reconnects: r.counters("dsengine_source_reconnects_total"),
            last_frame: r.float_gauges("dsengine_source_last_frame_timestamp_seconds"),
            fps: r.float_gauges("dsengine_source_fps"),
            source_queue: r.gauges("dsengine_source_queue_depth"),
            decoded: r.counters("dsengine_frames_decoded_total"),
            judged: r.counters("dsengine_frames_total"),
            dropped: r.counters("dsengine_frames_dropped_total"),
            latency: r.histograms("dsengine_frame_latency_seconds", SECONDS),
            detections: r.counters("dsengine_detections_total"),
            alerts: r.counters("dsengine_alerts_total"),
            deliveries: r.counters("dsengine_alert_deliveries_total"),
            alert_latency: r.histograms("dsengine_alert_latency_seconds", SECONDS),
            pending: r.gauges("dsengine_alerts_pending"),
            undelivered: r.counters("dsengine_alert_undelivered_total"),
            decisions_lost: r.counters("dsengine_alert_decisions_lost_total"),
            handler_memory: r.gauges("dsengine_handler_memory_bytes"),
            handler_state: r.gauges("dsengine_handler_state_bytes"),
            handler_limited: r.counters("dsengine_handler_limited_total"),
            pictures: r.counters("dsengine_alert_pictures_total"),
            commands: r.counters("dsengine_alert_commands_total"),
            calls: r.counters("dsengine_strategy_calls_total"),
            off_schedule: r.counters("dsengine_strategy_off_schedule_total"),
            faults: r.counters("dsengine_strategy_faults_total"),
            call_seconds: r.histograms("dsengine_strategy_call_seconds", CALL_SECONDS),
            generation: r.gauges("dsengine_strategy_generation"),
            degraded: r.gauges("dsengine_strategy_degraded"),
            limited: r.counters("dsengine_strategy_limited_total"),
            memory: r.gauges("dsengine_strategy_memory_bytes"),
            state_bytes: r.gauges("dsengine_strategy_state_bytes"),
            strategy_alerts: r.counters("dsengine_strategy_alerts_total"),
            shadow: r.counters("dsengine_strategy_shadow_total"),
            reloads: r.counters("dsengine_strategy_reloads_total"),
            inference: r.histograms("dsengine_inference_seconds", SECONDS),
            inference_frames: r.counters("dsengine_inference_frames_total"),
            inference_rejected: r.counters("dsengine_inference_rejected_total"),
            queue: r.gauges("dsengine_queue_depth"),
            refused: r.counters("dsengine_api_refused_total"),
            log_lost: r.counters("dsengine_log_lines_lost_total"),
        };
        families.begin();
        let process = Mutex::new(r.float_counter("process_cpu_seconds_total"));
        let process_rss = r.gauges("process_resident_memory_bytes").with_label_values(none);
        let process_fds = r.gauges("process_open_fds").with_label_values(none);
        let process_threads = r.gauges("process_threads").with_label_values(none);
        let started_ns = clock.monotonic_ns();
        Arc::new(Self {
            clock,
            plugins: meter::Families::new(registry.clone()),
            registry,
            started_ns,
            deployment,
            uptime,
            problems,
            machine,
            families,
            sources: Mutex::default(),
            process,
            process_rss,
            process_fds,
            process_threads,
        })
    }

    /// Sets the labels of `dsengine_deployment_info`.
    pub fn set_deployment(&self, name: &str, version: Option<&str>, environment: &str) {
        self.deployment.reset();
        let labels = [name, version.unwrap_or_default(), environment];
        self.deployment.with_label_values(&labels).set(1);
    }

    /// Sets the machine's CPU and memory usage.
    pub fn set_machine(&self, sample: &Sample) {
        for (gauge, value) in self.machine.iter().zip([sample.cpu_percent, sample.memory_percent]) {
            value.into_iter().for_each(|value| gauge.set(value));
        }
    }

    /// Removes the series of a source that delivers no frames. Later alerts are still counted.
    pub fn hide_source(&self, source: &SourceId) {
        self.source(source).unlist(&self.families);
    }

    /// The handle for a source's series; the same handle for the same name until the source is removed.
    pub fn source(&self, source: &SourceId) -> SourceMetrics {
        let mut sources = self.sources.lock();
        sources.entry(source.clone()).or_insert_with(|| SourceMetrics::new(self, source)).clone()
    }

    /// The engine's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The handle for an existing source; unlike [`Metrics::source`] it does not recreate a removed one.
    pub fn known_source(&self, source: &SourceId) -> Option<SourceMetrics> {
        self.sources.lock().get(source).cloned()
    }

    /// Removes a source's series. Handles still held count without effect.
    pub fn remove_source(&self, source: &SourceId) {
        if let Some(metrics) = self.sources.lock().remove(source) {
            metrics.unlist(&self.families);
        }
        self.remove_strategies(&[("source", source.as_str())]);
        self.plugins.remove("source", source.as_str());
    }

    /// Removes a strategy's series, including its own metrics.
    pub fn remove_strategy(&self, name: &str) {
        self.remove_strategies(&[("strategy", name)]);
        let f = &self.families;
        remove(&f.generation, &[("strategy", name)]);
        remove(&f.reloads, &[("strategy", name)]);
        self.plugins.remove("plugin", name);
    }

    /// Removes a model's series.
    pub fn remove_model(&self, name: &str) {
        let f = &self.families;
        remove(&f.inference, &[("model", name)]);
        remove(&f.inference_frames, &[("model", name)]);
        remove(&f.inference_rejected, &[("model", name)]);
        remove(&f.off_schedule, &[("strategy", name)]);
    }

    fn remove_strategies(&self, wanted: &[(&str, &str)]) {
        let f = &self.families;
        for counters in [&f.calls, &f.off_schedule, &f.faults, &f.limited, &f.strategy_alerts, &f.shadow] {
            remove(counters, wanted);
        }
        for gauges in [&f.degraded, &f.memory, &f.state_bytes] {
            remove(gauges, wanted);
        }
        remove(&f.call_seconds, wanted);
    }

    /// The handle for the series of a strategy on a source.
    pub fn strategy(&self, name: &str, source: &SourceId) -> StrategyMetrics {
        let f = &self.families;
        let labels = [name, source.as_str()];
        StrategyMetrics {
            name: name.into(),
            source: source.clone(),
            calls: f.calls.with_label_values(&labels),
            off_schedule: f.off_schedule.clone(),
            call_seconds: f.call_seconds.with_label_values(&labels),
            degraded: f.degraded.with_label_values(&labels),
            memory: f.memory.with_label_values(&labels),
            state: f.state_bytes.with_label_values(&labels),
            alerts: f.strategy_alerts.with_label_values(&labels),
            faults: f.faults.clone(),
            limited: f.limited.clone(),
            shadow: f.shadow.clone(),
        }
    }

    /// The handle for the series of a strategy's or handler's versions.
    pub fn versions(&self, name: &str) -> VersionMetrics {
        let f = &self.families;
        let generation = f.generation.with_label_values(&[name]);
        for result in VersionMetrics::RESULTS {
            f.reloads.with_label_values(&[name, result]);
        }
        VersionMetrics { name: name.into(), generation, reloads: f.reloads.clone() }
    }

    /// A plugin's access to its own metrics, on `source`; `source` is empty for a handler.
    pub fn meter(&self, plugin: &str, source: &str) -> Meter {
        Meter::new(Arc::clone(&self.plugins), plugin, source)
    }

    /// The handle for a model's series.
    pub fn model(&self, name: &str) -> ModelMetrics {
        ModelMetrics {
            seconds: self.families.inference.with_label_values(&[name]),
            frames: self.families.inference_frames.with_label_values(&[name]),
            rejected: self.families.inference_rejected.with_label_values(&[name]),
            name: name.into(),
            off_schedule: self.families.off_schedule.clone(),
        }
    }

    /// The handle for an alert handler's series.
    pub fn handler(&self, name: &str) -> HandlerMetrics {
        let f = &self.families;
        let outcome = |word| f.deliveries.with_label_values(&[name, word]);
        HandlerMetrics {
            name: name.into(),
            delivered: outcome("delivered"),
            retried: outcome("retried"),
            failed: outcome("failed"),
            latency: f.alert_latency.with_label_values(&[name]),
            pending: f.pending.with_label_values(&[name]),
            memory: f.handler_memory.clone(),
            state: f.handler_state.clone(),
            limited: f.handler_limited.clone(),
        }
    }

    /// Removes a handler's series. Handles still held count without effect.
    pub fn remove_handler(&self, name: &str) {
        let f = &self.families;
        // Series that do not exist are ignored.
        for outcome in ["delivered", "retried", "failed"] {
            let _ = f.deliveries.remove_label_values(&[name, outcome]);
        }
        let _ = f.alert_latency.remove_label_values(&[name]);
        for gauges in [&f.pending, &f.handler_memory, &f.handler_state] {
            let _ = gauges.remove_label_values(&[name]);
        }
        for what in ["slow", "log_lines"] {
            let _ = f.handler_limited.remove_label_values(&[name, what]);
        }
    }

    /// Counts deliveries that will not happen; `reason` is a constant word.
    pub fn undelivered(&self, reason: &'static str, count: u64) {
        self.families.undelivered.with_label_values(&[reason]).inc_by(count);
    }

    /// Counts decisions that the log behind `explain` lacks.
    pub fn decisions_lost(&self, count: u64) {
        self.families.decisions_lost.with_label_values::<&str>(&[]).inc_by(count);
    }

    /// Counts pictures of alerts; `outcome` is a constant word.
    pub fn alert_pictures(&self, outcome: &'static str, count: u64) {
        self.families.pictures.with_label_values(&[outcome]).inc_by(count);
    }

    /// Counts a command from a handler; `outcome` is a constant word.
    pub fn command(&self, outcome: &'static str) {
        self.families.commands.with_label_values(&[outcome]).inc();
    }

    /// Counts a request that the API refused; `reason` is a constant word.
    pub fn refused(&self, reason: &'static str) {
        self.families.refused.with_label_values(&[reason]).inc();
    }

    /// Sets how many lines the log's file has lost since the start.
    pub fn set_log_lines_lost(&self, total: u64) {
        let lost = self.families.log_lost.with_label_values::<&str>(&[]);
        lost.inc_by(total.saturating_sub(lost.get()));
    }

    /// The depth gauge of a queue not tied to one source (`inference`, `events`, …).
    pub fn queue(&self, name: &str) -> IntGauge {
        self.families.queue.with_label_values(&[name])
    }

    /// Renders all metrics in text exposition format 0.0.4.
    pub fn render(&self) -> String {
        let now = self.clock.monotonic_ns();
        self.uptime.set(now.saturating_sub(self.started_ns) as f64 / 1e9);
        for source in self.sources.lock().values() {
            source.refresh_fps(now);
        }
        let reading = Reading::take();
        {
            // Under the lock, so that concurrent scrapes cannot add the same seconds twice.
            let cpu = self.process.lock();
            cpu.inc_by((reading.cpu_seconds - cpu.get()).max(0.0));
        }
        for (gauge, value) in [
            (&self.process_rss, reading.resident_bytes),
            (&self.process_fds, reading.open_fds),
            (&self.process_threads, reading.threads),
        ] {
            gauge.set(value.unwrap_or(0));
        }
        let mut page = String::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut page) {
            tracing::error!(%error, "the metrics page could not be written");
        }
        page
    }
}

/// Removes the series with these labels from a family.
pub(super) fn remove<T: MetricVecBuilder>(family: &MetricVec<T>, wanted: &[(&str, &str)]) {
    for metric in family.collect().iter().flat_map(|family| family.get_metric()) {
        let labels: HashMap<&str, &str> = metric.get_label().iter().map(|l| (l.name(), l.value())).collect();
        if wanted.iter().all(|(name, value)| labels.get(name) == Some(value)) {
            // Already removed if two callers remove it at once.
            let _ = family.remove(&labels);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::telemetry::{AlertOutcome, Stage};
    use crate::types::TestClock;

    /// A clock at a time of day.
    pub(in crate::telemetry) fn clock() -> Arc<TestClock> {
        Arc::new(TestClock::at(1_700_000_000_000_000_000))
    }

    /// Metrics with at least one child in every family.
    fn full() -> (Arc<TestClock>, Arc<Metrics>) {
        let clock = clock();
        let metrics = Metrics::new(clock.clone());
        let source = metrics.source(&"gate".into());
        for i in 0..90 {
            clock.pass_to(i * 33_333_333);
            source.frame_decoded(clock.unix_ns());
        }
        source.frames_judged.inc();
        source.dropped("late", 2);
        source.detections("person", 3);
        source.latency(Stage::Total).observe(0.01);
        source.alert("intrusion", AlertOutcome::Raised);
        source.state("running");
        source.reconnects.inc();
        let strategy = metrics.strategy("loitering", &"gate".into());
        strategy.off_schedule();
        strategy.fault("time");
        strategy.limited("alerts", 2);
        strategy.shadow("same");
        metrics.versions("loitering").reload("ok");
        strategy.call_seconds.observe(1e-5);
        metrics.model("yolo").seconds.observe(0.03);
        let handler = metrics.handler("console");
        handler.delivered.inc();
        handler.holds(1, 2);
        handler.limited("slow", 1);
        metrics.queue("inference").set(1);
        metrics.set_deployment("gate", Some("1.2.0"), "production");
        (clock, metrics)
    }

    #[test]
    fn every_row_of_the_table_is_on_the_page_and_nothing_else() {
        let page = full().1.render();
        let mut types: Vec<_> = page.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
        let mut table: Vec<_> =
            TABLE.iter().map(|d| format!("{} {}", d.name, format!("{:?}", d.kind).to_lowercase())).collect();
        types.sort_unstable();
        table.sort_unstable();
        assert_eq!(types, table);
        for d in TABLE {
            assert!(page.contains(&format!("# HELP {} {}", d.name, d.help)), "{} has its help", d.name);
            assert!(d.help.ends_with('.') && d.help.len() > 15, "{} says what it measures", d.name);
        }
    }

    #[test]
    fn promtool_finds_nothing_to_complain_about() {
        let mut child = match Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
        {
            Ok(child) => child,
            Err(error) => {
                println!("SKIP promtool_finds_nothing_to_complain_about: promtool cannot be run ({error})");
                return;
            }
        };
        child.stdin.take().unwrap().write_all(full().1.render().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn a_removed_source_leaves_no_series_and_its_return_starts_at_zero() {
        let (_, metrics) = full();
        let other = metrics.source(&"yard".into());
        other.frames_judged.inc();
        assert!(metrics.render().contains("source=\"gate\""));
        metrics.remove_source(&"gate".into());
        let page = metrics.render();
        assert!(!page.contains("source=\"gate\""), "{page}");
        assert!(page.contains("dsengine_frames_total{source=\"yard\"} 1"));
        metrics.source(&"gate".into()).frames_judged.inc();
        assert!(metrics.render().contains("dsengine_frames_total{source=\"gate\"} 1"));
    }

    #[test]
    fn what_is_alerted_on_is_there_before_it_happens() {
        let metrics = Metrics::new(clock());
        let source = metrics.source(&"gate".into());
        metrics.strategy("loitering", &"gate".into()).may_fault(["time", "memory"]);
        metrics.versions("loitering");
        let page = metrics.render();
        for series in [
            "dsengine_frames_dropped_total{reason=\"overload\",source=\"gate\"} 0",
            "dsengine_strategy_faults_total{kind=\"memory\",source=\"gate\",strategy=\"loitering\"} 0",
            "dsengine_strategy_reloads_total{result=\"rolled_back\",strategy=\"loitering\"} 0",
        ] {
            assert!(page.contains(series), "{series}: {page}");
        }
        assert!(source.drops().is_empty(), "what did not happen is on the page only");
    }

    #[test]
    fn two_engines_in_one_process_count_apart() {
        let (_, a) = full();
        let b = Metrics::new(clock());
        assert!(a.render().contains("source=\"gate\""));
        assert!(!b.render().contains("source=\"gate\""));
    }

    #[test]
    fn the_fps_gauge_reads_the_rate_of_the_source() {
        let page = full().1.render();
        let line = page.lines().find(|l| l.starts_with("dsengine_source_fps{")).unwrap();
        let fps: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!((fps - 30.0).abs() < 0.01, "{line}");
    }
}
