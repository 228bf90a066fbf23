//! The families of metrics: each is registered by its row in [`TABLE`], and its series come and go with their labels.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Counter, CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use super::metrics::{Definition, Kind, TABLE};

/// From a tenth of a millisecond to ten seconds.
const SECONDS: &[f64] =
    &[1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// From two microseconds to a quarter of a second: the duration of one strategy call.
const CALL_SECONDS: &[f64] =
    &[2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.25];

/// The families with labels.
pub(super) struct Families {
    pub(super) up: IntGaugeVec,
    pub(super) state: IntGaugeVec,
    pub(super) reconnects: IntCounterVec,
    pub(super) source_failures: IntCounterVec,
    pub(super) score: GaugeVec,
    pub(super) breaker: IntGaugeVec,
    pub(super) last_frame: GaugeVec,
    pub(super) fps: GaugeVec,
    pub(super) source_queue: IntGaugeVec,
    pub(super) decoded: IntCounterVec,
    pub(super) judged: IntCounterVec,
    pub(super) dropped: IntCounterVec,
    pub(super) latency: HistogramVec,
    pub(super) detections: IntCounterVec,
    pub(super) alerts: IntCounterVec,
    pub(super) deliveries: IntCounterVec,
    pub(super) alert_latency: HistogramVec,
    pub(super) pending: IntGaugeVec,
    pub(super) undelivered: IntCounterVec,
    pub(super) decisions_lost: IntCounterVec,
    pub(super) handler_memory: IntGaugeVec,
    pub(super) handler_state: IntGaugeVec,
    pub(super) handler_limited: IntCounterVec,
    pub(super) pictures: IntCounterVec,
    pub(super) commands: IntCounterVec,
    pub(super) calls: IntCounterVec,
    pub(super) off_schedule: IntCounterVec,
    pub(super) faults: IntCounterVec,
    pub(super) call_seconds: HistogramVec,
    pub(super) generation: IntGaugeVec,
    pub(super) degraded: IntGaugeVec,
    pub(super) limited: IntCounterVec,
    pub(super) memory: IntGaugeVec,
    pub(super) state_bytes: IntGaugeVec,
    pub(super) strategy_alerts: IntCounterVec,
    pub(super) shadow: IntCounterVec,
    pub(super) reloads: IntCounterVec,
    pub(super) inference: HistogramVec,
    pub(super) inference_frames: IntCounterVec,
    pub(super) inference_rejected: IntCounterVec,
    pub(super) queue: IntGaugeVec,
    pub(super) refused: IntCounterVec,
    pub(super) log_lost: IntCounterVec,
    pub(super) evidence_seconds: GaugeVec,
    pub(super) evidence_bytes: IntGaugeVec,
    pub(super) evidence_dropped: IntCounterVec,
    pub(super) stream_up: IntGaugeVec,
    pub(super) stream_state: IntGaugeVec,
    pub(super) stream_reconnects: IntCounterVec,
}

impl Families {
    /// Registers the families.
    pub(super) fn new(r: &Registrar<'_>) -> Self {
        let families = Self {
            up: r.gauges("dsengine_source_up"),
            state: r.gauges("dsengine_source_state"),
            reconnects: r.counters("dsengine_source_reconnects_total"),
            source_failures: r.counters("dsengine_source_failures_total"),
            score: r.float_gauges("dsengine_source_health_score"),
            breaker: r.gauges("dsengine_source_breaker_open"),
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
            evidence_seconds: r.float_gauges("dsengine_evidence_seconds"),
            evidence_bytes: r.gauges("dsengine_evidence_bytes"),
            evidence_dropped: r.counters("dsengine_evidence_dropped_total"),
            stream_up: r.gauges("dsengine_source_stream_up"),
            stream_state: r.gauges("dsengine_source_stream_state"),
            stream_reconnects: r.counters("dsengine_source_stream_reconnects_total"),
        };
        families.begin();
        families
    }

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
pub(super) struct Registrar<'a>(pub(super) &'a Registry);

#[allow(
    clippy::expect_used,
    reason = "names, labels and uniqueness are constants; each test that makes metrics builds them"
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

    pub(super) fn float_counter(&self, name: &str) -> Counter {
        let d = Self::definition(name, Kind::Counter);
        let family = self.add(CounterVec::new(Opts::new(d.name, d.help), d.labels).expect("a valid definition"));
        family.with_label_values::<&str>(&[])
    }

    pub(super) fn gauges(&self, name: &str) -> IntGaugeVec {
        let d = Self::definition(name, Kind::Gauge);
        self.add(IntGaugeVec::new(Opts::new(d.name, d.help), d.labels).expect("a valid definition"))
    }

    pub(super) fn float_gauges(&self, name: &str) -> GaugeVec {
        let d = Self::definition(name, Kind::Gauge);
        self.add(GaugeVec::new(Opts::new(d.name, d.help), d.labels).expect("a valid definition"))
    }

    fn histograms(&self, name: &str, buckets: &[f64]) -> HistogramVec {
        let d = Self::definition(name, Kind::Histogram);
        let options = HistogramOpts::new(d.name, d.help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, d.labels).expect("a valid definition"))
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
