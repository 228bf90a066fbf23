//! `alerts.outbox`: what is kept of accepted alerts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is kept of accepted alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Outbox {
    /// `sync`: an alert is on the disk before it is shown and delivered, and the next run delivers what this one could
    /// not. `memory`: undelivered alerts are lost with the process. Default none: sync where the state folder can be
    /// written, else memory and a warning. Example: memory.
    pub(in crate::config) durability: Option<Durability>,
    /// Days for which delivered alerts can be listed. Default 30. Unit: days. Range 0–3650. Example: 7.
    #[schemars(range(min = 0, max = 3650))]
    pub(in crate::config) keep_days: f64,
    /// Most alerts that can be listed; the oldest delivered ones are forgotten first. Default 10000. Range 0–1000000.
    /// Example: 100000.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) keep_alerts: u32,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { durability: None, keep_days: 30.0, keep_alerts: 10_000 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Durability {
    Sync,
    Memory,
}
