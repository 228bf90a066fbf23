//! What scripts and components may use and reach: the same keys on strategies and handlers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::plan;

/// Limits of a script or component. What its own manifest wants less of, it gets less of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Limits {
    /// CPU time of a call past which it counts as slow. Default 5. Unit: milliseconds. Range 0.1–10000. Example: 2.
    #[schemars(range(min = 0.1, max = 10_000))]
    pub(in crate::config) soft_ms: Option<f64>,
    /// CPU time of a call past which it is stopped. Default 20. Unit: milliseconds. Range 1–10000. Example: 50.
    #[schemars(range(min = 1, max = 10_000))]
    pub(in crate::config) hard_ms: Option<f64>,
    /// Time of a strategy's call past which it is stopped whatever its CPU time. Default 250. Unit: milliseconds.
    /// Range 10–60000. Example: 500.
    #[schemars(range(min = 10, max = 60_000))]
    pub(in crate::config) wall_ms: Option<f64>,
    /// Time of a handler's delivery past which it is stopped. Default 30. Unit: seconds. Range 0.1–300. Example: 10.
    #[schemars(range(min = 0.1, max = 300))]
    pub(in crate::config) timeout_seconds: Option<f64>,
    /// Memory. Default 32 for a script, 64 for a component. Unit: MiB. Range 1–4096. Example: 128.
    #[schemars(range(min = 1, max = 4096))]
    pub(in crate::config) memory_mb: Option<f64>,
    /// Alerts one call may raise; the rest is dropped and counted. Default 16. Range 0–10000. Example: 4.
    #[schemars(range(min = 0, max = 10_000))]
    pub(in crate::config) alerts_per_call: Option<usize>,
    /// Detections one call may add. Default 256. Range 0–10000. Example: 32.
    #[schemars(range(min = 0, max = 10_000))]
    pub(in crate::config) added_per_call: Option<usize>,
    /// Longest alert message or log line; longer ones are cut and counted. Default 4096. Unit: bytes.
    /// Range 16–1048576. Example: 1024.
    #[schemars(range(min = 16, max = 1_048_576))]
    pub(in crate::config) message_bytes: Option<usize>,
    /// State kept per source. Default 1048576. Unit: bytes. Range 0–1073741824. Example: 65536.
    #[schemars(range(min = 0, max = 1_073_741_824))]
    pub(in crate::config) state_bytes: Option<usize>,
    /// Log lines; the rest is dropped and counted. Default 50. Unit: lines per second of frame time. Range 0–100000.
    /// Example: 5.
    #[schemars(range(min = 0, max = 100_000))]
    pub(in crate::config) log_lines_per_second: Option<u32>,
}

impl From<Limits> for plan::LimitPlan {
    fn from(limits: Limits) -> Self {
        let Limits {
            soft_ms,
            hard_ms,
            wall_ms,
            timeout_seconds,
            memory_mb,
            alerts_per_call,
            added_per_call,
            message_bytes,
            state_bytes,
            log_lines_per_second,
        } = limits;
        Self {
            soft_ms,
            hard_ms,
            wall_ms,
            timeout_seconds,
            memory_mb,
            alerts_per_call,
            added_per_call,
            message_bytes,
            state_bytes,
            log_lines_per_second,
        }
    }
}

/// What a script or component may reach, where its manifest asks for it. Nothing is granted by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Grants {
    /// Hosts it may send HTTP requests to, `host` or `host:port`, word for word; without a port it is the scheme's usual
    /// one. `https://host` allows that scheme alone, and a secret goes over plain http only to `http://host`. Handlers
    /// only. Default none.
    /// Example: [hooks.slack.com].
    #[schemars(length(max = 64))]
    pub(in crate::config) http: Vec<String>,
    /// State over all its sources. Default false. Example: true.
    pub(in crate::config) shared_state: bool,
    /// The frame's picture. Strategies only. Default false. Example: true.
    pub(in crate::config) pixels: bool,
    /// Environment variables it may read. Default none. Example: [SITE].
    #[schemars(length(max = 64))]
    pub(in crate::config) env: Vec<String>,
    /// Files and folders it may read. Default none. Example: [/etc/site].
    #[schemars(length(max = 64))]
    pub(in crate::config) files: Vec<PathBuf>,
    /// Secrets by name: its requests write `${secret:NAME}` and never see the value. One named `NAME@host` goes to that
    /// host only (`NAME@host:port` on another port). Default none. Example: {TOKEN: "${env:SLACK_TOKEN}"}.
    pub(in crate::config) secrets: BTreeMap<String, String>,
}

impl From<Grants> for plan::GrantPlan {
    fn from(grants: Grants) -> Self {
        let Grants { http, shared_state, pixels, env, files, secrets } = grants;
        Self { http, shared_state, pixels, env, files, secrets }
    }
}

/// What becomes of a frame whose judgement failed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum OnFailure {
    #[default]
    Pass,
    Skip,
    Disable,
}

impl From<OnFailure> for plan::OnFailure {
    fn from(word: OnFailure) -> Self {
        match word {
            OnFailure::Pass => Self::Pass,
            OnFailure::Skip => Self::Skip,
            OnFailure::Disable => Self::Disable,
        }
    }
}

/// Whether a strategy judges, or runs beside another to be compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Mode {
    #[default]
    Active,
    Shadow,
}
