//! A guest's fault: its kind, its message and the location in the guest.

use crate::types::one_line;

/// The kind of a fault; the `kind` label of `dsengine_strategy_faults_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest raised an error.
    Error,
    /// The call exceeded its time limit.
    Time,
    /// The guest exceeded its memory limit.
    Memory,
    /// The guest trapped (WASM).
    Trap,
    /// The verdict was invalid: an index out of range, an invalid box, a value that is not finite.
    Verdict,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Error, Self::Time, Self::Memory, Self::Trap, Self::Verdict];

    /// The word used in metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Time => "time",
            Self::Memory => "memory",
            Self::Trap => "trap",
            Self::Verdict => "verdict",
        }
    }

    /// Whether the call hit a limit, which it may not hit again. Every other fault is a mistake of the guest.
    pub fn is_limit(self) -> bool {
        matches!(self, Self::Time | Self::Memory)
    }
}

/// The failure of one call of a guest. The frame passes unchanged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", one_line(message))]
pub struct Fault {
    /// Its kind.
    pub kind: FaultKind,
    /// The message, prefixed with the location in the guest (`scripts/x.lua:12`) if known.
    pub message: String,
}
