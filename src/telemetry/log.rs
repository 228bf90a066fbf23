//! Log lines: text or JSON, to standard error and to a rotating file, every one through redaction.
//!
//! Only the command line calls [`init`]; the library emits `tracing` events and leaves the subscriber to its host.

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

use super::redact::{self, redact};
use super::rotate::RotatingFile;
use crate::error::{Code, Error};

/// What to log where. The command line fills it from `config::LogPlan` and its flags.
#[derive(Debug, Clone)]
pub struct Options {
    /// `debug`, `info`, `warning`, `error` or `critical`.
    pub level: String,
    /// JSON lines instead of text.
    pub json: bool,
    /// Colour, where standard error is a terminal and `NO_COLOR` is not set.
    pub color: bool,
    /// Write to standard error.
    pub console: bool,
    /// Also write to this file, never coloured.
    pub file: Option<PathBuf>,
    /// Rotate the file when it would grow past this.
    pub file_max_bytes: u64,
    /// Rotated files to keep.
    pub file_backups: u32,
    /// Debug lines of this crate, whatever `level` says (`--verbose`, `DSENGINE_DEBUG=1`).
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            level: "info".into(),
            json: false,
            color: true,
            console: true,
            file: None,
            file_max_bytes: 100 << 20,
            file_backups: 5,
            verbose: false,
        }
    }
}

type Layers = Vec<Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync>>;

/// Which events pass, to be changed while the process runs.
#[derive(Clone)]
pub struct Level {
    filter: reload::Handle<Targets, Layered<Layers, Registry>>,
    verbose: bool,
}

impl Level {
    /// Lets events of this level pass: `debug`, `info`, `warning`, `error` or `critical`.
    ///
    /// # Errors
    /// [`Code::Config`] for an unknown level.
    pub fn set(&self, level: &str) -> Result<(), Error> {
        let filter = filter(level, self.verbose)?;
        self.filter
            .reload(filter)
            .map_err(|error| Error::new(Code::Config, format!("the log level cannot be changed: {error}")))
    }
}

/// Installs the process's log subscriber.
///
/// # Errors
/// [`Code::Io`] when the file cannot be written, [`Code::Config`] for an unknown level or when a subscriber is there
/// already.
pub fn init(options: &Options) -> Result<Level, Error> {
    let file = match &options.file {
        Some(path) => {
            Some(RotatingFile::open(path, options.file_max_bytes, options.file_backups).map_err(|error| {
                Error::new(Code::Io, format!("the log file {} cannot be written: {error}", path.display()))
                    .hint("set logging.log_file to a file in a folder that this user may write")
            })?)
        }
        None => None,
    };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let color = options.color && !no_color && io::stderr().is_terminal();
    let console = options.console.then(|| layer(options.json, color, Target::Console));
    let file = file.map(|file| layer(options.json, false, Target::File(Arc::new(Mutex::new(file)))));
    let layers: Layers = console.into_iter().chain(file).collect();
    let (level, handle) = reload::Layer::new(filter(&options.level, options.verbose)?);
    tracing_subscriber::registry()
        .with(layers)
        .with(level)
        .try_init()
        .map_err(|error| Error::new(Code::Config, format!("logging is set up already: {error}")))?;
    Ok(Level { filter: handle, verbose: options.verbose })
}

/// Which events pass: `level` for everything of ours and of GStreamer's, warnings only of the crates beneath.
fn filter(level: &str, verbose: bool) -> Result<Targets, Error> {
    let ours = match level {
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warning" => LevelFilter::WARN,
        "error" | "critical" => LevelFilter::ERROR,
        other => {
            return Err(Error::new(Code::Config, format!("{other:?} is no log level"))
                .hint("the levels are debug, info, warning, error, critical"));
        }
    };
    let engine = if verbose { ours.max(LevelFilter::DEBUG) } else { ours };
    Ok(Targets::new()
        .with_default(ours.min(LevelFilter::WARN))
        .with_target("gstreamer", ours)
        .with_target("dsengine", engine)
        // Who changed what is said at any level.
        .with_target("audit", LevelFilter::INFO))
}

fn layer(json: bool, color: bool, target: Target) -> Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync> {
    let layer = fmt::layer().with_writer(Out { target, json }).with_ansi(color);
    if json {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed()
    } else {
        layer.boxed()
    }
}

/// Where lines go, and in which form they come.
struct Out {
    target: Target,
    json: bool,
}

enum Target {
    Console,
    File(Arc<Mutex<RotatingFile>>),
}

/// One event on its way: the layer writes it in pieces or whole, it leaves redacted and in one write.
struct Line<'a> {
    out: &'a Out,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Out {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { out: self, bytes: Vec::with_capacity(256) }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&self.bytes);
        let text = if self.out.json { redact::json(&text) } else { redact(&text) };
        let text = text.trim_end_matches('\n');
        // A log that cannot be written has nobody to tell; the engine goes on.
        let _ = match &self.out.target {
            Target::Console => io::stderr().lock().write_all(format!("{text}\n").as_bytes()),
            Target::File(file) => file.lock().append(text.as_bytes()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(json: bool, emit: impl FnOnce()) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/x.log");
        let file = RotatingFile::open(&path, 1 << 20, 1).unwrap();
        let subscriber = tracing_subscriber::registry()
            .with(layer(json, false, Target::File(Arc::new(Mutex::new(file)))))
            .with(filter("info", true).unwrap());
        tracing::subscriber::with_default(subscriber, emit);
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn json_lines_are_json_with_utc_time_and_without_secrets() {
        let text = logged(true, || {
            tracing::info!(source = "gate", "cannot open {}", "rtsp://admin:C4n4ry@h/x?token=C4n4ry");
            tracing::warn!(password = "C4n4ry", "a \"quoted\" word");
        });
        assert!(!text.contains("C4n4ry"), "{text}");
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0]["level"].as_str(), lines[0]["source"].as_str()), (Some("INFO"), Some("gate")));
        assert_eq!(lines[0]["message"], "cannot open rtsp://***@h/x?token=***");
        let time = lines[0]["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && humantime::parse_rfc3339(time).is_ok(), "{time}");
    }

    #[test]
    fn text_lines_go_through_redaction_too() {
        let text = logged(false, || tracing::error!("Authorization: Bearer C4n4ry0123456"));
        assert!(text.contains("ERROR") && text.contains("Authorization: ***") && !text.contains("C4n4ry"), "{text}");
    }

    #[test]
    fn verbose_shows_our_debug_lines_and_silences_the_crates_beneath() {
        let text = logged(false, || {
            tracing::debug!("ours");
            tracing::info!(target: "hyper::client", "theirs");
            tracing::info!(target: "gstreamer", "the pipeline's");
            tracing::debug!(target: "gstreamer", "the pipeline's details");
        });
        assert!(text.contains("ours") && text.contains("the pipeline's\n"), "{text}");
        assert!(!text.contains("theirs") && !text.contains("details"), "{text}");
        assert_eq!(filter("loud", false).unwrap_err().code(), Code::Config);
    }
}
