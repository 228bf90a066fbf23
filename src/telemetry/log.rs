//! Log lines: text or JSON, to standard error, to a rotating file and to followers, all redacted. Repeated and
//! excessive lines are suppressed, counted and summarised (`hold`).
//!
//! Only the command line calls [`init`]; the library emits `tracing` events and leaves the subscriber to its host.

mod file;
mod gate;
mod hold;
mod out;
mod tail;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

pub use file::LostLines;
pub use out::Figures;
pub use tail::{Follower, Heard, TAIL_BYTES_MAX, TAIL_LINES_MAX, Tail, TailLine};

use file::LogFile;
use gate::{Gate, Reporter};
use hold::Rules;
use out::{FiguresCell, Out, Target};

use super::rotate::RotatingFile;
use crate::error::{Code, Error};
use crate::types::Clock;

/// Log settings. The command line fills them from `config::LogPlan` and its flags.
#[derive(Debug, Clone)]
pub struct Options {
    /// `debug`, `info`, `warning`, `error` or `critical`.
    pub level: String,
    /// JSON lines instead of text.
    pub json: bool,
    /// Use colour if standard error is a terminal and `NO_COLOR` is not set.
    pub color: bool,
    /// Write to standard error.
    pub console: bool,
    /// Also write to this file, never coloured.
    pub file: Option<PathBuf>,
    /// Rotate the file when it would grow past this.
    pub file_max_bytes: u64,
    /// Rotated files to keep.
    pub file_backups: u32,
    /// Whether JSON records include the engine's newest figures, see [`Log::show_figures`].
    pub figures: bool,
    /// Whether repeated lines are suppressed.
    pub hold_repeats: bool,
    /// Maximum lines per target and level in a minute.
    pub per_minute: u32,
    /// Log this crate's debug lines, whatever `level` says (`--verbose`, `DSENGINE_DEBUG=1`).
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
            figures: true,
            hold_repeats: true,
            per_minute: 1_000,
            verbose: false,
        }
    }
}

type Layers = Vec<Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync>>;

/// The process's log. Summaries of suppressed lines are logged while a handle exists, and when the last one is dropped.
#[derive(Clone)]
#[must_use = "what is held back is told by it"]
pub struct Log {
    filter: reload::Handle<Targets, Layered<Gate, Layered<Layers, Registry>>>,
    verbose: bool,
    tail: Arc<Tail>,
    figures_cell: FiguresCell,
    file: Option<Arc<LogFile>>,
    reporter: Arc<Reporter>,
}

impl Log {
    /// Sets the minimum level: `debug`, `info`, `warning`, `error` or `critical`.
    ///
    /// # Errors
    /// [`Code::Config`] for an unknown level.
    pub fn set_level(&self, level: &str) -> Result<(), Error> {
        let filter = filter(level, self.verbose)?;
        self.filter
            .reload(filter)
            .map_err(|error| Error::new(Code::Config, format!("the log level cannot be changed: {error}")))
    }

    /// The live log, for followers.
    pub fn tail(&self) -> Arc<Tail> {
        Arc::clone(&self.tail)
    }

    /// Adds these figures to JSON records from now on, if enabled. Only the first call has an effect.
    pub fn show_figures(&self, figures: Figures) {
        // A process log serves one engine.
        let _ = self.figures_cell.set(figures);
    }

    /// Calls `listener` with what the log's file has lost, each time that has changed. Only the first call has an effect.
    pub fn on_lost_lines(&self, listener: impl Fn(&LostLines) + Send + Sync + 'static) {
        if let Some(file) = &self.file {
            file.listen(Box::new(listener));
        }
    }

    /// Logs all pending summaries, for a process that exits without dropping the log.
    pub fn finish(&self) {
        self.reporter.finish();
    }
}

