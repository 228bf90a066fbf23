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
    /// Finite sources are taken in the order in which the workers happen to be done.
    WorkersTold,
    /// A restart forgets the conditions.
    ConditionsForgotten,
    /// A restart forgets what was sent in the last minute.
    MinuteForgotten,
    /// The pause between attempts does not grow.
    RetriedEarly,
    /// After an outage nothing bounds the rate.
    DrainedAtOnce,
    OutdatedDelivered,
    /// A receiver that refuses everything costs the whole queue.
    QueueEmptied,
}

impl Planted {
    pub(super) const ALL: [Self; 19] = [
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
        Self::WorkersTold,
        Self::ConditionsForgotten,
        Self::MinuteForgotten,
        Self::RetriedEarly,
        Self::DrainedAtOnce,
        Self::OutdatedDelivered,
        Self::QueueEmptied,
    ];
}
