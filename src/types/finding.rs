//! Findings of `doctor` about a machine.

use serde::Serialize;

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The capability checked.
    pub name: String,
    /// Whether it is available.
    pub ok: bool,
    /// Whether the engine works without it.
    pub optional: bool,
    /// What was found.
    pub detail: String,
    /// The remedy if it is missing.
    pub hint: Option<String>,
}
