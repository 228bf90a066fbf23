//! Handlers: what delivers alerts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{GrantPlan, LimitPlan};

/// One handler.
#[derive(Debug, Clone, PartialEq)]
pub struct HandlerPlan {
    /// Its name, unique.
    pub name: Arc<str>,
    /// What it is, with its settings.
    pub kind: HandlerKind,
}

/// What stands behind a handler.
#[derive(Debug, Clone, PartialEq)]
pub enum HandlerKind {
    /// Lines on standard output.
    Console,
    /// JSON lines in a file.
    File {
        /// The file.
        path: PathBuf,
        /// Rotate when it would grow past this.
        max_bytes: u64,
        /// Rotated files to keep.
        backups: u32,
    },
    /// A Lua script or a WASM component.
    Module(Box<ModulePlan>),
    /// HTTP POST of the alert as JSON.
    Webhook {
        /// Where to. Print only through `telemetry::redact`.
        url: String,
        /// Longest wait for an answer.
        timeout: Duration,
        /// Extra headers.
        headers: BTreeMap<String, String>,
        /// Certificates of authorities that are trusted beside the machine's.
        ca_file: Option<PathBuf>,
    },
}

/// A script or component that delivers alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct ModulePlan {
    /// The file.
    pub path: PathBuf,
    /// The table of a script that holds its functions, where they are not globals.
    pub class: Option<String>,
    /// Its own settings, handed to it as they are.
    pub config: serde_json::Value,
    /// Limits that differ from the defaults.
    pub limits: LimitPlan,
    /// What it may reach.
    pub grants: GrantPlan,
}
