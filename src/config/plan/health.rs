//! How the engine watches itself: how often it looks, and which limits it is to keep.

use std::time::Duration;

/// The source that the engine's own alerts name; no source of a configuration has that name.
pub const ENGINE_SOURCE: &str = "engine";
pub use crate::types::ENGINE_RULES;

/// How the engine watches itself.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthPlan {
    /// Time between samples of the machine and the process.
    pub sample_every: Duration,
    /// Time between looks at the limits.
    pub check_every: Duration,
    /// Whether each sample is a line in the log.
    pub log_metrics: bool,
    /// Whether a run says at its end where the time went.
    pub profile: bool,
    /// The limits that are set. They hold while a source is live or repeats.
    pub thresholds: Vec<ThresholdPlan>,
}

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThresholdPlan {
    /// What is limited.
    pub kind: ThresholdKind,
    /// The most of it; of frame rates the least.
    pub bound: f64,
}

/// What can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThresholdKind {
    /// CPU of the machine in use, per cent.
    Cpu,
    /// Memory of the machine in use, per cent.
    Memory,
    /// Share of the machine's CPU that this process uses, per cent.
    EngineCpu,
    /// Resident memory of this process, MB.
    EngineMemory,
    /// Frames a source delivers in a second.
    Fps,
    /// Mean time from a frame's arrival to its verdict, milliseconds.
    Latency,
}

impl ThresholdKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Cpu, Self::Memory, Self::EngineCpu, Self::EngineMemory, Self::Fps, Self::Latency];

    /// The rule of its alerts, which also names it in `/health`.
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

    /// What is measured, in words.
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

    /// Whether the bound is the least that is wanted.
    pub fn is_least(self) -> bool {
        self == Self::Fps
    }
}

impl Default for HealthPlan {
    fn default() -> Self {
        let every = Duration::from_secs(30);
        Self { sample_every: every, check_every: every, log_metrics: true, profile: false, thresholds: Vec::new() }
    }
}
