//! The engine's own thresholds: which are crossed, and since when. Pure.
//!
//! A threshold has hysteresis: it is crossed at its bound, and clears only well inside it or after holding for a while.

use std::collections::BTreeMap;

use super::view::status::CheckStatus;
use crate::config::{ThresholdKind, ThresholdPlan};
use crate::types::SourceId;

/// A crossed threshold clears at once when its value is inside the bound by this factor.
const CLEAR_SHARE: f64 = 0.9;

/// A measured quantity, of the engine or of one source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subject {
    pub(super) kind: ThresholdKind,
    pub(super) source: Option<SourceId>,
}

/// A threshold that was crossed or has cleared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Turn {
    pub(super) subject: Subject,
    pub(super) is_crossed: bool,
    /// The message for the log and the alert.
    pub(super) message: String,
}

/// Every threshold that was checked.
#[derive(Debug, Default)]
pub(super) struct Thresholds {
    standings: BTreeMap<Subject, Standing>,
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    value: f64,
    bound: f64,
    /// Time of the measurement.
    at_ns: u64,
    /// When it was crossed.
    crossed_ns: Option<u64>,
    /// Since when a crossed threshold has been within its bound again.
    kept_ns: Option<u64>,
}

impl Thresholds {
    /// Takes the newest values; thresholds without a value are forgotten. A crossed threshold that stays within its
    /// bound clears after `hold_ns`.
    pub(super) fn see(
        &mut self,
        plan: &[ThresholdPlan],
        values: &[(Subject, f64)],
        now_ns: u64,
        hold_ns: u64,
    ) -> Vec<Turn> {
        let mut turns = Vec::new();
        let mut seen = BTreeMap::new();
        for (subject, value) in values {
            let Some(limit) = plan.iter().find(|limit| limit.kind == subject.kind) else { continue };
            let former = self.standings.remove(subject);
            let mut standing = Standing {
                value: *value,
                bound: limit.bound,
                at_ns: now_ns,
                crossed_ns: former.and_then(|former| former.crossed_ns),
                kept_ns: former.and_then(|former| former.kept_ns),
            };
            if standing.turn(subject.kind, now_ns, hold_ns) {
                let since = former.and_then(|former| former.crossed_ns);
                turns.push(Turn {
                    subject: subject.clone(),
                    is_crossed: standing.crossed_ns.is_some(),
                    message: standing.message(subject, since.map(|since| now_ns.saturating_sub(since))),
                });
            }
            seen.insert(subject.clone(), standing);
        }
        for (subject, gone) in std::mem::replace(&mut self.standings, seen) {
            if gone.crossed_ns.is_some() {
                let message = format!("{}: not measured any more", name(&subject));
                turns.push(Turn { subject, is_crossed: false, message });
            }
        }
        turns
    }

    /// The status of every threshold.
    pub(super) fn checks(&self, now_ns: u64) -> Vec<CheckStatus> {
        let seconds = |since_ns: u64| now_ns.saturating_sub(since_ns) as f64 / 1e9;
        let check = |(subject, standing): (&Subject, &Standing)| CheckStatus {
            name: subject.kind.rule(),
            source: subject.source.as_ref().map(ToString::to_string),
            value: standing.value,
            limit: standing.bound,
            unit: subject.kind.unit(),
            is_least: subject.kind.is_least(),
            age_s: seconds(standing.at_ns),
            crossed_s: standing.crossed_ns.map(seconds),
            text: standing.text(subject),
        };
        self.standings.iter().map(check).collect()
    }
}

/// The threshold's name, with its source if it has one.
fn name(subject: &Subject) -> String {
    let rule = subject.kind.rule();
    subject.source.as_ref().map_or_else(|| rule.to_owned(), |source| format!("{rule}: source {source}"))
}

