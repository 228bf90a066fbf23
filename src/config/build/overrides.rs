//! Builds the alert policy of single rules and sources.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Site, hardly_reached, hours};
use crate::config::plan::{AlertChanges, SourceAlerts};
use crate::config::schema::{self, RuleAlerts};
use crate::types::TimeZone;

/// The policy of single rules, by name.
pub(super) fn rules(
    entries: &BTreeMap<String, RuleAlerts>,
    path: &str,
    zone: &TimeZone,
    site: &mut Site<'_>,
) -> BTreeMap<String, AlertChanges> {
    let mut out = BTreeMap::new();
    for (name, entry) in entries {
        if name.is_empty() {
            site.wrong_key(&format!("{path}."), format!("`{path}` has a rule without a name"), "name the rule");
        }
        out.insert(name.clone(), changes(entry, &format!("{path}.{name}"), zone, site));
    }
    out
}

/// The policy of one source.
pub(super) fn source(entry: schema::SourceAlerts, path: &str, zone: &TimeZone, site: &mut Site<'_>) -> SourceAlerts {
    let schema::SourceAlerts {
        throttle_seconds,
        repeat_seconds,
        burst_threshold,
        burst_window_seconds,
        max_alerts_per_minute,
        max_critical_per_minute,
        min_confidence,
        level,
        quiet_hours,
        rules: of_rules,
    } = entry;
    let of_all = RuleAlerts {
        throttle_seconds,
        repeat_seconds,
        burst_threshold,
        burst_window_seconds,
        max_critical_per_minute,
        min_confidence,
        level,
        quiet_hours,
    };
    SourceAlerts {
        changes: changes(&of_all, path, zone, site),
        rules: rules(&of_rules, &format!("{path}.rules"), zone, site),
        max_per_minute: max_alerts_per_minute,
    }
}

fn changes(entry: &RuleAlerts, path: &str, zone: &TimeZone, site: &mut Site<'_>) -> AlertChanges {
    let RuleAlerts {
        throttle_seconds,
        repeat_seconds,
        burst_threshold,
        burst_window_seconds,
        max_critical_per_minute,
        min_confidence,
        level,
        quiet_hours,
    } = entry;
    if let Some(score) = min_confidence {
        hardly_reached(&format!("{path}.min_confidence"), *score, site);
    }
    AlertChanges {
        throttle: throttle_seconds.map(Duration::from_secs_f64),
        repeat: repeat_seconds.map(Duration::from_secs_f64),
        burst_threshold: *burst_threshold,
        burst_window: burst_window_seconds.map(Duration::from_secs_f64),
        max_critical_per_minute: *max_critical_per_minute,
        min_confidence: min_confidence.map(|score| score as f32),
        default_level: level.map(Into::into),
        // An empty list ends the general hours.
        quiet_hours: quiet_hours.as_ref().map(|hours| hours::quiet(hours, &format!("{path}.quiet_hours"), zone, site)),
    }
}
