//! All metrics: one table of names, and one registry per engine. Handles are resolved once, not per frame.
//!
//! Only names in [`TABLE`] can be exported, and all of them are registered, so the table is the documentation. Labels
//! are bounded: sources, strategies, models and handlers come from the configuration, reasons and kinds are constants,
//! and classes and rules beyond a limit are counted as `other`.

mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{Counter, Gauge, IntGauge, IntGaugeVec, Registry, TextEncoder};

use super::evidence;
use super::families::{Families, Registrar, remove};
use super::handles::{HandlerMetrics, ModelMetrics, StrategyMetrics, VersionMetrics};
use super::machine::Sample;
use super::meter::{Meter, PluginFamilies};
use super::process::Reading;
use super::source::SourceMetrics;
use crate::types::{Clock, SourceId};

pub use table::{Definition, Kind, TABLE};

/// One engine's metrics. Cheap handles come from [`Metrics::source`], [`Metrics::strategy`], [`Metrics::model`] and
/// [`Metrics::handler`]; [`Metrics::render`] writes the page.
pub struct Metrics {
    pub(super) clock: Arc<dyn Clock>,
    registry: Registry,
    plugins: Arc<PluginFamilies>,
    started_ns: u64,
    deployment: IntGaugeVec,
    uptime: Gauge,
    /// Number of health problems; set by the health check.
    pub problems: IntGauge,
    /// The step of graceful degradation that holds, 0 for none.
    pub degraded_step: IntGauge,
    machine: [Gauge; 2],
    pub(super) families: Families,
    sources: Mutex<BTreeMap<SourceId, SourceMetrics>>,
    pub(super) evidence: Mutex<()>,
    process: Mutex<Counter>,
    process_rss: IntGauge,
    process_fds: IntGauge,
    process_threads: IntGauge,
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
        let degraded_step = r.gauges("dsengine_degraded_step").with_label_values(none);
        let machine = ["dsengine_machine_cpu_percent", "dsengine_machine_memory_percent"];
        let machine = machine.map(|name| r.float_gauges(name).with_label_values(none));
        let families = Families::new(&r);
        let process = Mutex::new(r.float_counter("process_cpu_seconds_total"));
        let process_rss = r.gauges("process_resident_memory_bytes").with_label_values(none);
        let process_fds = r.gauges("process_open_fds").with_label_values(none);
        let process_threads = r.gauges("process_threads").with_label_values(none);
        let started_ns = clock.monotonic_ns();
        Arc::new(Self {
            clock,
            plugins: PluginFamilies::new(registry.clone()),
            registry,
            started_ns,
            deployment,
            uptime,
            problems,
            degraded_step,
            machine,
            families,
            sources: Mutex::default(),
            evidence: Mutex::default(),
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

    /// Removes a source's series. Handles still held count without effect.
    pub fn remove_source(&self, source: &SourceId) {
        if let Some(metrics) = self.sources.lock().remove(source) {
            metrics.unlist(&self.families);
        }
        evidence::unlist(&self.families, source);
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
        remove(&f.limited, &[("strategy", name)]);
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
            limited: self.families.limited.clone(),
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

#[cfg(test)]
pub(super) mod tests;
