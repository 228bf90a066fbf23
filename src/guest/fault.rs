//! A guest's failure: what kind, and what happened at which of its own lines.

use crate::types::one_line;

/// What kind of fault a guest committed; the `kind` label of `dsengine_strategy_faults_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest raised an error.
    Error,
    /// The call ran past its time budget.
    Time,
    /// The guest asked for more memory than it may have.
    Memory,
    /// The guest trapped (WASM).
    Trap,
    /// The verdict made no sense: an index out of range, a box that is none, a value that is not finite.
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
}

/// A guest's failure of one call. A frame passes unchanged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", one_line(message))]
pub struct Fault {
    /// What kind it is.
    pub kind: FaultKind,
    /// What happened, with the guest's own place (`scripts/x.lua:12`) in front where it is known.
    pub message: String,
}
