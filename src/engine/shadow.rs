//! A strategy that only runs beside another: same frames, no effects, its verdicts compared.

use super::strategies::StrategyBoard;
use crate::guest::Fault;
use crate::strategy::{Strategy, Verdict, View};
use crate::telemetry::StrategyMetrics;
use std::sync::Arc;

/// Shortest time between two log lines about differing verdicts on one source.
const LINE_EVERY_NS: u64 = 1_000_000_000;

/// A shadow on one lane.
pub(super) struct Shadow {
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) board: Arc<StrategyBoard>,
    pub(super) metrics: StrategyMetrics,
    /// When the last line was written; 0 = never.
    last_ns: u64,
    silent: u64,
}

impl Shadow {
    pub(super) fn new(strategy: Box<dyn Strategy>, board: Arc<StrategyBoard>, metrics: StrategyMetrics) -> Self {
        Self { strategy, board, metrics, last_ns: 0, silent: 0 }
    }

    /// Judges the frame and compares: counted always, logged at most once a second.
    pub(super) fn compare(&mut self, view: &View<'_>, active: &Result<Verdict, Fault>, now_ns: u64) {
        let own = self.strategy.judge(view);
        self.metrics.calls.inc();
        let (word, what) = match (&own, active) {
            (Err(fault), _) => {
                self.metrics.fault(fault.kind.as_str());
                ("fault", fault.to_string())
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
        tracing::info!(shadow = %self.board.name, source, seq, verdict = word, more, "{what}");
    }
}

/// The first part in which two verdicts differ.
fn difference(own: &Verdict, active: &Verdict) -> String {
    if own.alerts != active.alerts {
        let told = |verdict: &Verdict| {
            let alerts = verdict.alerts.iter().map(|a| format!("{} '{}'", a.rule, a.message));
            let alerts: Vec<_> = alerts.collect();
            if alerts.is_empty() { "nothing".to_owned() } else { alerts.join(", ") }
        };
        return format!("raises {}, the active one {}", told(own), told(active));
    }
    if own.keep != active.keep {
        return format!("keeps {:?}, the active one {:?}", own.keep, active.keep);
    }
    if own.edits != active.edits {
        return format!("edits {} detections, the active one {}", own.edits.len(), active.edits.len());
    }
    format!("adds {} detections, the active one {}", own.added.len(), active.added.len())
}
