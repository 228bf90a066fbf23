//! A strategy's health, for metrics, status and the health page.

use super::FaultKind;
use crate::guest::BreakerState;

/// Counters since the instance was created, and its current state.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Health {
    /// State of the breaker.
    pub breaker: BreakerState,
    /// Disabled until the next version (`on_failure: disable`).
    pub disabled: bool,
    /// Calls made.
    pub calls: u64,
    /// Frames that passed without a call, because the breaker was open or the strategy disabled.
    pub skipped: u64,
    /// Calls that exceeded the soft time limit.
    pub slow: u64,
    /// Number of faults, in the order of [`FaultKind::ALL`].
    pub faults: [u64; FaultKind::ALL.len()],
    /// Message of the last fault.
    pub last_fault: Option<String>,
    /// Memory of the guest, in bytes.
    pub memory_bytes: usize,
    /// State that the host keeps for it, in bytes.
    pub state_bytes: usize,
    /// Log lines dropped by the rate limit.
    pub log_lines_dropped: u64,
    /// Alerts dropped beyond the limit per call.
    pub alerts_dropped: u64,
    /// Alert messages truncated to the maximum length.
    pub messages_cut: u64,
}

impl Health {
    /// Items that exceeded a limit without failing the call, by the `what` label of `dsengine_strategy_limited_total`.
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
