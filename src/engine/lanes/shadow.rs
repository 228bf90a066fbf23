//! A strategy that runs alongside another without effects: same frames, verdicts compared.

use std::sync::Arc;

use crate::engine::view::strategy::{Notes, POLL_EVERY, StrategyBoard};
use crate::guest::Fault;
use crate::strategy::{Strategy, Verdict, View};
use crate::telemetry::StrategyMetrics;
use crate::types::{Clock, count};

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
    /// Frames on which the verdicts differed, and the first of them.
    differing: u64,
    first_seq: u64,
}

impl Shadow {
    pub(in crate::engine) fn new(
        strategy: Box<dyn Strategy>,
        board: Arc<StrategyBoard>,
        metrics: StrategyMetrics,
    ) -> Self {
        Self {
            strategy,
            notes: Notes::new(board),
            metrics,
            calls: 0,
            last_ns: 0,
            silent: 0,
            differing: 0,
            first_seq: 0,
        }
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
        if self.differing == 0 {
            self.first_seq = view.frame.seq;
        }
        self.differing += 1;
        if self.last_ns != 0 && now_ns.saturating_sub(self.last_ns) < LINE_EVERY_NS {
            self.silent += 1;
            return;
        }
        self.last_ns = now_ns;
        let (source, seq) = (view.frame.source.as_str(), view.frame.seq);
        let more = std::mem::take(&mut self.silent);
        let (differing, first_seq) = (self.differing, self.first_seq);
        let shadow = &*self.notes.board.name;
        tracing::info!(shadow, source, seq, verdict = word, more, differing, first_seq, "{what}");
    }
}

/// A description of the first difference between two verdicts, with their numbers.
fn difference(own: &Verdict, active: &Verdict) -> String {
    if own.alerts != active.alerts {
        let describe = |verdict: &Verdict| {
            let alerts: Vec<_> = verdict.alerts.iter().map(|a| format!("{} '{}'", a.rule, a.message)).collect();
            if alerts.is_empty() {
                "none".to_owned()
            } else {
                format!("{} ({})", count(alerts.len(), "alert"), alerts.join(", "))
            }
        };
        let (own_alerts, active_alerts) = (describe(own), describe(active));
        let other = if own_alerts == active_alerts { " of another level, key or detections" } else { "" };
        return format!("raises {own_alerts}{other}, the active one {active_alerts}");
    }
    if own.resolved != active.resolved {
        let describe = |verdict: &Verdict| match verdict.resolved.len() {
            0 => "nothing".to_owned(),
            resolved => count(resolved, "condition"),
        };
        return format!("resolves {}, the active one {}", describe(own), describe(active));
    }
    if own.keep != active.keep {
        let kept = |verdict: &Verdict| match &verdict.keep {
            None => "all detections".to_owned(),
            Some(kept) => format!("{} {kept:?}", count(kept.len(), "detection")),
        };
        return format!("keeps {}, the active one {}", kept(own), kept(active));
    }
    let (what, own, active) = match own.edits != active.edits {
        true => ("edits", own.edits.len(), active.edits.len()),
        false => ("adds", own.added.len(), active.added.len()),
    };
    let others = if own == active { " in another way" } else { "" };
    format!("{what} {}{others}, the active one {active}", count(own, "detection"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Edit;
    use crate::types::AlertDraft;

    #[test]
    fn a_difference_says_what_and_how_many() {
        let none = Verdict::default();
        let alert = |level| AlertDraft {
            rule: "r".into(),
            level,
            key: String::new(),
            message: "m".into(),
            detections: Vec::new(),
            tags: Vec::new(),
            picture: None,
            expires_seconds: None,
        };
        let alerts = |level| Verdict { alerts: vec![alert(level)], ..Verdict::default() };
        assert_eq!(difference(&alerts(None), &none), "raises 1 alert (r 'm'), the active one none");
        let level = difference(&alerts(None), &alerts(Some(crate::types::Level::High)));
        assert_eq!(level, "raises 1 alert (r 'm') of another level, key or detections, the active one 1 alert (r 'm')");
        let kept = Verdict { keep: Some(vec![2]), ..Verdict::default() };
        assert_eq!(difference(&kept, &none), "keeps 1 detection [2], the active one all detections");
        let edit = |index| Verdict { edits: vec![Edit { index, ..Edit::default() }], ..Verdict::default() };
        assert_eq!(difference(&edit(0), &edit(1)), "edits 1 detection in another way, the active one 1");
    }
}
