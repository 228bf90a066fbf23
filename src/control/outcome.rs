//! What became of an edit.

use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use crate::engine::status::SourceStatus;

/// An edit that was carried out, or that would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Outcome {
    /// What changed, one sentence each: `source yard added`.
    pub changes: Vec<String>,
    /// Keys whose new values take effect after a restart only.
    pub waits_for_restart: Vec<String>,
    /// Whether the change is kept over a restart.
    pub saved: bool,
    /// Paths whose earlier edits gave way to the file.
    pub dropped_overlay: Vec<String>,
    /// SHA-256 of the configuration that runs, secrets excluded.
    pub hash: String,
}

/// Why an edit was refused; everything is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Refusal {
    /// The error's code, `E0101`.
    pub code: &'static str,
    /// What kind of refusal it is.
    pub kind: RefusalKind,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where, `file:line:column` or the path of the key.
    pub place: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Every problem of a configuration that is not valid.
    pub problems: Vec<Problem>,
}

/// The kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The configuration would not be valid, or the edit cannot be read.
    Invalid,
    /// It names a source that does not exist.
    NotFound,
    /// It adds a source that exists already.
    Conflict,
    /// It changes what takes effect after a restart only.
    NeedsRestart,
    /// It took effect, and could not be saved: it lasts until the restart.
    NotSaved,
    /// The engine could not take the change.
    Engine,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where, `file:line:column` or the path of the key.
    pub place: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// One configured source.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SourceEntry {
    /// Its name.
    pub id: String,
    /// `file` or `overlay`: who added it.
    pub origin: &'static str,
    /// Whether an edit that is not in the file changes it.
    pub changed: bool,
    /// Whether it is to run.
    pub enabled: bool,
    /// Its keys, secrets masked.
    #[schema(value_type = Object)]
    pub config: Json,
    /// How it runs; absent while it does not.
    pub status: Option<SourceStatus>,
}

/// One line of the audit: an edit that was asked for, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Audit {
    /// When, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// Who asked.
    pub who: String,
    /// From where.
    pub from: String,
    /// What was asked, secrets masked.
    pub what: String,
    /// What became of it.
    pub outcome: String,
    /// Whether it took effect.
    pub taken: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{} [{}]", self.message, self.code)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}
