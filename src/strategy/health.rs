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