/// Installs the process's log subscriber.
///
/// # Errors
/// [`Code::Io`] when the file cannot be written, [`Code::Config`] for an unknown level or when a subscriber is already
/// installed.
pub fn init(options: &Options, clock: Arc<dyn Clock>) -> Result<Log, Error> {
    let file = match &options.file {
        Some(path) => {
            let file = RotatingFile::open(path, options.file_max_bytes, options.file_backups).map_err(|error| {
                Error::new(Code::Io, format!("the log file {} cannot be written: {error}", path.display()))
                    .hint("set logging.log_file to a file in a folder that this user may write")
            })?;
            Some(Arc::new(LogFile::new(file, path, options.json)))
        }
        None => None,
    };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let color = options.color && !no_color && io::stderr().is_terminal();
    let (tail, figures_cell) = (Arc::<Tail>::default(), FiguresCell::default());
    let out = |target, json| Out {
        target,
        json,
        figures: options.figures.then(|| Arc::clone(&figures_cell)).filter(|_| json),
    };
    let console = options.console.then(|| layer(out(Target::Console, options.json), color));
    let written = |file: &Arc<LogFile>| Target::File(Arc::clone(file), Arc::clone(&clock));
    let to_file = file.as_ref().map(|file| layer(out(written(file), options.json), false));
    let followed = layer(out(Target::Tail(Arc::clone(&tail)), true), false);
    let layers: Layers = console.into_iter().chain(to_file).chain([followed]).collect();
    let (gate, reporter) = {
        let rules = Rules { repeats: options.hold_repeats, per_minute: options.per_minute };
        gate::gate(rules, clock, file.clone())?
    };
    let (level, handle) = reload::Layer::new(filter(&options.level, options.verbose)?);
    tracing_subscriber::registry()
        .with(layers)
        .with(gate)
        .with(level)
        .try_init()
        .map_err(|error| Error::new(Code::Config, format!("logging is set up already: {error}")))?;
    Ok(Log { filter: handle, verbose: options.verbose, tail, figures_cell, file, reporter })
}

/// Which events pass: `level` for this crate and GStreamer, at most warnings for other crates.
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
        // Its handshakes fail with an error, which is described in our own words.
        .with_target("rustls", LevelFilter::OFF)
        // Audit records pass at any level.
        .with_target("audit", LevelFilter::INFO))
}

fn layer(out: Out, color: bool) -> Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync> {
    let json = out.json;
    let layer = fmt::layer().with_writer(out).with_ansi(color);
    if json {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed()
    } else {
        layer.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(json: bool, emit: impl FnOnce()) -> String {
        logged_with(json, None, emit)
    }

    fn logged_with(json: bool, figures: Option<FiguresCell>, emit: impl FnOnce()) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/x.log");
        let file = Arc::new(LogFile::new(RotatingFile::open(&path, 1 << 20, 1).unwrap(), &path, json));
        let clock = crate::telemetry::metrics::tests::clock();
        let subscriber = tracing_subscriber::registry()
            .with(layer(Out { target: Target::File(file, clock), json, figures }, false))
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
    fn json_records_have_the_newest_figures_once_there_are_any() {
        let figures_cell = FiguresCell::default();
        let text = logged_with(true, Some(Arc::clone(&figures_cell)), || {
            tracing::info!("before");
            let figures = figures_cell.get_or_init(Figures::default);
            tracing::info!("none yet");
            figures.store(Some(Arc::new("{\"fps\":3.5}".to_owned())));
            tracing::info!("after");
        });
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let figures: Vec<_> = lines.iter().map(|line| line["metrics"]["fps"].as_f64()).collect();
        assert_eq!(figures, [None, None, Some(3.5)], "{text}");
    }

    #[test]
    fn text_lines_go_through_redaction_too() {
        let text = logged(false, || tracing::error!("Authorization: Bearer C4n4ry0123456"));
        assert!(text.contains("ERROR") && text.contains("Authorization: ***") && !text.contains("C4n4ry"), "{text}");
    }

    #[test]
    fn no_text_passes_for_another_line_or_steers_the_terminal() {
        let forged = "a\u{1b}[2J\u{9b}H\n2026 CRITICAL \u{1b}[31mred";
        let text = logged(false, || {
            tracing::warn!(source = %forged, "of a field");
            tracing::warn!("{forged}");
        });
        assert!(!text.lines().any(|line| line.starts_with("2026 ")), "{text}");
        assert!(!text.contains(['\u{9b}', '\u{7}']) && !text.contains("\u{1b}[2J"), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains(" WARN ")).count(), 2, "{text}");
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
