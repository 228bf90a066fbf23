//! The `Plan`: a validated, resolved and typed configuration. Code outside of `config` only sees this.

mod address;
mod admin;
mod body;
mod broker;
mod camera;
mod detections;
mod email;
mod evidence;
mod filter;
mod handler;
mod health;
mod images;
mod mqtt;
mod outbox;
mod pictures;
mod policy;
mod recovery;
mod source;
mod strategy;
mod web;
mod webcam;
mod webrtc;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use address::User;
pub use admin::*;
pub use body::{BodyError, BodyTemplate};
pub use broker::Broker;
pub use camera::{Camera, Transport};
pub use detections::{DetectionsFormat, DetectionsFrom, DetectionsPlan, Subscription};
pub use email::*;
pub use evidence::EvidencePlan;
pub use filter::{AlertFilter, Pattern};
pub use handler::*;
pub use health::*;
pub use images::{Images, Numbered};
pub use mqtt::{Discovery, MqttPlan};
pub use outbox::*;
pub use pictures::*;
pub use policy::*;
pub use recovery::*;
pub use source::*;
pub use strategy::*;
pub use web::{Form, Web};
pub use webcam::Webcam;
pub use webrtc::{IceServers, Sender, WebrtcPlan, Whep};

use crate::types::{Level, Schedule, SourceId, TimeZone};

/// Everything an engine needs to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The deployment's name, shown in status.
    pub name: String,
    /// The configuration's own version, shown in status and metrics.
    pub version: Option<String>,
    /// The kind of deployment, shown in status and metrics.
    pub environment: Environment,
    /// The selected profile.
    pub profile: Option<String>,
    /// Hours in which profiles apply by themselves; the first that holds decides.
    pub profile_schedule: Vec<ProfileHours>,
    /// The zone of local times, hours and days.
    pub timezone: TimeZone,
    /// Enabled sources, with unique ids.
    pub sources: Vec<SourcePlan>,
    /// Sources that are configured and do not run: those that are disabled.
    pub idle: Vec<SourceId>,
    /// Model strategies, in listed order.
    pub models: Vec<ModelPlan>,
    /// Strategies that run on the lane after the models, in listed order.
    pub strategies: Vec<StrategyPlan>,
    /// Tracking.
    pub tracking: TrackingPlan,
    /// Frames per inference batch (`pipeline.batch_size`), if the model allows it.
    pub batch_size: usize,
    /// How long a partial batch waits (`pipeline.batch_timeout_ms`).
    pub batch_timeout: Duration,
    /// CPU cores to pin the engine's threads to; empty = none.
    pub cpu_affinity: Vec<usize>,
    /// Number of inference workers (`monitoring.thread_pool_size` or `thread_pool_size`); `None` = one per core.
    pub workers: Option<usize>,
    /// Alert policy.
    pub alerts: AlertPlan,
    /// What is kept of accepted alerts.
    pub outbox: OutboxPlan,
    /// What is kept of the frames that raise alerts.
    pub pictures: PicturesPlan,
    /// Enabled handlers.
    pub handlers: Vec<HandlerPlan>,
    /// Metrics, health and pages.
    pub admin: AdminPlan,
    /// The engine's self-monitoring.
    pub health: HealthPlan,
    /// Logs.
    pub logging: LogPlan,
    /// Timeout of the shutdown after the first signal.
    pub graceful_shutdown: Duration,
    /// Path of libonnxruntime, if the config or a flag sets it.
    pub ort_library: Option<PathBuf>,
    /// SHA-256 of the effective configuration, hex, secrets excluded.
    pub hash: String,
}

/// Hours in which a profile applies by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileHours {
    /// The profile.
    pub profile: String,
    /// The hours, by the wall clock.
    pub schedule: Schedule,
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
    /// An alert for a (source, rule, key) is raised again only after it was not raised for this long, two seconds at
    /// least; zero suppresses nothing.
    pub throttle: Duration,
    /// An alert whose condition lasts is sent again after this long; zero sends it once.
    pub repeat: Duration,
    /// Maximum alerts of one (source, rule) in any `burst_window`; the others become one digest. Zero is no limit.
    pub burst_threshold: u32,
    /// See `burst_threshold`; also how long alerts wait for their digest.
    pub burst_window: Duration,
    /// Maximum alerts of all sources in any minute, critical ones excluded; the others become digests. Zero is no limit.
    pub max_per_minute: u32,
    /// Maximum critical alerts of one (source, rule) in any minute; the others become one digest. Zero is no limit.
    pub max_critical_per_minute: u32,
    /// Alerts whose best detection has a lower score are refused.
    pub min_confidence: f32,
    /// Level of an alert draft without one.
    pub default_level: Level,
    /// Attempts per handler and alert after answers that look permanent.
    pub attempts: u32,
    /// Pause after such an answer, and first bound of the random pause after a temporary failure; it doubles.
    pub retry_delay: Duration,
    /// Last bound of that pause.
    pub max_retry_delay: Duration,
    /// Age at which an alert is no longer tried, from its acceptance; zero: temporary failures count as permanent ones.
    pub max_age: Duration,
    /// Maximum number of alerts waiting for delivery.
    pub outbox_max: usize,
    /// Which alert a full queue gives up.
    pub when_full: WhenFull,
    /// Hours in which lesser alerts are suppressed.
    pub quiet_hours: Vec<QuietHours>,
    /// What differs for single rules, by name.
    pub rules: BTreeMap<String, AlertChanges>,
    /// In the policy of one source: maximum alerts of it in any minute, critical ones excluded; `None` is no limit of its
    /// own.
    pub source_max_per_minute: Option<u32>,
}

/// Which alert a handler's full queue gives up for a new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest one of the lowest level, which may be the new one.
    #[default]
    DropLowestLevel,
    /// The oldest one.
    DropOldest,
    /// None for an alert of a source that ends, which waits for room; for another one as [`WhenFull::DropLowestLevel`].
    Block,
}

/// Hours in which lesser alerts are suppressed.
#[derive(Debug, Clone, PartialEq)]
pub struct QuietHours {
    /// The hours, by the capture time of an alert's frame.
    pub schedule: Schedule,
    /// The lowest level that passes.
    pub min_level: Level,
}

/// Logs.
#[derive(Debug, Clone, PartialEq)]
pub struct LogPlan {
    /// `debug`, `info`, `warning`, `error`, `critical`.
    pub level: String,
    /// JSON lines (true) or text.
    pub json: bool,
    /// Colour if the output is a terminal.
    pub color: bool,
    /// Also write to this file.
    pub file: Option<PathBuf>,
    /// Rotate the file when it would grow past this.
    pub file_max_bytes: u64,
    /// Rotated files to keep.
    pub file_backups: u32,
    /// Write to standard error.
    pub console: bool,
    /// Whether JSON records contain the engine's newest figures.
    pub figures: bool,
    /// Loopback port that serves the log as JSON lines.
    pub stream_port: Option<u16>,
    /// Whether repeated lines are suppressed.
    pub hold_repeats: bool,
    /// Maximum lines per minute for one code location and level.
    pub per_minute: u32,
}

/// The kind of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Environment {
    /// Development.
    #[default]
    Development,
    /// Staging.
    Staging,
    /// Production.
    Production,
}

impl Environment {
    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}
