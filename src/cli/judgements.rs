//! `run --judgements FILE`: one JSON line per judged frame.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use dsengine::engine::{Judged, Observer};
use dsengine::error::Error;

use super::files::create;

/// A log of judgements: which generation of each rule judged which frame, and how long it took.
pub(crate) struct Judgements {
    path: PathBuf,
    out: Mutex<BufWriter<File>>,
}

impl Judgements {
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        Ok(Self { path: path.to_owned(), out: Mutex::new(BufWriter::new(create(path)?)) })
    }

    pub(crate) fn flush(&self) {
        if let Err(error) = self.out.lock().unwrap_or_else(PoisonError::into_inner).flush() {
            eprintln!("error: {}: {error}", self.path.display());
        }
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
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writeln!(out, "{line}") {
            tracing::error!(%error, "judgements cannot be written");
        }
    }
}
