//! Writes log lines: collects an event's pieces, and writes it redacted in one go.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::file::LogFile;
use super::tail::Tail;
use crate::telemetry::redact::{self, redact};
use crate::types::{Clock, lines};

/// An engine's newest figures, as a JSON object.
pub type Figures = Arc<ArcSwapOption<String>>;

/// Figures added to the records of a JSON log, once an engine has set them.
pub(super) type FiguresCell = Arc<OnceLock<Figures>>;

/// An output and the format of its lines.
pub(super) struct Out {
    pub(super) target: Target,
    pub(super) json: bool,
    /// Figures added to each record.
    pub(super) figures: Option<FiguresCell>,
}

pub(super) enum Target {
    Console,
    File(Arc<LogFile>, Arc<dyn Clock>),
    Tail(Arc<Tail>),
}

/// An event being written.
pub(super) struct Line<'a> {
    out: &'a Out,
    level: Level,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Out {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { out: self, level: Level::INFO, bytes: Vec::with_capacity(256) }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        let mut line = self.make_writer();
        line.level = *meta.level();
        line
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
        if self.bytes.is_empty() || matches!(&self.out.target, Target::Tail(tail) if !tail.is_followed()) {
            return;
        }
        let text = String::from_utf8_lossy(&self.bytes);
        let text = text.trim_end_matches('\n');
        let text = if self.out.json { redact::json(text) } else { as_one_event(&redact(text)).into_owned().into() };
        let text = with_figures(&text, self.out.figures.as_ref());
        match &self.out.target {
            Target::Console => {
                // There is no other place to report it; the engine goes on.
                let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
            }
            Target::File(file, clock) => file.write(&text, &**clock),
            Target::Tail(tail) => tail.write(self.level, &text),
        }
    }
}

/// The text of one event, which neither steers a terminal nor passes for another event: control characters are
/// replaced, except the log's own colours, and what follows a line break is indented.
fn as_one_event(text: &str) -> Cow<'_, str> {
    if !text.contains(['\n', '\u{1b}']) {
        return lines(text);
    }
    let mut out = String::with_capacity(text.len());
    for (number, piece) in text.split('\u{1b}').enumerate() {
        let inside = piece.strip_prefix('[').and_then(|code| code.split_once('m'));
        let is_colour = inside.is_some_and(|(code, _)| code.bytes().all(|b| b.is_ascii_digit() || b == b';'));
        match (number, is_colour) {
            (0, _) => {}
            (_, true) => out.push('\u{1b}'),
            (_, false) => out.push(' '),
        }
        for (row, text) in lines(piece).split('\n').enumerate() {
            if row > 0 {
                out.push_str(if text.starts_with(' ') { "\n" } else { "\n    " });
            }
            out.push_str(text);
        }
    }
    out.into()
}

/// Appends the newest figures as the record's last field, if there are any.
fn with_figures<'a>(record: &'a str, figures: Option<&FiguresCell>) -> Cow<'a, str> {
    let newest = figures.and_then(|figures| figures.get()).and_then(|figures| figures.load_full());
    match (newest, record.strip_suffix('}')) {
        (Some(newest), Some(open)) => format!("{open},\"metrics\":{newest}}}").into(),
        _ => record.into(),
    }
}
