//! Faults that show what the checks find.

/// A fault that is planted to see whether it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    /// A failed write counts as done.
    FailedWriteAcknowledged,
    LastForgotten,
    RecoveredReversed,
    SettlementLost,
    TemporaryFailureSettled,
    NewIdAtRetry,
    RateIgnored,
    ThrottleIgnored,
    BurstLost,
    CriticalLowered,
    ExpiredEarly,
    GivenUpEarly,
    /// A receiver that refuses everything costs the whole queue.
    QueueEmptied,
}

impl Planted {
    pub(super) const ALL: [Self; 13] = [
        Self::FailedWriteAcknowledged,
        Self::LastForgotten,
        Self::RecoveredReversed,
        Self::SettlementLost,
        Self::TemporaryFailureSettled,
        Self::NewIdAtRetry,
        Self::RateIgnored,
        Self::ThrottleIgnored,
        Self::BurstLost,
        Self::CriticalLowered,
        Self::ExpiredEarly,
        Self::GivenUpEarly,
        Self::QueueEmptied,
    ];
}
