//! Handlers, which deliver alerts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{AlertFilter, GrantPlan, LimitPlan};

/// One handler.
#[derive(Debug, Clone, PartialEq)]
pub struct HandlerPlan {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Its kind, with its settings.
    pub kind: HandlerKind,
    /// Which alerts it gets.
    pub filter: AlertFilter,
}

/// The kind of a handler.
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
        /// The address. Print it only through `telemetry::redact`.
        url: String,
        /// Timeout for the response.
        timeout: Duration,
        /// Extra headers.
        headers: BTreeMap<String, String>,
        /// A CA file that is trusted in addition to the system's.
        ca_file: Option<PathBuf>,
    },
}

/// A script or component that delivers alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct ModulePlan {
    /// The file.
    pub path: PathBuf,
    /// The table that contains a script's functions, if they are not globals.
    pub class: Option<String>,
    /// Its own settings, passed on unchanged.
    pub config: serde_json::Value,
    /// Overridden limits.
    pub limits: LimitPlan,
    /// Its granted capabilities.
    pub grants: GrantPlan,
}
