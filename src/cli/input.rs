//! Common parts of commands that load a configuration: flags, and the output of problems.

use std::path::PathBuf;
use std::sync::Arc;

use dsengine::config::{self, Loaded, LogPlan, Overlay, Request, Warning};
use dsengine::engine::SystemClock;
use dsengine::error::Error;
use dsengine::telemetry::log::Log;
use dsengine::{gst, telemetry};

use super::exit::{Exit, refused};

/// The warnings that do not concern a command without models, strategies and handlers.
pub(crate) const UNUSED_WITHOUT_RULES: &[&str] = &[
    "no-model",
    "model-missing",
    "labels-missing",
    "script-missing",
    "python-module",
    "handler-not-built",
    "webhook-without-url",
    "email-without-address",
    "mqtt-without-url",
    "engine-without-tensorrt",
];

/// The flags that say what to load.
#[derive(clap::Args, Default, Clone)]
pub(crate) struct Input {
    /// Read this source: a file, rtsp://…, test, test:pattern=ball, scene:NAME, trace:FILE
    #[arg(long, value_name = "URI")]
    pub(crate) source: Option<String>,
    /// Read the sources from this YAML file
    #[arg(long, value_name = "FILE")]
    pub(crate) sources: Option<PathBuf>,
    /// The configuration; without one, the defaults hold
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl Input {
    /// The request for these flags, with `overrides` (dotted key, value) on top.
    pub(crate) fn request(&self, overrides: Vec<(String, String)>) -> Request {
        Request {
            config: self.config.clone(),
            sources: self.sources.clone(),
            document: None,
            source_uri: self.source.clone(),
            overlay: Overlay::default(),
            overrides,
            // Variables that are not UTF-8 cannot be a key or a reference's value.
            env: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            working_dir: std::env::current_dir().unwrap_or_default(),
        }
    }

    /// Loads the configuration of these flags, with `overrides` on top. Prints problems.
    pub(crate) fn load(&self, overrides: Vec<(String, String)>) -> Result<Loaded, Exit> {
        config::load(&self.request(overrides)).map_err(|problems| refused(&problems.into()))
    }
}

/// Prints warnings to standard error; returns whether any of them is a refusal.
pub(crate) fn show(warnings: &[Warning]) -> bool {
    let mut refused = false;
    for warning in warnings {
        let word = if warning.refuses_run() { "error" } else { "warning" };
        eprintln!("{word}: {warning}");
        refused |= warning.refuses_run();
    }
    refused
}

/// Prints the warnings about a configuration, except those named in `unused`, which concern parts that a command does
/// not use. Returns whether any of the others is a refusal.
pub(crate) fn show_used(loaded: &Loaded, unused: &[&str]) -> bool {
    let mut warnings = loaded.warnings.clone();
    warnings.extend(config::check(loaded));
    warnings.retain(|warning| !unused.contains(&warning.name));
    show(&warnings)
}

/// Sets up logging, including GStreamer's. `debug` enables this crate's debug lines.
pub(crate) fn log(plan: &LogPlan, debug: bool) -> Result<Log, Error> {
    let LogPlan { level, json, color, file, file_max_bytes, file_backups, console, .. } = plan.clone();
    let LogPlan { figures, hold_repeats, per_minute, .. } = *plan;
    let verbose = debug || std::env::var_os("DSENGINE_DEBUG").is_some_and(|value| value == "1");
    let options = telemetry::log::Options {
        level,
        json,
        color,
        console,
        file,
        file_max_bytes,
        file_backups,
        figures,
        hold_repeats,
        per_minute,
        verbose,
    };
    let log = telemetry::log::init(&options, Arc::new(SystemClock::new()))?;
    gst::log_to_tracing(gstreamer::DebugLevel::Error)?;
    Ok(log)
}
