//! What does not forbid a configuration, but should be known.

use std::fmt;

use crate::error::{Code, Error};

/// How much a warning weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; `--strict` passes.
    Note,
    /// Something that is set has no effect, or is missing; `--strict` fails.
    Warning,
    /// What was asked for cannot be done here: `run` refuses, `validate` does not.
    Refusal,
}

/// Something to know about a configuration or about this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its kind, a word that stays the same: `not-built`, `model-missing`, `old-variable` …
    pub name: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// What is the matter, in one sentence without a final stop, secrets masked.
    pub message: String,
    /// What can be done.
    pub hint: Option<String>,
    /// Where it was set, `file:line:column`.
    pub place: Option<String>,
}

impl Warning {
    pub(super) fn new(name: &'static str, severity: Severity, message: impl Into<String>) -> Self {
        Self { name, severity, message: message.into(), hint: None, place: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn place(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Whether `run` must not start with it.
    pub fn refuses_run(&self) -> bool {
        self.severity == Severity::Refusal
    }

    /// Whether it is about a file that is not there.
    pub fn is_missing(&self) -> bool {
        self.name.ends_with("-missing")
    }

    /// Whether `validate --strict` fails on it.
    pub fn fails_strict(&self) -> bool {
        self.severity >= Severity::Warning
    }
}

/// What `run` does with warnings: `Err` names everything that it must not start with.
///
/// # Errors
/// When a warning refuses to run. The code is that of the first one.
pub fn refuse(warnings: &[Warning]) -> Result<(), Error> {
    let refusals: Vec<&Warning> = warnings.iter().filter(|warning| warning.refuses_run()).collect();
    let Some(first) = refusals.first() else { return Ok(()) };
    let code = match first.name {
        "model-missing" => Code::Model,
        "labels-missing" => Code::Labels,
        "script-missing" => Code::Plugin,
        "webhook-without-url" | "alert-file-unwritable" => Code::Handler,
        "log-file-unwritable" => Code::Io,
        _ => Code::Unsupported,
    };
    let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    Err(Error::new(code, lines.join("\n")))
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{} [{}]", self.message, self.name)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}
