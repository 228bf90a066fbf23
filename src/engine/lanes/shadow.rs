//! A strategy that runs alongside another without effects: same frames, verdicts compared.

use std::sync::Arc;

use crate::engine::view::strategy::{Notes, POLL_EVERY, StrategyBoard};
use crate::guest::Fault;
use crate::strategy::{Strategy, Verdict, View};
use crate::telemetry::StrategyMetrics;
use crate::types::Clock;

/// Minimum time between two log lines about differing verdicts on one source.
const LINE_EVERY_NS: u64 = 1_000_000_000;

/// A shadow on one lane.
pub(in crate::engine) struct Shadow {
    pub(super) strategy: Box<dyn Strategy>,
    notes: Notes,
    metrics: StrategyMetrics,
    calls: u64,
    /// Time of the last log line; 0 = never.
    last_ns: u64,
    silent: u64,
}

impl Shadow {
    pub(in crate::engine) fn new(
        strategy: Box<dyn Strategy>,
        board: Arc<StrategyBoard>,
        metrics: StrategyMetrics,
    ) -> Self {
        Self { strategy, notes: Notes::new(board), metrics, calls: 0, last_ns: 0, silent: 0 }
    }

    /// Judges the frame and compares the verdicts: always counted, logged at most once a second.
    pub(super) fn compare(&mut self, view: &View<'_>, active: &Result<Verdict, Fault>, clock: &dyn Clock) {
        let started_ns = clock.monotonic_ns();
        let own = self.strategy.judge(view);
        let now_ns = clock.monotonic_ns();
        self.metrics.calls.inc();
        self.metrics.call_seconds.observe(now_ns.saturating_sub(started_ns) as f64 / 1e9);
        self.calls += 1;
        if own.is_err() || self.calls % POLL_EVERY == 1 || self.notes.is_open() {
            self.notes.poll(&*self.strategy, &self.metrics);
        }
        let (word, what) = match (&own, active) {
            (Err(fault), _) => {
                self.metrics.fault(fault.kind.as_str());
                self.metrics.shadow("fault");
                self.notes.fault(&view.frame.source, fault, now_ns);
                return;
            }
            // While its breaker is open a shadow is skipped, which is not a verdict.
            (Ok(_), _) if self.notes.is_open() => {
                self.metrics.shadow("skipped");
                return;
            }
            (Ok(own), Ok(active)) if own == active => ("same", String::new()),
            (Ok(own), Ok(active)) => ("different", difference(own, active)),
            (Ok(_), Err(fault)) => ("different", format!("judges a frame on which the active one fails: {fault}")),
        };
        self.metrics.shadow(word);
        if word == "same" {
            return;
        }
        if self.last_ns != 0 && now_ns.saturating_sub(self.last_ns) < LINE_EVERY_NS {
            self.silent += 1;
            return;
        }
        self.last_ns = now_ns;
        let (source, seq) = (view.frame.source.as_str(), view.frame.seq);
        let more = std::mem::take(&mut self.silent);
        tracing::info!(shadow = %self.notes.board.name, source, seq, verdict = word, more, "{what}");
    }
}

/// A description of the first difference between two verdicts.
fn difference(own: &Verdict, active: &Verdict) -> String {
    if own.alerts != active.alerts {
        let describe = |verdict: &Verdict| {
            let alerts = verdict.alerts.iter().map(|a| format!("{} '{}'", a.rule, a.message));
            let alerts: Vec<_> = alerts.collect();
            if alerts.is_empty() { "nothing".to_owned() } else { alerts.join(", ") }
        };
        return format!("raises {}, the active one {}", describe(own), describe(active));
    }
    if own.keep != active.keep {
        return format!("keeps {:?}, the active one {:?}", own.keep, active.keep);
    }
    if own.edits != active.edits {
        return format!("edits {} detections, the active one {}", own.edits.len(), active.edits.len());
    }
    format!("adds {} detections, the active one {}", own.added.len(), active.added.len())
}
