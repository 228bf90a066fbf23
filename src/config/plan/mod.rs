//! The `Plan`: a validated configuration, resolved and typed. Nothing above `config` sees anything rawer.

mod admin;
mod camera;
mod handler;
mod health;
mod source;
mod strategy;

use std::path::PathBuf;
use std::time::Duration;

pub use admin::*;
pub use camera::{Camera, Transport, User};
pub use handler::*;
pub use health::*;
pub use source::*;
pub use strategy::*;

use crate::types::Level;

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
    /// How the engine watches itself.
    pub health: HealthPlan,
    /// Logs.
    pub logging: LogPlan,
    /// Bound on ending after the first signal.
    pub graceful_shutdown: Duration,
    /// Path of libonnxruntime, where the config or a flag names it.
    pub ort_library: Option<PathBuf>,
    /// SHA-256 of the effective configuration, hex, secrets excluded.
    pub hash: String,
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
    /// A (source, rule, key) is told again only after it was not raised for this long, two seconds at least; zero holds
    /// nothing back.
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
    /// Whether JSON records have the engine's newest figures.
    pub figures: bool,
    /// Port on loopback at which the log is followed as JSON lines.
    pub stream_port: Option<u16>,
    /// Whether lines that repeat are held back.
    pub hold_repeats: bool,
    /// Most lines of one place and level in a minute.
    pub per_minute: u32,
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
