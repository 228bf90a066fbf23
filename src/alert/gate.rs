//! Between a lane and the outbox: applies the policy and counts each outcome.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::policy::Refusal;
use super::{Acceptance, Decision, Outbox, Policy};
use crate::config::{AlertPlan, QuietHours};
use crate::telemetry::{AlertOutcome, Metrics, SourceMetrics};
use crate::types::{Alert, Frame, Level, Raised, SourceId, one_line};

/// Maximum rules whose low scores are logged.
const WARNED_MAX: usize = 64;

/// One source's gate: turns its drafts into alerts.
pub struct Gate {
    policy: Policy,
    enabled: bool,
    default_level: Level,
    quiet_hours: Vec<QuietHours>,
    outbox: Arc<Outbox>,
    source: SourceMetrics,
    /// Rules whose low scores were logged.
    warned: BTreeSet<Box<str>>,
}

impl Gate {
    /// Creates a gate for `source`. Its recovered alerts count in its series from now on.
    pub fn new(plan: &AlertPlan, source: &SourceId, outbox: &Arc<Outbox>, metrics: &Metrics) -> Self {
        let series = metrics.source(source);
        outbox.adopt(source, &series);
        Self {
            policy: Policy::new(plan),
            enabled: plan.enabled,
            default_level: plan.default_level,
            quiet_hours: plan.quiet_hours.clone(),
            outbox: outbox.clone(),
            source: series,
            warned: BTreeSet::new(),
        }
    }

    /// Applies new settings and keeps the policy's memory. While alerts are disabled nothing is counted.
    pub fn set_plan(&mut self, plan: &AlertPlan) {
        self.enabled = plan.enabled;
        self.default_level = plan.default_level;
        self.quiet_hours.clone_from(&plan.quiet_hours);
        self.policy.set_plan(plan);
    }

    /// Handles a draft that a strategy raised on `frame`. Returns the alert if the outbox took it: it is accepted now,
    /// or with a journal once it is journalled. Never blocks on a handler or a disk.
    pub fn raise(&mut self, raised: &Raised, frame: &Frame) -> Option<Arc<Alert>> {
        if !self.enabled {
            return None;
        }
        self.count(raised, AlertOutcome::Raised);
        if self.is_quiet(raised, frame) {
            self.count(raised, AlertOutcome::Suppressed);
            return None;
        }
        let alert = match self.policy.decide(raised, frame) {
            Decision::Accept(alert) => alert,
            Decision::Suppressed { .. } => {
                self.count(raised, AlertOutcome::Suppressed);
                return None;
            }
            Decision::Refused(refusal) => {
                self.count(raised, AlertOutcome::Refused);
                self.warn(refusal, &raised.rule, &frame.source);
                return None;
            }
        };
        match self.outbox.accept(alert.clone(), &self.source) {
            Acceptance::Taken => Some(alert),
            Acceptance::Duplicate => {
                self.count(raised, AlertOutcome::Suppressed);
                None
            }
            Acceptance::Refused(room) => {
                self.count(raised, AlertOutcome::Refused);
                tracing::warn!(source = %alert.source, rule = %one_line(&alert.rule), "alert not accepted: {room}");
                self.policy.unsent(&alert);
                None
            }
        }
    }

    /// Whether quiet hours hold a draft back. It begins no condition, so one that lasts is told when they end.
    fn is_quiet(&self, raised: &Raised, frame: &Frame) -> bool {
        let level = raised.level.unwrap_or(self.default_level);
        self.quiet_hours.iter().any(|quiet| level < quiet.min_level && quiet.schedule.holds(frame.captured_unix_ns))
    }

    fn count(&self, raised: &Raised, outcome: AlertOutcome) {
        self.outbox.count(Some(&self.source), &raised.rule, outcome);
    }

    /// Logs why a rule's alerts are refused, once per rule.
    fn warn(&mut self, refusal: Refusal, rule: &str, source: &SourceId) {
        let Refusal::Confidence { best, min } = refusal;
        if self.warned.contains(rule) || self.warned.len() >= WARNED_MAX {
            return;
        }
        self.warned.insert(rule.into());
        // Truncated, not rounded: 0.4999 is below 0.5.
        let best = (best * 1e3).floor() / 1e3;
        let rule = one_line(rule);
        tracing::warn!(%source, %rule, "alert refused: best detection {best} is under alerts.min_confidence {min}");
    }
}
