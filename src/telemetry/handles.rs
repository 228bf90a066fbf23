//! The series that parts of the engine count with, resolved once, so that counting is an atomic add.

use std::sync::Arc;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::types::SourceId;

/// A strategy's series on one source.
#[derive(Clone)]
pub struct StrategyMetrics {
    pub(super) name: Arc<str>,
    pub(super) source: SourceId,
    /// Calls.
    pub calls: IntCounter,
    /// Duration of its calls.
    pub call_seconds: Histogram,
    /// 1 while it is disabled after repeated faults.
    pub degraded: IntGauge,
    /// Memory of its instance, in bytes.
    pub memory: IntGauge,
    /// State that the host keeps for it, in bytes.
    pub state: IntGauge,
    /// Alerts it raised.
    pub alerts: IntCounter,
    pub(super) faults: IntCounterVec,
    pub(super) limited: IntCounterVec,
    pub(super) off_schedule: IntCounterVec,
    pub(super) shadow: IntCounterVec,
}

impl StrategyMetrics {
    /// Counts a frame that the strategy's schedule left out.
    pub fn off_schedule(&self) {
        self.off_schedule.with_label_values(&[&*self.name, self.source.as_str()]).inc();
    }

    /// Counts a fault; `kind` is `guest::FaultKind::as_str`.
    pub fn fault(&self, kind: &'static str) {
        self.faults.with_label_values(&[&*self.name, self.source.as_str(), kind]).inc();
    }

    /// Creates the series for these kinds of fault at 0, so that the first fault shows as a rise.
    pub fn may_fault(&self, kinds: impl IntoIterator<Item = &'static str>) {
        for kind in kinds {
            self.faults.with_label_values(&[&*self.name, self.source.as_str(), kind]);
        }
    }

    /// Counts `more` items of `what` that exceeded a limit.
    pub fn limited(&self, what: &'static str, more: u64) {
        if more > 0 {
            self.limited.with_label_values(&[&*self.name, self.source.as_str(), what]).inc_by(more);
        }
    }

    /// Counts a frame given to a shadow: `same`, `different`, `fault` or `skipped`.
    pub fn shadow(&self, verdict: &'static str) {
        self.shadow.with_label_values(&[&*self.name, self.source.as_str(), verdict]).inc();
    }
}

/// The series of a plugin's versions.
#[derive(Clone)]
pub struct VersionMetrics {
    pub(super) name: Arc<str>,
    /// Running generation.
    pub generation: IntGauge,
    pub(super) reloads: IntCounterVec,
}

impl VersionMetrics {
    /// The possible results of a reload.
    pub(super) const RESULTS: [&'static str; 3] = ["ok", "rejected", "rolled_back"];

    /// Counts a reload by its result, one of [`Self::RESULTS`].
    pub fn reload(&self, result: &'static str) {
        self.reloads.with_label_values(&[&*self.name, result]).inc();
    }
}

/// A model's series.
#[derive(Clone)]
pub struct ModelMetrics {
    /// Duration of its runs, one per batch, in seconds.
    pub seconds: Histogram,
    /// Frames processed.
    pub frames: IntCounter,
    /// Output values that were rejected.
    pub rejected: IntCounter,
    pub(super) name: Arc<str>,
    pub(super) off_schedule: IntCounterVec,
    pub(super) limited: IntCounterVec,
}

impl ModelMetrics {
    /// Counts a source's frame for which the model was skipped, since the engine is overloaded.
    pub fn skipped(&self, source: &SourceId) {
        self.limited.with_label_values(&[&*self.name, source.as_str(), "overload"]).inc();
    }

    /// Counts a source's frame that the model's schedule left out.
    pub fn off_schedule(&self, source: &SourceId) {
        self.off_schedule.with_label_values(&[&*self.name, source.as_str()]).inc();
    }
}

/// An alert handler's series.
#[derive(Clone)]
pub struct HandlerMetrics {
    pub(super) name: Arc<str>,
    /// Alerts delivered.
    pub delivered: IntCounter,
    /// Failed attempts that were retried.
    pub retried: IntCounter,
    /// Alerts given up after failed attempts.
    pub failed: IntCounter,
    /// Seconds from capture to delivery.
    pub latency: Histogram,
    /// Alerts waiting.
    pub pending: IntGauge,
    pub(super) memory: IntGaugeVec,
    pub(super) state: IntGaugeVec,
    pub(super) limited: IntCounterVec,
}

impl HandlerMetrics {
    /// Sets the memory and the state of a handler's instance, in bytes. Handlers without measurements have no such
    /// series.
    pub fn holds(&self, memory: usize, state: usize) {
        for (family, bytes) in [(&self.memory, memory), (&self.state, state)] {
            family.with_label_values(&[&*self.name]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// Counts `more` items of `what` that exceeded a limit.
    pub fn limited(&self, what: &'static str, more: u64) {
        self.limited.with_label_values(&[&*self.name, what]).inc_by(more);
    }
}
