//! The results of an edit.

use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::edit::Rights;
use crate::config::{Loaded, Warning};
use crate::engine::status::SourceStatus;
use crate::error::{Code, Error};

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

/// What to do about an edit that goes beyond the sources of its token.
const UNLIMITED: &str = "write it into the configuration's file, or use a token that is not limited to sources";

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

impl Refusal {
    /// A refusal with the usual code of its kind.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        let code = match kind {
            RefusalKind::NeedsRestart | RefusalKind::Engine => Code::Unsupported,
            RefusalKind::NotSaved => Code::Io,
            RefusalKind::Invalid | RefusalKind::NotFound | RefusalKind::Conflict => Code::Config,
        };
        let (code, message) = (code.as_str(), message.into());
        Self { code, kind, message, place: None, hint: None, problems: Vec::new() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Invalid, message)
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Refuses a reference that is new at a path, by an author who may bring none.
    pub(super) fn brought_reference(path: String, rights: Rights) -> Self {
        let message = format!("`{path}`: this edit may not bring a new reference (`${{env:…}}`, `${{file:…}}`)");
        let refusal = Self::invalid(message).hint(match rights {
            Rights::Local => {
                "write it into the configuration's file, or send a token with the scope 'control' for all sources, on \
                 this machine as well: DSENGINE_TOKEN, or 'Authorization: Bearer TOKEN'"
            }
            Rights::Whole | Rights::Limited => UNLIMITED,
        });
        Self { place: Some(path), ..refusal }
    }

    /// Refuses a file that a source does not open yet, by an author who is limited to sources.
    pub(super) fn other_file(path: String) -> Self {
        let message = format!("`{path}`: this edit may not make the source open another file of this machine");
        Self { place: Some(path), ..Self::invalid(message).hint(UNLIMITED) }
    }

    /// Converts an error of the engine or the disk.
    pub fn of(kind: RefusalKind, error: &Error, place: Option<String>) -> Self {
        let (code, message, hint) = (error.code().as_str(), error.message().to_owned(), error.remedy());
        Self { code, kind, message, place, hint: hint.map(str::to_owned), problems: Vec::new() }
    }

    /// Converts warnings that would prevent a start.
    pub(super) fn of_warnings(refusing: &[&Warning]) -> Option<Self> {
        let problems: Vec<Problem> = refusing
            .iter()
            .map(|warning| Problem {
                message: warning.message.clone(),
                place: warning.place.clone(),
                hint: warning.hint.clone(),
            })
            .collect();
        Self::of_problems(problems)
    }

    /// Converts the problems of a configuration: the first is the message, all are listed.
    pub(super) fn of_problems(problems: Vec<Problem>) -> Option<Self> {
        let Problem { message, place, hint } = problems.first()?.clone();
        Some(Self { place, hint, problems, ..Self::invalid(message) })
    }

    /// The refusal in one line, with what to do: the nearest name, what was expected.
    pub(super) fn line_with_hint(&self) -> String {
        let hint = self.hint.as_deref().and_then(|hint| hint.lines().next()).map(|hint| format!("; {hint}"));
        self.first_line() + &hint.unwrap_or_default()
    }

    /// The refusal in one line.
    pub(super) fn first_line(&self) -> String {
        let place = self.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        let more = match self.problems.len() {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        format!("{place}{}{more}", self.message.lines().next().unwrap_or_default())
    }
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

/// What was left out, for the health.
pub(super) fn left_out_text(loaded: &Loaded) -> Option<String> {
    (!loaded.left_out.is_empty()).then(|| loaded.left_out.join("; "))
}

/// What waits for a restart, for the health.
pub(super) fn waits_text(waits: &[String]) -> Option<String> {
    (!waits.is_empty()).then(|| format!("waits for a restart: {}", waits.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_in_one_line_keeps_the_nearest_name() {
        let problem = |hint: &str| Problem {
            message: "unknown key `alrets`".into(),
            place: Some("c.yaml:3:1".into()),
            hint: Some(hint.into()),
        };
        let refusal = Refusal::of_problems(vec![problem("did you mean `alerts`?"), problem("")]).unwrap();
        let line = "c.yaml:3:1: unknown key `alrets` (and 1 more); did you mean `alerts`?";
        assert_eq!(refusal.line_with_hint(), line);
    }
}
