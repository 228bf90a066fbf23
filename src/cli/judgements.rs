//! `run --judgements FILE`: one JSON line per judged frame. A file is written in blocks; a pipe gets each line
//! immediately, so that its reader sees when a frame was judged.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use dsengine::engine::{Judged, Observer};
use dsengine::error::Error;
use parking_lot::Mutex;

use super::files;

/// A log of judgements: which generation of each rule judged which frame, and how long it took.
pub(crate) struct Judgements {
    path: PathBuf,
    out: Mutex<Out>,
}

struct Out {
    writer: BufWriter<File>,
    /// Whether to flush each line, for a pipe.
    at_once: bool,
    /// The first error; nothing is written after it.
    error: Option<io::Error>,
}

impl Judgements {
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let file = files::create(path)?;
        let at_once = file.metadata().is_ok_and(|of| !of.is_file());
        let out = Out { writer: BufWriter::new(file), at_once, error: None };
        Ok(Self { path: path.to_owned(), out: Mutex::new(out) })
    }

    /// Flushes the output; returns the first error of all.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        let mut out = self.out.lock();
        let written = out.error.take().map_or_else(|| out.writer.flush(), Err);
        written.map_err(|error| files::io(&self.path, &error))
    }
}

impl Observer for Judgements {
    fn judged(&self, judged: &Judged<'_>) {
        let generations: serde_json::Map<String, serde_json::Value> =
            judged.generations.iter().map(|(name, generation)| (name.to_string(), (*generation).into())).collect();
        let line = serde_json::json!({
            "source": judged.frame.source, "seq": judged.frame.seq, "generations": generations,
            "detections": judged.frame.detections.len(),
            "waited_ns": judged.waited_ns, "lane_ns": judged.lane_ns,
        });
        let mut out = self.out.lock();
        if out.error.is_some() {
            return;
        }
        let mut written = writeln!(out.writer, "{line}");
        if out.at_once {
            written = written.and_then(|()| out.writer.flush());
        }
        if let Err(error) = written {
            tracing::error!(file = %self.path.display(), %error, "judgements are no longer written");
            out.error = Some(error);
        }
    }
}
