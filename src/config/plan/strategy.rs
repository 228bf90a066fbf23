//! Strategies: models, and those on the lane.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::types::{Layout, Precision, Schedule, SourceId, TimeZone};

/// A neural network as a strategy.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelPlan {
    /// The strategy's name.
    pub name: String,
    /// The model file.
    pub model: PathBuf,
    /// Label file, one label per line; `None` uses the model's own metadata.
    pub labels: Option<PathBuf>,
    /// Minimum score.
    pub confidence: f32,
    /// Class-aware NMS threshold (IoU).
    pub nms: f32,
    /// Maximum detections per frame, best first.
    pub max_objects: usize,
    /// Input shape (C, H, W) if configured: needed for a model with dynamic height and width.
    pub input_shape: Option<[usize; 3]>,
    /// Names of the outputs to read; empty = all, in the model's order.
    pub output_layers: Vec<String>,
    /// The layout of its outputs, if the configuration overrides what their shapes imply.
    pub layout: Option<Layout>,
    /// Analyse every n-th frame; the tracker bridges the others.
    pub interval: u32,
    /// Only these sources; empty = all.
    pub sources: Vec<SourceId>,
    /// Its numeric precision, if set.
    pub precision: Option<Precision>,
    /// When it analyses frames, by their capture time; `None` = always.
    pub schedule: Option<Schedule>,
    /// Whether an overloaded engine skips it.
    pub optional: bool,
}

impl ModelPlan {
    /// A model on every frame of all sources, with the usual thresholds and what its own file says of its outputs.
    pub fn new(name: impl Into<String>, model: PathBuf) -> Self {
        Self {
            name: name.into(),
            model,
            labels: None,
            confidence: 0.25,
            nms: 0.5,
            max_objects: 300,
            input_shape: None,
            output_layers: Vec::new(),
            layout: None,
            interval: 1,
            sources: Vec::new(),
            precision: None,
            schedule: None,
            optional: false,
        }
    }
}

/// A strategy on the lane.
#[derive(Debug, Clone, PartialEq)]
pub struct StrategyPlan {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: StrategyKind,
    /// Only these sources; empty = all.
    pub sources: Vec<SourceId>,
    /// Whether it may remove detections for later strategies.
    pub filters: bool,
    /// Its own settings, passed on unchanged.
    pub config: serde_json::Value,
    /// The table that contains a script's functions (`class`), if they are not globals.
    pub class: Option<String>,
    /// Overridden limits.
    pub limits: LimitPlan,
    /// Its granted capabilities.
    pub grants: GrantPlan,
    /// How to handle a failed judgement.
    pub on_failure: OnFailure,
    /// The strategy that this shadow runs alongside and is compared with.
    pub shadow_of: Option<String>,
    /// When it judges frames, by their capture time; `None` = always.
    pub schedule: Option<Schedule>,
    /// Whether an overloaded engine skips it.
    pub optional: bool,
    /// Added to those of its alerts.
    pub tags: Vec<String>,
    /// The zone of the local time that a script asks for.
    pub timezone: TimeZone,
    /// Whether its state on live sources survives a restart.
    pub persist_state: bool,
    /// The configuration's `extensions`, for scripts.
    pub extensions: Arc<serde_json::Value>,
}

impl StrategyPlan {
    /// A strategy as an entry of the configuration defines it that sets nothing else.
    pub fn new(name: impl Into<String>, kind: StrategyKind) -> Self {
        Self {
            name: name.into(),
            kind,
            sources: Vec::new(),
            filters: false,
            config: serde_json::Value::Object(serde_json::Map::new()),
            class: None,
            limits: LimitPlan::default(),
            grants: GrantPlan::default(),
            on_failure: OnFailure::default(),
            shadow_of: None,
            schedule: None,
            optional: false,
            tags: Vec::new(),
            timezone: TimeZone::default(),
            persist_state: true,
            extensions: Arc::default(),
        }
    }
}

/// Overridden limits of a script or component; also the `[limits]` of a plugin's manifest.
#[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitPlan {
    /// CPU milliseconds after which a call counts as slow.
    pub soft_ms: Option<f64>,
    /// CPU milliseconds after which a call is stopped.
    pub hard_ms: Option<f64>,
    /// Wall milliseconds after which a strategy's call is stopped, whatever its CPU time.
    pub wall_ms: Option<f64>,
    /// Seconds after which a handler's delivery is stopped.
    pub timeout_seconds: Option<f64>,
    /// Memory limit, MiB.
    pub memory_mb: Option<f64>,
    /// Maximum alerts per call.
    pub alerts_per_call: Option<usize>,
    /// Maximum detections added per call.
    pub added_per_call: Option<usize>,
    /// Maximum length of an alert message or log line.
    pub message_bytes: Option<usize>,
    /// Maximum state per source.
    pub state_bytes: Option<usize>,
    /// Maximum log lines per second of frame time.
    pub log_lines_per_second: Option<u32>,
}

/// The capabilities granted to a script or component that requests them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GrantPlan {
    /// Hosts, `host` or `host:port`.
    pub http: Vec<String>,
    /// State over all its sources.
    pub shared_state: bool,
    /// The frame's picture.
    pub pixels: bool,
    /// Environment variables.
    pub env: Vec<String>,
    /// Files and folders, read only.
    pub files: Vec<PathBuf>,
    /// Secrets for HTTP requests; never printed.
    pub secrets: BTreeMap<String, String>,
}

/// How to handle a frame whose judgement by a strategy failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// The frame passes unchanged.
    #[default]
    Pass,
    /// No later strategy sees it.
    Skip,
    /// The frame passes unchanged, and after repeated failures the strategy stays off until its next version.
    Disable,
}

/// The kind of a strategy on the lane.
#[derive(Debug, Clone, PartialEq)]
pub enum StrategyKind {
    /// Background model and blob detection.
    Motion,
    /// A Lua script.
    Lua(PathBuf),
    /// A WASM component.
    Wasm(PathBuf),
}
