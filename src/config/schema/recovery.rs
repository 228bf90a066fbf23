//! `recovery`: how sources are restarted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How sources are restarted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Recovery {
    /// Retries before a source is marked failed; a live one is still tried. Default 3. Range 0–1000. Example: 10.
    #[schemars(range(min = 0, max = 1000))]
    pub(in crate::config) max_retries: u32,
    /// First delay. Default 0.5. Unit: seconds. Range 0.1–60. Example: 2.
    #[schemars(range(min = 0.1, max = 60))]
    pub(in crate::config) retry_delay: f64,
    /// Double the delay each time and take a random part of it, so that sources which failed together do not come back
    /// together; else it stays the same. Default true. Example: false.
    pub(in crate::config) exponential_backoff: bool,
    /// Longest delay. Default 10. Unit: seconds. Range 0.1–600. Example: 60.
    #[schemars(range(min = 0.1, max = 600))]
    pub(in crate::config) max_retry_delay: f64,
    /// Longest silence of a source, first frame included. Default none: 8 s to the first frame, 3 s between frames.
    /// Unit: seconds. Range 0.5–3600. Example: 30.
    #[schemars(range(min = 0.5, max = 3600))]
    pub(in crate::config) source_timeout_seconds: Option<f64>,
    /// After repeated failures, only ask without user and password, once per `max_retry_delay`, so that no camera locks
    /// the account; an answer where there was none, or the end of the timeout, is followed by one full attempt.
    /// Default true. Example: false.
    pub(in crate::config) circuit_breaker_enabled: bool,
    /// Failed attempts in a row that open the breaker. Default 5. Range 2–100. Example: 10.
    #[schemars(range(min = 2, max = 100))]
    pub(in crate::config) circuit_breaker_threshold: u32,
    /// Time the breaker stays open, at least `max_retry_delay`. Default 60. Unit: seconds. Range 1–600. Example: 300.
    #[schemars(range(min = 1, max = 600))]
    pub(in crate::config) circuit_breaker_timeout: f64,
    /// Damaged frames of a live source within ten seconds after which its pipeline is built anew, at most once a minute.
    /// Default 5. Range 1–1000. Example: 50.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) pipeline_restart_threshold: u32,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            max_retries: 3,
            retry_delay: 0.5,
            exponential_backoff: true,
            max_retry_delay: 10.0,
            source_timeout_seconds: None,
            circuit_breaker_enabled: true,
            circuit_breaker_threshold: 5,
            circuit_breaker_timeout: 60.0,
            pipeline_restart_threshold: 5,
        }
    }
}
