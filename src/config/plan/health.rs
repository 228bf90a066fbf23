//! The engine's self-monitoring: its intervals and thresholds.

use std::time::Duration;

/// The source of the engine's own alerts; a configured source cannot have this name.
pub const ENGINE_SOURCE: &str = "engine";
pub use crate::types::ENGINE_RULES;

/// The engine's self-monitoring.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthPlan {
    /// Time between samples of the machine and the process.
    pub sample_every: Duration,
    /// Time between checks of the thresholds.
    pub check_every: Duration,
    /// Whether to log each sample.
    pub log_metrics: bool,
    /// Whether to print at the end of a run where the time went.
    pub profile: bool,
    /// A live source that does not run for this long is lost, which raises an alert; zero raises none.
    pub source_lost: Duration,
    /// Whether an overloaded engine gives something up.
    pub degradation: bool,
    /// The configured thresholds. They apply while a source is live or repeats.
    pub thresholds: Vec<ThresholdPlan>,
}

/// One threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThresholdPlan {
    /// The measured quantity.
    pub kind: ThresholdKind,
    /// The maximum; for frame rates the minimum.
    pub bound: f64,
}

/// A quantity with a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThresholdKind {
    /// The machine's CPU usage, per cent.
    Cpu,
    /// The machine's memory usage, per cent.
    Memory,
    /// This process's share of the machine's CPU, per cent.
    EngineCpu,
    /// Resident memory of this process, MB.
    EngineMemory,
    /// Frames per second that a source delivers.
    Fps,
    /// Mean time from a frame's arrival to its verdict, milliseconds.
    Latency,
}

impl ThresholdKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [Self::Cpu, Self::Memory, Self::EngineCpu, Self::EngineMemory, Self::Fps, Self::Latency];

    /// The rule of its alerts, which is also its name in `/health`.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Cpu => "system.cpu",
            Self::Memory => "system.memory",
            Self::EngineCpu => "system.engine_cpu",
            Self::EngineMemory => "system.engine_memory",
            Self::Fps => "system.fps",
            Self::Latency => "system.latency",
        }
    }

    /// The unit of its value.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Cpu | Self::Memory | Self::EngineCpu => "%",
            Self::EngineMemory => "MB",
            Self::Fps => "fps",
            Self::Latency => "ms",
        }
    }

    /// Describes the quantity.
    pub fn subject(self) -> &'static str {
        match self {
            Self::Cpu => "CPU in use on this machine",
            Self::Memory => "memory in use on this machine",
            Self::EngineCpu => "CPU in use by the engine",
            Self::EngineMemory => "memory in use by the engine",
            Self::Fps => "frame rate",
            Self::Latency => "time from a frame's arrival to its verdict",
        }
    }

    /// Whether the bound is a minimum.
    pub fn is_least(self) -> bool {
        self == Self::Fps
    }
}

impl Default for HealthPlan {
    fn default() -> Self {
        let every = Duration::from_secs(30);
        Self {
            sample_every: every,
            check_every: every,
            log_metrics: true,
            profile: false,
            source_lost: every,
            degradation: true,
            thresholds: Vec::new(),
        }
    }
}
