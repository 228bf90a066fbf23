//! One source's series, resolved once, so that a frame costs a few atomic adds.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use super::families::Families;
use super::metrics::Metrics;
use super::rate::Rate;
use crate::types::{Clock, SourceId};

/// Maximum classes, reasons or rules with their own series per source; later ones count as `other`.
const NAMES_MAX: usize = 64;
/// The usual reasons, created at 0 so that the first drop shows as a rise.
const DROP_REASONS: [&str; 8] =
    ["cut_off", "fps", "inference_error", "late", "overload", "overrun", "stopping", "strategy_fault"];
/// The label value for names beyond the limit.
const OTHER: &str = "other";

/// A stage of a frame's processing; the `stage` label of `dsengine_frame_latency_seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for the lane or the detector.
    Queue,
    /// Detection, preparation included.
    Infer,
    /// Tracking and the lane's strategies.
    Judge,
    /// From arrival in the engine to the end of processing.
    Total,
    /// From the capture of a live source's frame to the end of processing, on the wall clock.
    Capture,
}

impl Stage {
    /// All stages, in processing order.
    pub const ALL: [Self; 5] = [Self::Queue, Self::Infer, Self::Judge, Self::Total, Self::Capture];

    /// The word used as label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Infer => "infer",
            Self::Judge => "judge",
            Self::Total => "total",
            Self::Capture => "capture",
        }
    }
}

/// The outcome of an alert; the `outcome` label of `dsengine_alerts_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertOutcome {
    /// A strategy raised it.
    Raised,
    /// The policy and the outbox accepted it.
    Accepted,
    /// Suppressed as a duplicate or in quiet hours.
    Suppressed,
    /// Refused by the policy, or because the outbox was full.
    Refused,
    /// Delivered to every handler.
    Delivered,
    /// A receiver refused it for good; it can be sent again.
    DeadLettered,
    /// It was too old before a receiver took it.
    Expired,
    /// It lost its place in a full queue, or its handler was removed.
    Dropped,
    /// Accepted by an earlier process, but not delivered to every handler.
    Recovered,
    /// Held back by a limit: a digest has it.
    Digested,
}

impl AlertOutcome {
    /// All outcomes.
    pub const ALL: [Self; 10] = [
        Self::Raised,
        Self::Accepted,
        Self::Suppressed,
        Self::Refused,
        Self::Delivered,
        Self::DeadLettered,
        Self::Expired,
        Self::Dropped,
        Self::Recovered,
        Self::Digested,
    ];

    /// The word used as label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Accepted => "accepted",
            Self::Suppressed => "suppressed",
            Self::Refused => "refused",
            Self::Delivered => "delivered",
            Self::DeadLettered => "dead_lettered",
            Self::Expired => "expired",
            Self::Dropped => "dropped",
            Self::Recovered => "recovered",
            Self::Digested => "digested",
        }
    }
}

type Children<T> = Mutex<BTreeMap<Box<str>, T>>;

/// One source's series. Cloning copies a pointer.
#[derive(Clone)]
pub struct SourceMetrics(Arc<Series>);

/// The series behind the handle; callers count public fields directly.
pub struct Series {
    source: SourceId,
    clock: Arc<dyn Clock>,
    decoded: IntCounter,
    /// Frames seen by every strategy.
    pub frames_judged: IntCounter,
    /// Attempts to reconnect the source.
    pub reconnects: IntCounter,
    /// How well it has done lately, 0 to 100.
    pub score: Gauge,
    /// Whether its circuit breaker is not closed.
    pub breaker: IntGauge,
    /// Frames waiting for the lane.
    pub queue_depth: IntGauge,
    last_frame: Gauge,
    fps: Gauge,
    up: IntGauge,
    rate: Mutex<Rate>,
    latency: [Histogram; Stage::ALL.len()],
    states: Children<IntGauge>,
    failures: Children<IntCounter>,
    drops: Children<IntCounter>,
    classes: Children<IntCounter>,
    rules: Children<[IntCounter; AlertOutcome::ALL.len()]>,
    families: Lookups,
}

