//! `alerts.rules`, `sources[].alerts`: the alert policy of one rule, and of one source.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::alerts::Level;
use super::hours::{OneOrMany, QuietEntry};

/// The alert policy of one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RuleAlerts {
    /// As `alerts.throttle_seconds`. Default that. Unit: seconds. Range 0–86400. Example: 300.
    #[schemars(range(min = 0, max = 86_400))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) throttle_seconds: Option<f64>,
    /// As `alerts.repeat_seconds`. Default that. Unit: seconds. Range 0–86400. Example: 3600.
    #[schemars(range(min = 0, max = 86_400))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) repeat_seconds: Option<f64>,
    /// As `alerts.burst_threshold`. Default that. Range 0–1000. Example: 5.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) burst_threshold: Option<u32>,
    /// As `alerts.burst_window_seconds`. Default that. Unit: seconds. Range 1–3600. Example: 30.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) burst_window_seconds: Option<f64>,
    /// As `alerts.max_critical_per_minute`. Default that. Range 0–100000. Example: 20.
    #[schemars(range(min = 0, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) max_critical_per_minute: Option<u32>,
    /// As `alerts.min_confidence`. Default that. Range 0–1. Example: 0.8.
    #[schemars(range(min = 0.0, max = 1.0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) min_confidence: Option<f64>,
    /// As `alerts.level`. Default that. Example: high.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) level: Option<Level>,
    /// In place of `alerts.quiet_hours`; an empty list for none. Default those. Example: {from: "22:00", to: "06:00"}.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) quiet_hours: Option<OneOrMany<QuietEntry>>,
}

/// The alert policy of one source. What it says prevails over what is said of all sources, even of one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct SourceAlerts {
    /// As `alerts.throttle_seconds`. Default that. Unit: seconds. Range 0–86400. Example: 300.
    #[schemars(range(min = 0, max = 86_400))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) throttle_seconds: Option<f64>,
    /// As `alerts.repeat_seconds`. Default that. Unit: seconds. Range 0–86400. Example: 3600.
    #[schemars(range(min = 0, max = 86_400))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) repeat_seconds: Option<f64>,
    /// As `alerts.burst_threshold`. Default that. Range 0–1000. Example: 5.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) burst_threshold: Option<u32>,
    /// As `alerts.burst_window_seconds`. Default that. Unit: seconds. Range 1–3600. Example: 30.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) burst_window_seconds: Option<f64>,
    /// Most alerts of this source in any 60 seconds, critical ones excluded, within `alerts.max_alerts_per_minute`; the
    /// others become digests. Default none. Range 1–100000. Example: 5.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) max_alerts_per_minute: Option<u32>,
    /// As `alerts.max_critical_per_minute`. Default that. Range 0–100000. Example: 20.
    #[schemars(range(min = 0, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) max_critical_per_minute: Option<u32>,
    /// As `alerts.min_confidence`. Default that. Range 0–1. Example: 0.8.
    #[schemars(range(min = 0.0, max = 1.0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) min_confidence: Option<f64>,
    /// As `alerts.level`. Default that. Example: high.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) level: Option<Level>,
    /// In place of `alerts.quiet_hours`; an empty list for none. Default those. Example: {from: "22:00", to: "06:00"}.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) quiet_hours: Option<OneOrMany<QuietEntry>>,
    /// The alert policy of this source for single rules, by their names: it prevails over all others. Default none.
    /// Example: {loitering: {throttle_seconds: 600}}.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(in crate::config) rules: BTreeMap<String, RuleAlerts>,
}

impl SourceAlerts {
    /// Whether it says nothing.
    pub(in crate::config) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
