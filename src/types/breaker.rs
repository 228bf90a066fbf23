//! The state of a circuit breaker.

/// The state of a circuit breaker, of a guest or of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BreakerState {
    /// Everything is tried.
    #[default]
    Closed,
    /// What failed is left out for a while.
    Open,
    /// One trial decides.
    HalfOpen,
}

impl BreakerState {
    /// The word used in metrics, logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}
