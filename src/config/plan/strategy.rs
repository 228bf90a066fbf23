//! Strategies: models, and what judges on the lane.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::types::{Layout, Precision, SourceId};

/// A neural network as a strategy.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelPlan {
    /// The strategy's name.
    pub name: String,
    /// The model file.
    pub model: PathBuf,
    /// Label file, one label per line; `None` takes the model's own metadata.
    pub labels: Option<PathBuf>,
    /// Lowest score kept.
    pub confidence: f32,
    /// Class-aware NMS threshold (IoU).
    pub nms: f32,
    /// Most detections per frame, best first.
    pub max_objects: usize,
    /// Input shape (C, H, W) where the config sets it: needed for a model with dynamic height and width.
    pub input_shape: Option<[usize; 3]>,
    /// Names of the outputs to read; empty = all, in the model's order.
    pub output_layers: Vec<String>,
    /// How its outputs are read, where the configuration overrides what their shapes say.
    pub layout: Option<Layout>,
    /// Analyse every n-th frame; the tracker bridges the others.
    pub interval: u32,
    /// Only these sources; empty = all.
    pub sources: Vec<SourceId>,
    /// How exact its numbers are to be, where set.
    pub precision: Option<Precision>,
}

/// A strategy on the lane.
#[derive(Debug, Clone, PartialEq)]
pub struct StrategyPlan {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: StrategyKind,
    /// Only these sources; empty = all.
    pub sources: Vec<SourceId>,
    /// May take detections away from later strategies.
    pub filters: bool,
    /// The strategy's own settings, handed to it as they are.
    pub config: serde_json::Value,
    /// The table of a script that holds its functions (`class`), where they are not globals.
    pub class: Option<String>,
    /// Limits that differ from the defaults.
    pub limits: LimitPlan,
    /// What it may reach.
    pub grants: GrantPlan,
    /// What becomes of a frame whose judgement failed, and of the strategy.
    pub on_failure: OnFailure,
    /// The strategy that this one only runs beside, to be compared with it.
    pub shadow_of: Option<String>,
}

/// Limits of a script or component that differ from the defaults; also the `[limits]` of a plugin's manifest.
#[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitPlan {
    /// CPU milliseconds of a call past which it counts as slow.
    pub soft_ms: Option<f64>,
    /// CPU milliseconds of a call past which it is stopped.
    pub hard_ms: Option<f64>,
    /// Milliseconds of a strategy's call past which it is stopped whatever its CPU time.
    pub wall_ms: Option<f64>,
    /// Seconds of a handler's delivery past which it is stopped.
    pub timeout_seconds: Option<f64>,
    /// Memory, MiB.
    pub memory_mb: Option<f64>,
    /// Alerts one call may raise.
    pub alerts_per_call: Option<usize>,
    /// Detections one call may add.
    pub added_per_call: Option<usize>,
    /// Longest alert message or log line.
    pub message_bytes: Option<usize>,
    /// State kept per source.
    pub state_bytes: Option<usize>,
    /// Log lines per second of frame time.
    pub log_lines_per_second: Option<u32>,
}

/// What a script or component may reach, where it asks for it.
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
    /// Secrets that HTTP requests may name; never printed.
    pub secrets: BTreeMap<String, String>,
}

/// What becomes of a frame whose judgement by a strategy failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// It goes on unchanged.
    #[default]
    Pass,
    /// No later strategy sees it.
    Skip,
    /// It goes on unchanged, and once failures repeat the strategy stays off until its next version.
    Disable,
}

/// What stands behind a lane strategy.
#[derive(Debug, Clone, PartialEq)]
pub enum StrategyKind {
    /// Background model and blobs.
    Motion,
    /// A Lua script.
    Lua(PathBuf),
    /// A WASM component.
    Wasm(PathBuf),
}