/// Families whose children are created on first use.
struct Lookups {
    state: prometheus::IntGaugeVec,
    failures: prometheus::IntCounterVec,
    dropped: prometheus::IntCounterVec,
    detections: prometheus::IntCounterVec,
    alerts: prometheus::IntCounterVec,
}

impl std::ops::Deref for SourceMetrics {
    type Target = Series;

    fn deref(&self) -> &Series {
        &self.0
    }
}

impl SourceMetrics {
    pub(super) fn new(metrics: &Metrics, source: &SourceId) -> Self {
        let f = &metrics.families;
        let name = &[source.as_str()];
        let drops = DROP_REASONS.map(|r| (r.into(), f.dropped.with_label_values(&[source.as_str(), r]))).into_iter();
        Self(Arc::new(Series {
            source: source.clone(),
            clock: metrics.clock.clone(),
            decoded: f.decoded.with_label_values(name),
            frames_judged: f.judged.with_label_values(name),
            reconnects: f.reconnects.with_label_values(name),
            score: f.score.with_label_values(name),
            breaker: f.breaker.with_label_values(name),
            queue_depth: f.source_queue.with_label_values(name),
            last_frame: f.last_frame.with_label_values(name),
            fps: f.fps.with_label_values(name),
            up: f.up.with_label_values(name),
            rate: Mutex::default(),
            latency: Stage::ALL.map(|s| f.latency.with_label_values(&[source.as_str(), s.as_str()])),
            states: Mutex::default(),
            failures: Mutex::default(),
            drops: Mutex::new(drops.collect()),
            classes: Mutex::default(),
            rules: Mutex::default(),
            families: Lookups {
                state: f.state.clone(),
                failures: f.source_failures.clone(),
                dropped: f.dropped.clone(),
                detections: f.detections.clone(),
                alerts: f.alerts.clone(),
            },
        }))
    }

    /// Removes every series of this source.
    pub(super) fn unlist(&self, f: &Families) {
        let name = self.source.as_str();
        // Series that do not exist are ignored.
        for family in [&f.decoded, &f.judged, &f.reconnects] {
            let _ = family.remove_label_values(&[name]);
        }
        for family in [&f.source_queue, &f.up, &f.breaker] {
            let _ = family.remove_label_values(&[name]);
        }
        for family in [&f.last_frame, &f.fps, &f.score] {
            let _ = family.remove_label_values(&[name]);
        }
        for stage in Stage::ALL {
            let _ = f.latency.remove_label_values(&[name, stage.as_str()]);
        }
        for state in self.states.lock().keys() {
            let _ = f.state.remove_label_values(&[name, state]);
        }
        for class in self.failures.lock().keys() {
            let _ = f.source_failures.remove_label_values(&[name, class]);
        }
        for reason in self.drops.lock().keys() {
            let _ = f.dropped.remove_label_values(&[name, reason]);
        }
        for class in self.classes.lock().keys() {
            let _ = f.detections.remove_label_values(&[name, class]);
        }
        for rule in self.rules.lock().keys() {
            for outcome in AlertOutcome::ALL {
                let _ = f.alerts.remove_label_values(&[name, rule, outcome.as_str()]);
            }
        }
    }
}

/// The child for `name`, created by `make` on first use; beyond the limit the child for `other`.
fn child<T: Clone>(children: &Children<T>, name: &str, make: impl FnOnce(&str) -> T) -> T {
    let mut children = children.lock();
    if let Some(known) = children.get(name) {
        return known.clone();
    }
    let name = if children.len() < NAMES_MAX { name } else { OTHER };
    children.entry(name.into()).or_insert_with(|| make(name)).clone()
}

impl Series {
    /// Counts a frame that arrived, captured at `captured_unix_ns`.
    pub fn frame_decoded(&self, captured_unix_ns: u64) {
        self.decoded.inc();
        self.last_frame.set(captured_unix_ns as f64 / 1e9);
        self.rate.lock().note(self.clock.monotonic_ns());
    }

    /// Frames that have arrived.
    pub fn frames_decoded(&self) -> u64 {
        self.decoded.get()
    }

    /// Frames per second over the last few seconds.
    pub fn fps(&self) -> f64 {
        self.rate.lock().per_second(self.clock.monotonic_ns())
    }

