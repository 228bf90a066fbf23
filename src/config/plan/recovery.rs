//! How a source that fails is brought back, besides the delays of its [`RetryPlan`](super::RetryPlan).

use std::time::Duration;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct RecoveryPlan {
    /// What follows once a live source is failed.
    pub after_failing: AfterFailing,
    /// Its circuit breaker; `None` = off.
    pub breaker: Option<BreakerPlan>,
    /// Damaged frames of a live source within ten seconds after which its pipeline is built anew.
    pub damaged_max: u32,
    /// Retries that were made before the start: the first failure is counted after these.
    pub retries_made: u32,
}

/// What follows once a live source is failed: out of retries, or a setting has to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailing {
    /// It is tried for ever.
    Retry,
    /// It stays down until it is edited or restarted.
    StayDown,
}

/// A source's circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPlan {
    /// Failed attempts in a row that open it.
    pub threshold: u32,
    /// How long it stays open; at least the longest delay between attempts.
    pub timeout: Duration,
}

impl Default for RecoveryPlan {
    fn default() -> Self {
        Self {
            after_failing: AfterFailing::Retry,
            breaker: Some(BreakerPlan { threshold: 5, timeout: Duration::from_secs(60) }),
            damaged_max: 5,
            retries_made: 0,
        }
    }
}