impl Standing {
    /// Updates the state with the value; returns whether the threshold was crossed or has cleared.
    fn turn(&mut self, kind: ThresholdKind, now_ns: u64, hold_ns: u64) -> bool {
        let (is_over, is_well_inside) = if kind.is_least() {
            (self.value < self.bound, self.value * CLEAR_SHARE >= self.bound)
        } else {
            (self.value > self.bound, self.value <= self.bound * CLEAR_SHARE)
        };
        if is_over {
            self.kept_ns = None;
            let is_new = self.crossed_ns.is_none();
            self.crossed_ns.get_or_insert(now_ns);
            return is_new;
        }
        if self.crossed_ns.is_none() {
            return false;
        }
        let kept_ns = *self.kept_ns.get_or_insert(now_ns);
        let has_cleared = is_well_inside || now_ns.saturating_sub(kept_ns) >= hold_ns;
        if has_cleared {
            (self.crossed_ns, self.kept_ns) = (None, None);
        }
        has_cleared
    }

    /// Value and bound, as a sentence.
    fn text(&self, subject: &Subject) -> String {
        let (kind, Self { value, bound, .. }) = (subject.kind, self);
        let of = subject.source.as_ref().map(|source| format!("source {source}: ")).unwrap_or_default();
        let word = if kind.is_least() { "at least" } else { "at most" };
        let unit = kind.unit();
        format!("{of}{} is {value:.1} {unit}, wanted {word} {bound} {unit}", kind.subject())
    }

    /// The message when it is crossed, or has cleared after `crossed_for_ns`.
    fn message(&self, subject: &Subject, crossed_for_ns: Option<u64>) -> String {
        let text = self.text(subject);
        match crossed_for_ns {
            Some(ns) if self.crossed_ns.is_none() => format!("well again after {:.0} s: {text}", ns as f64 / 1e9),
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn subject(kind: ThresholdKind) -> Subject {
        Subject { kind, source: kind.is_least().then(|| "gate".into()) }
    }

    /// For each of these values, ten seconds apart: whether the threshold was crossed (true) or has cleared (false).
    fn turns(kind: ThresholdKind, bound: f64, values: &[f64]) -> Vec<Option<bool>> {
        let mut limits = Thresholds::default();
        let plan = [ThresholdPlan { kind, bound }];
        let look = |(n, value): (usize, &f64)| {
            let turns = limits.see(&plan, &[(subject(kind), *value)], n as u64 * 10 * S, 20 * S);
            assert!(turns.len() < 2);
            turns.first().map(|turn| turn.is_crossed)
        };
        values.iter().enumerate().map(look).collect()
    }

    #[test]
    fn a_limit_is_crossed_at_its_bound_and_clears_well_inside_it() {
        let (crossed, cleared) = (Some(true), Some(false));
        assert_eq!(
            turns(ThresholdKind::Cpu, 80.0, &[80.0, 80.1, 90.0, 72.0, 81.0]),
            [None, crossed, None, cleared, crossed]
        );
        assert_eq!(turns(ThresholdKind::Fps, 18.0, &[18.0, 17.9, 19.0, 20.0]), [None, crossed, None, cleared]);
    }

    #[test]
    fn a_value_near_the_bound_is_reported_once_and_clears_after_holding() {
        let (crossed, cleared) = (Some(true), Some(false));
        let about = [81.0, 79.0, 81.0, 79.0, 81.0, 79.0, 79.0, 79.0, 79.0];
        let want = [crossed, None, None, None, None, None, None, cleared, None];
        assert_eq!(turns(ThresholdKind::Cpu, 80.0, &about), want);
    }

    #[test]
    fn messages_have_value_bound_and_source_and_a_removed_source_clears() {
        let (mut limits, slow) = (Thresholds::default(), subject(ThresholdKind::Fps));
        let plan = [ThresholdPlan { kind: ThresholdKind::Fps, bound: 20.0 }];
        let turns = limits.see(&plan, &[(slow.clone(), 4.25)], 10 * S, S);
        assert_eq!(turns[0].message, "source gate: frame rate is 4.2 fps, wanted at least 20 fps");
        let check = &limits.checks(15 * S)[0];
        assert_eq!((check.name, check.crossed_s, check.age_s), ("system.fps", Some(5.0), 5.0));
        let turns = limits.see(&plan, &[], 20 * S, S);
        assert_eq!(
            (turns[0].is_crossed, turns[0].message.as_str()),
            (false, "system.fps: source gate: not measured any more")
        );
        assert!(limits.checks(20 * S).is_empty());
        // A threshold that the plan no longer has is dropped.
        assert!(limits.see(&[], &[(slow, 1.0)], 30 * S, S).is_empty() && limits.checks(30 * S).is_empty());
    }
}
