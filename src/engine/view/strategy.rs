//! A strategy's state over all its lanes, and the logging of its faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::status::StrategyStatus;
use crate::guest::BreakerState;
use crate::strategy::{Fault, Strategy};
use crate::telemetry::StrategyMetrics;
use crate::types::SourceId;

/// Frames between two polls of a strategy's memory and state.
pub(in crate::engine) const POLL_EVERY: u64 = 64;
/// Minimum time between two log lines about one strategy on one source.
const LINE_EVERY_NS: u64 = 1_000_000_000;

/// One strategy's state, shared by all its lanes.
#[derive(Debug)]
pub(in crate::engine) struct StrategyBoard {
    pub(in crate::engine) name: Arc<str>,
    kind: Mutex<&'static str>,
    generation: AtomicU64,
    faults: AtomicU64,
    /// Lanes on which it is switched off.
    open: AtomicUsize,
    /// Lanes on whose newest frame its schedule leaves it out.
    off: AtomicUsize,
    last_error: Mutex<Option<String>>,
}

impl StrategyBoard {
    pub(in crate::engine) fn new(name: &str, kind: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            kind: Mutex::new(kind),
            generation: AtomicU64::new(1),
            faults: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            off: AtomicUsize::new(0),
            last_error: Mutex::default(),
        })
    }

    /// Its kind: `motion`, `lua`, `wasm` or `own`.
    pub(in crate::engine) fn kind(&self) -> &'static str {
        *self.kind.lock()
    }

    /// Sets the kind when a version in another language takes over.
    pub(in crate::engine) fn set_kind(&self, kind: &'static str) {
        *self.kind.lock() = kind;
    }

    /// A new version judges from now on; clears the former one's error.
    pub(in crate::engine) fn reloaded(&self, generation: u64) {
        self.generation.store(generation, Ordering::Relaxed);
        self.set_error(None);
    }

    /// Sets the newest fault or rejected reload.
    pub(in crate::engine) fn set_error(&self, error: Option<String>) {
        *self.last_error.lock() = error;
    }

    /// See [`StrategyBoard::set_error`].
    pub(in crate::engine) fn error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    pub(in crate::engine) fn status(&self) -> StrategyStatus {
        StrategyStatus {
            name: self.name.to_string(),
            kind: self.kind(),
            generation: self.generation.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
            degraded: self.degraded(),
            off_schedule: self.off.load(Ordering::Relaxed) > 0,
            last_error: self.last_error.lock().clone(),
        }
    }

    /// Whether it is switched off on any lane.
    pub(in crate::engine) fn degraded(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }
}

/// One lane's notes on one strategy.
#[derive(Debug)]
pub(in crate::engine) struct Notes {
    pub(in crate::engine) board: Arc<StrategyBoard>,
    /// Time of the last log line; 0 = never.
    last_ns: u64,
    /// Faults since then that were not logged.
    silent: u64,
    open: bool,
    off: bool,
    warned_not_removed: bool,
    /// The instance's counters at the last poll, in the order of [`Health::limited`].
    limited: [u64; 5],
}

impl Notes {
    pub(in crate::engine) fn new(board: Arc<StrategyBoard>) -> Self {
        Self { board, last_ns: 0, silent: 0, open: false, off: false, warned_not_removed: false, limited: [0; 5] }
    }

    /// Records a fault at `now_ns` on the monotonic clock: logs the first at once, then at most one a second.
    pub(in crate::engine) fn fault(&mut self, source: &SourceId, fault: &Fault, now_ns: u64) {
        self.board.faults.fetch_add(1, Ordering::Relaxed);
        if self.last_ns != 0 && now_ns.saturating_sub(self.last_ns) < LINE_EVERY_NS {
            self.silent += 1;
            return;
        }
        self.last_ns = now_ns;
        self.board.set_error(Some(fault.to_string()));
        let more = std::mem::take(&mut self.silent);
        let kind = fault.kind.as_str();
        tracing::warn!(strategy = %self.board.name, %source, kind, more, "{fault}; the frame passes unchanged");
    }

    /// Polls the strategy's health.
    pub(in crate::engine) fn poll(&mut self, strategy: &dyn Strategy, metrics: &StrategyMetrics) {
        let Some(health) = strategy.health() else { return };
        self.set_open(health.breaker != BreakerState::Closed || health.disabled);
        let gauge = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        metrics.degraded.set(i64::from(self.open));
        metrics.memory.set(gauge(health.memory_bytes));
        metrics.state.set(gauge(health.state_bytes));
        for ((what, total), known) in health.limited().into_iter().zip(&mut self.limited) {
            metrics.limited(what, total.saturating_sub(*known));
            *known = total;
        }
    }

    /// Resets the counters for another instance, to its current values; a new one starts at zero.
    pub(in crate::engine) fn changed(&mut self, strategy: &dyn Strategy) {
        self.limited = strategy.health().unwrap_or_default().limited().map(|(_, total)| total);
    }

    /// Whether the strategy is switched off on this lane.
    pub(in crate::engine) fn is_open(&self) -> bool {
        self.open
    }

    /// Logs, once, that the strategy tried to remove detections without `filters: true`.
    pub(in crate::engine) fn not_removed(&mut self, source: &SourceId, count: usize) {
        if !std::mem::replace(&mut self.warned_not_removed, true) {
            let strategy = &*self.board.name;
            tracing::warn!(
                strategy,
                %source,
                count,
                "takes detections away, which has no effect: set `filters: true` on the strategy to let it"
            );
        }
    }

    /// Records whether the schedule leaves the strategy out on this lane.
    pub(in crate::engine) fn set_off(&mut self, off: bool) {
        match (off, std::mem::replace(&mut self.off, off)) {
            (true, false) => self.board.off.fetch_add(1, Ordering::Relaxed),
            (false, true) => self.board.off.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// Records whether the strategy is switched off on this lane.
    pub(in crate::engine) fn set_open(&mut self, open: bool) {
        if open == std::mem::replace(&mut self.open, open) {
            return;
        }
        if open {
            self.board.open.fetch_add(1, Ordering::Relaxed);
        } else {
            self.board.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        self.set_open(false);
        self.set_off(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::SystemClock;
    use crate::strategy::{Health, Verdict, View};
    use crate::telemetry::Metrics;

    /// An instance that was skipped this often.
    struct Skipped(u64);

    impl Strategy for Skipped {
        fn name(&self) -> &str {
            "rule"
        }

        fn judge(&mut self, _view: &View<'_>) -> Result<Verdict, Fault> {
            Ok(Verdict::default())
        }

        fn health(&self) -> Option<Health> {
            Some(Health { skipped: self.0, ..Health::default() })
        }
    }

    #[test]
    fn counters_continue_after_a_swap_and_a_rollback_counts_nothing_twice() {
        let metrics = Metrics::new(Arc::new(SystemClock::new()));
        let own = metrics.strategy("rule", &SourceId::from("a"));
        let mut notes = Notes::new(StrategyBoard::new("rule", "lua"));
        notes.poll(&Skipped(7), &own);
        notes.changed(&Skipped(0));
        notes.poll(&Skipped(3), &own);
        notes.changed(&Skipped(7));
        notes.poll(&Skipped(9), &own);
        let page = metrics.render();
        let series = "dsengine_strategy_limited_total{source=\"a\",strategy=\"rule\",what=\"skipped\"} 12\n";
        assert!(page.contains(series), "{page}");
    }
}
