//! Warnings about a valid configuration.

use std::fmt;

use crate::error::{Code, Error};

/// A warning's severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Information; `--strict` passes.
    Note,
    /// A setting has no effect, or something is missing; `--strict` fails.
    Warning,
    /// This machine or build cannot do it: `run` refuses to start, `validate` does not fail.
    Refusal,
}

/// A warning about a configuration or about this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its stable name: `not-built`, `model-missing`, `old-variable` …
    pub name: &'static str,
    /// Whether it keeps this machine from starting the configuration.
    pub severity: Severity,
    /// The message, one sentence without a full stop, secrets masked.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The location, `file:line:column`.
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

    /// Whether `run` refuses to start.
    pub fn refuses_run(&self) -> bool {
        self.severity == Severity::Refusal
    }

    /// Whether it is about a missing file.
    pub fn is_missing(&self) -> bool {
        self.name.ends_with("-missing")
    }

    /// Whether `validate --strict` fails on it.
    pub fn fails_strict(&self) -> bool {
        self.severity >= Severity::Warning
    }
}

/// Turns refusals into an error that names each of them.
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
        "webhook-without-url" | "email-without-address" | "mqtt-without-url" | "alert-file-unwritable" => Code::Handler,
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
