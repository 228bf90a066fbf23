//! `file`: JSON lines in a file.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use crate::config::build::Site;
use crate::config::plan::HandlerKind;
use crate::config::schema::Handler;

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct File {
    /// file: where alerts are written, JSON lines. Default alerts.jsonl. Example: /var/log/alerts.jsonl.
    log_file: Option<PathBuf>,
    /// file: rotate when it would grow past this. Default 100. Unit: MB (1,000,000 bytes). Range 0.001–1000000.
    /// Example: 10.
    #[schemars(range(min = 0.001, max = 1_000_000))]
    max_size_mb: Option<f64>,
    /// file: rotated files to keep. Default 5. Range 0–1000. Example: 3.
    #[schemars(range(min = 0, max = 1000))]
    backup_count: Option<u32>,
}

impl Type for File {
    const WORD: &'static str = "file";

    fn plan(self, _: &Handler, _: &str, site: &mut Site<'_>) -> Option<HandlerKind> {
        let Self { log_file, max_size_mb, backup_count } = self;
        Some(HandlerKind::File {
            path: site.place_file(log_file.as_deref().unwrap_or("alerts.jsonl".as_ref())),
            max_bytes: (max_size_mb.unwrap_or(100.0) * 1e6) as u64,
            backups: backup_count.unwrap_or(5),
        })
    }
}
