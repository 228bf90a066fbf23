//! What a strategy tells of itself: for metrics, status and the health page.

use super::FaultKind;
use crate::guest::BreakerState;

/// Counters since the instance was made, and where it stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Health {
    /// Whether calls go through.
    pub breaker: BreakerState,
    /// Switched off until the next version (`on_failure: disable`).
    pub disabled: bool,
    /// Calls made.
    pub calls: u64,
    /// Frames passed unjudged because the breaker was open.
    pub skipped: u64,
    /// Calls past the soft time limit.
    pub slow: u64,
    /// Faults, in the order of [`FaultKind::ALL`].
    pub faults: [u64; FaultKind::ALL.len()],
    /// The last fault's message.
    pub last_fault: Option<String>,
    /// Bytes of the guest's memory.
    pub memory_bytes: usize,
    /// Bytes of state the host keeps for it.
    pub state_bytes: usize,
    /// Log lines that went over the rate and were left out.
    pub log_lines_dropped: u64,
    /// Alerts past the number a call may raise, left out.
    pub alerts_dropped: u64,
    /// Alert messages cut to the longest allowed.
    pub messages_cut: u64,
}

impl Health {
    /// What went over a limit without failing the call, by the `what` of `dsengine_strategy_limited_total`.
    pub fn limited(&self) -> [(&'static str, u64); 5] {
        [
            ("slow_calls", self.slow),
            ("alerts", self.alerts_dropped),
            ("messages_cut", self.messages_cut),
            ("log_lines", self.log_lines_dropped),
            ("skipped", self.skipped),
        ]
    }
}
