//! Selects the inference runtime: ONNX Runtime if found, else rten.

use std::path::PathBuf;
use std::sync::Arc;

use ort::environment::Environment;
use ort::logging::LogLevel;
use parking_lot::Mutex;

use crate::error::{Code, Error};
use crate::types::Finding;

use super::search::Search;

/// The configured runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// ONNX Runtime if one is found, else rten.
    #[default]
    Auto,
    /// ONNX Runtime or an error.
    OnnxRuntime,
    /// rten.
    Rten,
}

/// A runtime, ready to load models. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(pub(super) Kind);

#[derive(Clone)]
pub(super) enum Kind {
    Onnx(Environment),
    Rten,
}

/// Environment variable that must be set before ONNX Runtime is opened. Otherwise its builds send telemetry to their
/// vendor and store a machine identifier, whatever the API is asked to do. A program sets it before its first thread
/// starts.
pub const TELEMETRY_OFF: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");

/// ONNX Runtime allows one environment per process and never closes it; engines in one process share it through this
/// static. It holds no settings of ours.
static OPENED: Mutex<Option<(Environment, PathBuf)>> = Mutex::new(None);

impl Runtime {
    /// Opens a runtime; also returns one line with the choice and its reason.
    ///
    /// # Errors
    /// When ONNX Runtime is required, by choice or by a configured path, and cannot be opened.
    pub fn open(choice: Choice, search: &Search) -> Result<(Self, String), Error> {
        if choice == Choice::Rten {
            return Ok((Self(Kind::Rten), "rten (built in), as configured".into()));
        }
        let failures = match open_library(search) {
            Ok((environment, reason)) => return Ok((Self(Kind::Onnx(environment)), reason)),
            Err(failures) => failures,
        };
        if choice == Choice::OnnxRuntime || search.explicit.is_some() {
            let error = Error::new(Code::Unsupported, format!("ONNX Runtime cannot be opened: {failures}"));
            return Err(error.hint(hint(is_quiet())));
        }
        tracing::debug!(%failures, "no ONNX Runtime");
        let reason = "rten (built in): no libonnxruntime found; with one, models run in about 0.4 to 0.6 of the time";
        Ok((Self(Kind::Rten), reason.into()))
    }

    /// `onnxruntime` or `rten`.
    pub fn name(&self) -> &'static str {
        match self.0 {
            Kind::Onnx(_) => "onnxruntime",
            Kind::Rten => "rten",
        }
    }
}

/// The finding for `doctor`.
pub fn finding(search: &Search) -> Finding {
    let name = "inference runtime".to_owned();
    match Runtime::open(Choice::Auto, search) {
        Ok((runtime, reason)) => Finding {
            name,
            ok: runtime.name() == "onnxruntime",
            optional: true,
            detail: reason,
            hint: Some("`./dev demo` fetches libonnxruntime; or name one in ORT_DYLIB_PATH".into()),
        },
        Err(error) => Finding { name, ok: false, optional: false, detail: error.message().to_owned(), hint: None },
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Runtime({})", self.name())
    }
}

/// The remedy where ONNX Runtime cannot be opened.
fn hint(is_quiet: bool) -> String {
    let (name, value) = TELEMETRY_OFF;
    match is_quiet {
        true => "install libonnxruntime 1.24 or newer and name it in ORT_DYLIB_PATH".to_owned(),
        false => format!(
            "set {name}={value} in the environment before the process starts; a program that embeds the engine may set it \
             before its first thread"
        ),
    }
}

/// Whether ONNX Runtime's telemetry is off.
fn is_quiet() -> bool {
    let (name, value) = TELEMETRY_OFF;
    std::env::var_os(name).is_some_and(|set| set == value)
}

/// The environment and the reason, or why each library failed.
fn open_library(search: &Search) -> Result<(Environment, String), String> {
    if !is_quiet() {
        let (name, value) = TELEMETRY_OFF;
        return Err(format!("{name}={value} is not set, and ONNX Runtime would report to its maker"));
    }
    let mut opened = OPENED.lock();
    if let Some((environment, path)) = &*opened {
        if let Some(wanted) = search.explicit.as_ref().filter(|wanted| *wanted != path) {
            let (wanted, path) = (wanted.display(), path.display());
            return Err(format!("{wanted} is configured, but this process has already opened {path}"));
        }
        return Ok((environment.clone(), format!("ONNX Runtime, {} (already open)", path.display())));
    }
    let mut failures = vec![];
    for (path, origin) in search.libraries() {
        let builder = match ort::init_from(&path) {
            Ok(builder) => builder,
            Err(failure) => {
                failures.push(format!("{origin}: {failure}"));
                continue;
            }
        };
        let environment = builder
            .with_name("dsengine")
            .with_telemetry(false)
            .with_logger(Arc::new(|level, category, _, _, message| log(level, category, message)))
            .build()
            .map_err(|e| format!("{}: {e}", path.display()))?;
        let reason = format!("ONNX Runtime, {} ({origin})", path.display());
        *opened = Some((environment.clone(), path));
        return Ok((environment, reason));
    }
    Err(failures.join("; "))
}

/// Forwards ONNX Runtime's log to ours.
fn log(level: LogLevel, category: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => tracing::error!(target: "onnxruntime", category, "{message}"),
        // An unusable model logs hundreds of these; its one error is enough.
        LogLevel::Warning | LogLevel::Info => tracing::debug!(target: "onnxruntime", category, "{message}"),
        LogLevel::Verbose => tracing::trace!(target: "onnxruntime", category, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_is_of_what_keeps_it_closed() {
        assert!(hint(true).contains("install libonnxruntime"));
        assert!(hint(false).contains("ORT_DISABLE_TELEMETRY=1") && !hint(false).contains("install"));
    }

    #[test]
    fn without_a_library_the_built_in_runtime_is_used_and_the_reason_says_so() {
        let (runtime, reason) = Runtime::open(Choice::Rten, &Search::default()).unwrap();
        assert_eq!(runtime.name(), "rten");
        assert!(reason.contains("as configured"));
    }
}
