//! The policy's settings, resolved once per rule and not per draft.

use std::collections::HashMap;
use std::time::Duration;

use super::burst::Limits;
use super::chain::Stage;
use crate::config::{AlertPlan, QuietHours};
use crate::types::Level;

/// Minimum time without being raised after which a condition ends: a detection may be missed for a moment.
const LASTS_MIN: Duration = Duration::from_secs(2);

/// How long a condition lasts, and when its alert is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spans {
    /// How long it lasts without being raised; 0 suppresses nothing.
    pub(super) lasts_ns: u64,
    /// Interval at which a lasting condition repeats its alert; 0 disables repeats.
    pub(super) repeat_ns: u64,
}

impl Spans {
    /// A condition lasts for at least [`LASTS_MIN`], however short `throttle` is. Zero turns suppression off.
    pub(super) fn new(throttle: Duration, repeat: Duration) -> Self {
        let lasts = if throttle.is_zero() { throttle } else { throttle.max(LASTS_MIN) };
        Self { lasts_ns: nanos(lasts), repeat_ns: nanos(repeat) }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What the policy decides by, for the alerts of one rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) spans: Spans,
    pub(super) limits: Limits,
    pub(super) min_confidence: f32,
    pub(super) default_level: Level,
}

/// The settings of every rule.
#[derive(Debug)]
pub(super) struct AllSettings {
    general: (Settings, Vec<QuietHours>),
    rules: HashMap<Box<str>, (Settings, Vec<QuietHours>)>,
}

impl AllSettings {
    pub(super) fn new(plan: &AlertPlan) -> Self {
        let rule = |name: &String| (name.as_str().into(), of(&plan.of_rule(name)));
        Self { general: of(plan), rules: plan.rules.keys().map(rule).collect() }
    }

    pub(super) fn of(&self, rule: &str) -> Settings {
        self.both(rule).0
    }

    /// The quiet hours of a rule that hold back an alert of this level; `None` is the rule's own level.
    pub(super) fn quiet(&self, rule: &str, level: Option<Level>, unix_ns: u64) -> Option<Stage> {
        let (settings, quiet_hours) = self.both(rule);
        let level = level.unwrap_or(settings.default_level);
        let holds = |quiet: &QuietHours| level < quiet.min_level && quiet.schedule.holds(unix_ns);
        let at = quiet_hours.iter().position(holds)?;
        Some(Stage::QuietHours { entry: at + 1, min_level: quiet_hours[at].min_level })
    }

    fn both(&self, rule: &str) -> &(Settings, Vec<QuietHours>) {
        // Most policies are the same for all rules.
        if self.rules.is_empty() { &self.general } else { self.rules.get(rule).unwrap_or(&self.general) }
    }
}

fn of(plan: &AlertPlan) -> (Settings, Vec<QuietHours>) {
    let settings = Settings {
        spans: Spans::new(plan.throttle, plan.repeat),
        limits: Limits::of(plan),
        min_confidence: plan.min_confidence,
        default_level: plan.default_level,
    };
    (settings, plan.quiet_hours.clone())
}
