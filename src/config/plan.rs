//! The `Plan`: a validated configuration, resolved and typed. Nothing above `config` sees anything rawer.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::types::{Level, SourceId, Zone};

/// Everything an engine needs to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The deployment's name, shown in status.
    pub name: String,
    /// The configuration's own version, shown in status and metrics.
    pub version: Option<String>,
    /// What kind of deployment this is, shown in status and metrics.
    pub environment: Environment,
    /// Sources, enabled ones only, ids unique.
    pub sources: Vec<SourcePlan>,
    /// Model strategies, in listed order.
    pub models: Vec<ModelPlan>,
    /// Strategies that run on the lane after the models, in listed order.
    pub strategies: Vec<StrategyPlan>,
    /// Tracking.
    pub tracking: TrackingPlan,
    /// Frames per inference batch (`pipeline.batch_size`), applied where the model allows it.
    pub batch_size: usize,
    /// How long a batch waits to fill (`pipeline.batch_timeout_ms`).
    pub batch_timeout: Duration,
    /// Pin the engine's threads to these cores; empty = leave to the system.
    pub cpu_affinity: Vec<usize>,
    /// Inference workers (`monitoring.thread_pool_size` or `thread_pool_size` where set); `None` = one per core.
    pub workers: Option<usize>,
    /// Alert policy.
    pub alerts: AlertPlan,
    /// Handlers, enabled ones only.
    pub handlers: Vec<HandlerPlan>,
    /// Metrics, health and pages.
    pub admin: AdminPlan,
    /// Logs.
    pub logging: LogPlan,
    /// Bound on ending after the first signal.
    pub graceful_shutdown: Duration,
    /// Path of libonnxruntime, where the config or a flag names it.
    pub ort_library: Option<PathBuf>,
    /// SHA-256 of the effective configuration, hex, secrets excluded.
    pub hash: String,
}

/// What kind of deployment this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Environment {
    /// Where it is built.
    #[default]
    Development,
    /// Where it is tried.
    Staging,
    /// Where it is needed.
    Production,
}

impl Environment {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

/// One source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    /// Its unique name.
    pub id: SourceId,
    /// What to read.
    pub input: Input,
    /// Most frames analysed per second of stream time; `None` = all.
    pub fps: Option<f64>,
    /// Analyse only frames 0, n, 2n … (`record --every`); 1 = all.
    pub every: u32,
    /// Zones of its picture (top-level zones plus its own).
    pub zones: Arc<[Zone]>,
    /// Overrides `detection.confidence_threshold` for this source.
    pub confidence: Option<f32>,
    /// How it is restarted.
    pub retry: RetryPlan,
    /// Play a file at its own pace instead of as fast as it can be analysed.
    pub realtime: bool,
    /// Begin again at the end of a file or scene; frame numbers and times go on.
    pub repeat: bool,
}

/// What a source reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A media file. Finite: no frame is lost, the end is an end.
    File(PathBuf),
    /// A network stream. Live. Holds the full URI, credentials included: print only through `telemetry::redact`.
    Rtsp(String),
    /// GStreamer's test picture. Live unless `frames` bounds it.
    Test {
        /// `videotestsrc pattern`, by nick (`smpte`, `ball`, `black` …).
        pattern: String,
        /// Bound on frames; `Some` makes it finite.
        frames: Option<u64>,
        /// Picture width.
        width: u32,
        /// Picture height.
        height: u32,
        /// Frames per second.
        fps: f64,
    },
    /// A scripted scene: a shipped name or a YAML file.
    Scene {
        /// Name or path.
        name: String,
        /// Detections only, without pixels (`scene:NAME?pixels=false`).
        pixels: bool,
        /// Overrides the scene's own seed.
        seed: Option<u64>,
        /// Play at the scene's pace and drop what is late, as a camera does; else as fast as it is judged.
        live: bool,
    },
    /// A recorded trace (`record` format).
    Trace(PathBuf),
}

