//! What `doctor` finds on a machine.

use serde::Serialize;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is for.
    pub name: String,
    /// Whether it is there.
    pub ok: bool,
    /// Whether the engine does without it.
    pub optional: bool,
    /// What was found.
    pub detail: String,
    /// What to do where it is missing.
    pub hint: Option<String>,
}
