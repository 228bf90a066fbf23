//! What is kept of accepted alerts.

use std::time::Duration;

/// What is kept of accepted alerts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutboxPlan {
    /// Whether an alert is on the disk before it is delivered.
    pub durable: bool,
    /// Whether a run without that is refused, not warned of.
    pub required: bool,
    /// How long delivered alerts are kept.
    pub keep: Duration,
    /// Maximum number of alerts kept.
    pub keep_alerts: u64,
}
