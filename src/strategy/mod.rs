//! The Strategy seam: judges one frame of one source, and returns what should change and what should be raised.
//!
//! Models, background motion, Lua scripts and WASM components all stand behind [`Strategy`]. A strategy lives on
//! its source's lane thread, one instance per source, so it needs no locks; a fault in it is its own, and the
//! frame goes on unchanged. Look next at `engine::lane`, the only caller.

mod apply;
mod breaker;
mod health;
mod motion;
mod state;
mod watchdog;

pub use apply::{Applied, apply};
pub use breaker::{Breaker, BreakerState, FAULTS_MAX};
pub use health::Health;
pub use motion::{LABEL as MOTION_LABEL, Motion};
pub use state::{Entry, Space, StateStore, Write, size};
pub use watchdog::{Collar, IDLE_TICK, Leash, Overrun, TICK, TimeLimits, Watchdog};

use crate::track::Tracks;
use crate::types::{AlertDraft, Detection, Frame, Zone};

/// What a strategy is shown: the frame with the union of detections so far, and what the engine knows around it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The frame; `frame.detections` holds what earlier strategies left.
    pub frame: &'a Frame,
    /// Every living track of this source, with its ages and dwell times.
    pub tracks: &'a Tracks,
    /// The source's zones.
    pub zones: &'a [Zone],
}

/// A change to one existing detection.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// Index into the frame's detections as the strategy saw them.
    pub index: u32,
    /// New label, where it changes.
    pub label: Option<String>,
    /// New confidence 0..1, where it changes.
    pub confidence: Option<f32>,
}

/// What a strategy says of a frame. The default leaves everything as it was.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// Indices of the detections to keep; `None` keeps all.
    pub keep: Option<Vec<u32>>,
    /// Changes to existing detections.
    pub edits: Vec<Edit>,
    /// Detections to add.
    pub added: Vec<Detection>,
    /// Alerts to raise; their `detections` index the list as the strategy saw it, before `keep` and `added`.
    pub alerts: Vec<AlertDraft>,
}

/// What kind of fault a strategy committed; the `kind` label of `dsengine_strategy_faults_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest raised an error.
    Error,
    /// The call ran past its time budget.
    Time,
    /// The guest asked for more memory than it may have.
    Memory,
    /// The guest trapped (WASM).
    Trap,
    /// The verdict made no sense: an index out of range, a box that is none, a value that is not finite.
    Verdict,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Error, Self::Time, Self::Memory, Self::Trap, Self::Verdict];

    /// The word used in metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Time => "time",
            Self::Memory => "memory",
            Self::Trap => "trap",
            Self::Verdict => "verdict",
        }
    }
}

/// A strategy's failure on one frame. The frame passes unchanged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind it is.
    pub kind: FaultKind,
    /// What happened, with the guest's own place (`scripts/x.lua:12`) in front where it is known.
    pub message: String,
}

/// Judges the frames of one source. See the module for the rules.
pub trait Strategy: Send {
    /// The name from the config.
    fn name(&self) -> &str;

    /// Judges one frame. Called in frame order, from one thread.
    ///
    /// # Errors
    /// A [`Fault`] leaves the frame unchanged and is counted against this strategy alone.
    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, Fault>;

    /// What it tells of itself; `None` where there is nothing to tell.
    fn health(&self) -> Option<Health> {
        None
    }
}