    /// Seconds since the newest frame was captured, on the wall clock; `None` before the first.
    pub fn last_frame_age_s(&self) -> Option<f64> {
        let last = self.last_frame.get();
        (last > 0.0).then(|| (self.clock.unix_ns() as f64 / 1e9 - last).max(0.0))
    }

    /// Counts a failed attempt by the class of its error.
    pub fn failed(&self, class: &str) {
        let make = |c: &str| self.families.failures.with_label_values(&[self.source.as_str(), c]);
        child(&self.failures, class, make).inc();
    }

    /// Counts frames that were not judged.
    pub fn dropped(&self, reason: &str, count: u64) {
        child(&self.drops, reason, |r| self.families.dropped.with_label_values(&[self.source.as_str(), r]))
            .inc_by(count);
    }

    /// Drops by reason, without zero counts.
    pub fn drops(&self) -> BTreeMap<String, u64> {
        let drops = self.drops.lock();
        drops.iter().map(|(reason, c)| (reason.to_string(), c.get())).filter(|(_, count)| *count > 0).collect()
    }

    /// Counts detections of a class.
    pub fn detections(&self, class: &str, count: u64) {
        child(&self.classes, class, |c| self.families.detections.with_label_values(&[self.source.as_str(), c]))
            .inc_by(count);
    }

    /// Detections by class.
    pub fn detections_by_class(&self) -> BTreeMap<String, u64> {
        self.classes.lock().iter().map(|(class, c)| (class.to_string(), c.get())).collect()
    }

    /// The latency histogram of a stage, in seconds.
    pub fn latency(&self, stage: Stage) -> &Histogram {
        &self.latency[stage as usize]
    }

    /// Sets the source's state (`backend::SourceState::as_str`); it is up in `running` only.
    pub fn state(&self, state: &'static str) {
        self.up.set(i64::from(state == "running"));
        let mut states = self.states.lock();
        for (name, gauge) in states.iter() {
            gauge.set(i64::from(&**name == state));
        }
        states
            .entry(state.into())
            .or_insert_with(|| self.families.state.with_label_values(&[self.source.as_str(), state]))
            .set(1);
    }

    /// Counts an alert's outcome under its rule.
    pub fn alert(&self, rule: &str, outcome: AlertOutcome) {
        let counters = child(&self.rules, rule, |r| {
            AlertOutcome::ALL.map(|o| self.families.alerts.with_label_values(&[self.source.as_str(), r, o.as_str()]))
        });
        counters[outcome as usize].inc();
    }

    /// Alerts of this source with an outcome, over all rules.
    pub fn alerts(&self, outcome: AlertOutcome) -> u64 {
        self.rules.lock().values().map(|counters| counters[outcome as usize].get()).sum()
    }

    pub(super) fn refresh_fps(&self, now_ns: u64) {
        self.fps.set(self.rate.lock().per_second(now_ns));
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::tests::clock;
    use super::*;

    #[test]
    fn classes_beyond_the_limit_are_counted_as_other() {
        let metrics = Metrics::new(clock());
        let source = metrics.source(&"a".into());
        for i in 0..1_000 {
            source.detections(&format!("class{i}"), 1);
        }
        let by_class = source.detections_by_class();
        assert_eq!(by_class.len(), NAMES_MAX + 1);
        assert_eq!(by_class[OTHER], 1_000 - NAMES_MAX as u64);
        assert_eq!(by_class.values().sum::<u64>(), 1_000);
    }

    #[test]
    fn a_source_is_in_one_state_and_up_only_while_running() {
        let metrics = Metrics::new(clock());
        let source = metrics.source(&"a".into());
        for state in ["connecting", "running", "stalled", "backoff", "running"] {
            source.state(state);
            let page = metrics.render();
            let ones: Vec<_> =
                page.lines().filter(|l| l.starts_with("dsengine_source_state{") && l.ends_with(" 1")).collect();
            assert_eq!(ones, [format!("dsengine_source_state{{source=\"a\",state=\"{state}\"}} 1")]);
            let up = i32::from(state == "running");
            assert!(page.contains(&format!("dsengine_source_up{{source=\"a\"}} {up}\n")), "{state}: {page}");
        }
    }
}
