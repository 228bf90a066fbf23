//! `file`: alerts as lines in a file.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use crate::config::build::Site;
use crate::config::plan::{FileFormat, HandlerKind};
use crate::config::schema::Handler;
use crate::types::Period;

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct File {
    /// file: where alerts are written. Default alerts.jsonl, alerts.csv or alerts.log, by format.
    /// Example: /var/log/alerts.jsonl.
    log_file: Option<PathBuf>,
    /// file: a JSON object per line, comma-separated values with a line of names on top, or the console's lines.
    /// Default json. Example: csv.
    format: Option<Format>,
    /// file: rotate when it would grow past this. Default 100. Unit: MB (1,000,000 bytes). Range 0.001–1000000.
    /// Example: 10.
    #[schemars(range(min = 0.001, max = 1_000_000))]
    max_size_mb: Option<f64>,
    /// file: also rotate before the first alert of an hour or a day of `timezone`. Default none. Example: daily.
    rotate: Option<Rotate>,
    /// file: rotated files to keep. Default 5. Range 0–1000. Example: 3.
    #[schemars(range(min = 0, max = 1000))]
    backup_count: Option<u32>,
}

/// How an alert is written.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Csv,
    Text,
}

/// How often a file rotates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Rotate {
    None,
    Hourly,
    Daily,
}

impl Type for File {
    const WORD: &'static str = "file";

    fn plan(self, _: &Handler, _: &str, site: &mut Site<'_>) -> Option<HandlerKind> {
        let Self { log_file, format, max_size_mb, rotate, backup_count } = self;
        let (format, name) = match format.unwrap_or(Format::Json) {
            Format::Json => (FileFormat::Json, "alerts.jsonl"),
            Format::Csv => (FileFormat::Csv, "alerts.csv"),
            Format::Text => (FileFormat::Text, "alerts.log"),
        };
        Some(HandlerKind::File {
            path: site.place_file(log_file.as_deref().unwrap_or(name.as_ref())),
            max_bytes: (max_size_mb.unwrap_or(100.0) * 1e6) as u64,
            backups: backup_count.unwrap_or(5),
            format,
            every: match rotate.unwrap_or(Rotate::None) {
                Rotate::None => None,
                Rotate::Hourly => Some(Period::Hour(site.timezone.clone())),
                Rotate::Daily => Some(Period::Day(site.timezone.clone())),
            },
        })
    }
}
