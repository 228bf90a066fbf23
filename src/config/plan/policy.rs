//! The alert policy of single rules and sources.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{AlertPlan, QuietHours};
use crate::types::Level;

/// What the alert policy is for some alerts; `None` is what it is for the others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlertChanges {
    /// See [`AlertPlan::throttle`].
    pub throttle: Option<Duration>,
    /// See [`AlertPlan::repeat`].
    pub repeat: Option<Duration>,
    /// See [`AlertPlan::burst_threshold`].
    pub burst_threshold: Option<u32>,
    /// See [`AlertPlan::burst_window`].
    pub burst_window: Option<Duration>,
    /// See [`AlertPlan::max_critical_per_minute`].
    pub max_critical_per_minute: Option<u32>,
    /// See [`AlertPlan::min_confidence`].
    pub min_confidence: Option<f32>,
    /// See [`AlertPlan::default_level`].
    pub default_level: Option<Level>,
    /// See [`AlertPlan::quiet_hours`].
    pub quiet_hours: Option<Vec<QuietHours>>,
}

/// The alert policy of one source.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SourceAlerts {
    /// For all rules.
    pub changes: AlertChanges,
    /// For single rules, by name.
    pub rules: BTreeMap<String, AlertChanges>,
    /// Maximum alerts of the source in any minute, critical ones excluded; `None` is no limit of its own.
    pub max_per_minute: Option<u32>,
}

impl AlertChanges {
    /// These changes, and where they say nothing, those of `other`.
    fn or(self, other: &Self) -> Self {
        Self {
            throttle: self.throttle.or(other.throttle),
            repeat: self.repeat.or(other.repeat),
            burst_threshold: self.burst_threshold.or(other.burst_threshold),
            burst_window: self.burst_window.or(other.burst_window),
            max_critical_per_minute: self.max_critical_per_minute.or(other.max_critical_per_minute),
            min_confidence: self.min_confidence.or(other.min_confidence),
            default_level: self.default_level.or(other.default_level),
            quiet_hours: self.quiet_hours.or_else(|| other.quiet_hours.clone()),
        }
    }
}

impl AlertPlan {
    /// The policy of one source. What the source says of a rule prevails, then what it says of all rules, then what is
    /// said of the rule for all sources.
    #[must_use]
    pub fn of_source(&self, own: &SourceAlerts) -> Self {
        let of_rule = |name: &String| {
            let changes = own.rules.get(name).cloned().unwrap_or_default().or(&own.changes);
            (name.clone(), self.rules.get(name).map_or(changes.clone(), |general| changes.or(general)))
        };
        let rules = self.rules.keys().chain(own.rules.keys()).map(of_rule).collect();
        Self { rules, source_max_per_minute: own.max_per_minute, ..self.with(&own.changes) }
    }

    /// The policy of one rule.
    #[must_use]
    pub fn of_rule(&self, rule: &str) -> Self {
        self.rules.get(rule).map_or_else(|| self.clone(), |changes| self.with(changes))
    }

    fn with(&self, changes: &AlertChanges) -> Self {
        Self {
            throttle: changes.throttle.unwrap_or(self.throttle),
            repeat: changes.repeat.unwrap_or(self.repeat),
            burst_threshold: changes.burst_threshold.unwrap_or(self.burst_threshold),
            burst_window: changes.burst_window.unwrap_or(self.burst_window),
            max_critical_per_minute: changes.max_critical_per_minute.unwrap_or(self.max_critical_per_minute),
            min_confidence: changes.min_confidence.unwrap_or(self.min_confidence),
            default_level: changes.default_level.unwrap_or(self.default_level),
            quiet_hours: changes.quiet_hours.as_ref().unwrap_or(&self.quiet_hours).clone(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{AlertPlan, Request, load};

    #[test]
    fn what_a_source_says_prevails_over_what_is_said_of_a_rule_and_both_over_the_general_policy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.yaml");
        let text = "\
alerts:
  throttle_seconds: 1
  burst_threshold: 1
  min_confidence: 0.1
  level: low
  quiet_hours: { from: '22:00', to: '06:00' }
  rules: { r: { throttle_seconds: 2, burst_threshold: 2, min_confidence: 0.2, quiet_hours: [] } }
sources:
  - id: a
    uri: scene:street
    alerts:
      throttle_seconds: 3
      burst_threshold: 3
      max_alerts_per_minute: 7
      rules: { r: { throttle_seconds: 4 }, s: { level: high } }
  - { id: b, uri: 'scene:street' }
";
        std::fs::write(&file, text).unwrap();
        let request = Request { config: Some(file), working_dir: folder.path().into(), ..Request::default() };
        let plan = load(&request).unwrap().plan;
        let of = |index: usize, rule: &str| {
            let AlertPlan { throttle, burst_threshold, min_confidence, default_level, quiet_hours, .. } =
                plan.alerts.of_source(&plan.sources[index].alerts).of_rule(rule);
            let (seconds, hours) = (throttle.as_secs(), quiet_hours.len());
            (seconds, burst_threshold, min_confidence, default_level.as_str(), hours)
        };
        assert_eq!(of(0, "r"), (4, 3, 0.2, "low", 0), "the source's rule, the source, the rule, and all");
        assert_eq!(of(0, "s"), (3, 3, 0.1, "high", 1));
        assert_eq!(of(0, "other"), (3, 3, 0.1, "low", 1));
        assert_eq!(of(1, "r"), (2, 2, 0.2, "low", 0));
        assert_eq!(of(1, "other"), (1, 1, 0.1, "low", 1));
        let own = |index: usize| plan.alerts.of_source(&plan.sources[index].alerts).source_max_per_minute;
        assert_eq!((own(0), own(1)), (Some(7), None));
    }
}