impl Input {
    /// Whether frames are dropped when the engine is behind (newest wins) and an end is a failure.
    pub fn is_live(&self) -> bool {
        match self {
            Self::File(_) | Self::Trace(_) => false,
            Self::Rtsp(_) => true,
            Self::Test { frames, .. } => frames.is_none(),
            Self::Scene { live, .. } => *live,
        }
    }
}

/// How a source is restarted and when it counts as silent.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPlan {
    /// Retries before the source is marked failed; a live one is still tried at the cap.
    pub max_retries: u32,
    /// First delay.
    pub base: Duration,
    /// Longest delay, jitter included.
    pub cap: Duration,
    /// Doubling (true) or fixed delay (false).
    pub exponential: bool,
    /// Longest wait for the first frame after a start.
    pub first_frame: Duration,
    /// Longest gap between frames while running.
    pub gap: Duration,
}

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
    /// Decoder, where the config overrides what the model's shapes say (`yolov8`, `yolox`).
    pub layout: Option<String>,
    /// Analyse every n-th frame; the tracker bridges the others.
    pub interval: u32,
    /// Only these sources; empty = all.
    pub sources: Vec<SourceId>,
    /// `fp32`, `fp16` or `int8`, where set.
    pub precision: Option<String>,
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

/// Tracking options.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackingPlan {
    /// Whether to track at all.
    pub enabled: bool,
}

/// Alert policy.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertPlan {
    /// Whether alerts are raised at all.
    pub enabled: bool,
    /// Duplicates of (source, rule, key) are held back this long after the last one sent.
    pub throttle: Duration,
    /// Most alerts of one (source, rule) within ten seconds. Not built yet: see the table of keys.
    pub burst_threshold: u32,
    /// Most alerts of one source in any minute. Not built yet: see the table of keys.
    pub max_per_minute: u32,
    /// Alerts whose best detection scores lower are refused.
    pub min_confidence: f32,
    /// Level of a draft that names none.
    pub default_level: Level,
    /// Delivery attempts per handler and alert.
    pub attempts: u32,
    /// Pause between attempts.
    pub retry_delay: Duration,
    /// Most alerts waiting for delivery.
    pub outbox_max: usize,
}

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

/// The HTTP listener.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminPlan {
    /// Whether to listen at all.
    pub enabled: bool,
    /// The address to bind. Loopback is open; any other asks for a token.
    pub listen: IpAddr,
    /// Its port; 0 = any free one.
    pub port: u16,
    /// Host names that requests may carry besides localhost and literal addresses.
    pub allowed_hosts: Vec<String>,
    /// Who may ask.
    pub tokens: Vec<TokenPlan>,
    /// What needs no token.
    pub public: Public,
    /// Whether the metrics page is served.
    pub metrics: bool,
    /// Path of the metrics page.
    pub metrics_path: String,
}

impl Default for AdminPlan {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8000,
            allowed_hosts: Vec::new(),
            tokens: Vec::new(),
            public: Public { probes: true, metrics: false },
            metrics: true,
            metrics_path: "/metrics".to_owned(),
        }
    }
}

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenPlan {
    /// Its name, in the audit.
    pub name: String,
    /// Its text.
    pub token: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// The only sources that it is for; all when empty.
    pub sources: Vec<String>,
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Seeing.
    Read,
    /// Changing.
    Control,
    /// Sending pictures in.
    Publish,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Control, Self::Publish];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Control => "control",
            Self::Publish => "publish",
        }
    }
}

/// What needs no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Public {
    /// The probes.
    pub probes: bool,
    /// The metrics page.
    pub metrics: bool,
}

/// Logs.
#[derive(Debug, Clone, PartialEq)]
pub struct LogPlan {
    /// `debug`, `info`, `warning`, `error`, `critical`.
    pub level: String,
    /// Lines as JSON (true) or text.
    pub json: bool,
    /// Colour where the output is a terminal.
    pub color: bool,
    /// Also write to this file.
    pub file: Option<PathBuf>,
    /// Rotate the file when it would grow past this.
    pub file_max_bytes: u64,
    /// Rotated files to keep.
    pub file_backups: u32,
    /// Write to standard error.
    pub console: bool,
}
