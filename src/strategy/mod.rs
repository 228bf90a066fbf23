//! The Strategy seam: judges one frame of one source, and returns what should change and what should be raised.
//!
//! Models, background motion, Lua scripts and WASM components all stand behind [`Strategy`]. A strategy lives on
//! its source's lane thread, one instance per source, so it needs no locks; a fault in it is its own, and the
//! frame goes on unchanged. Look next at the engine's `lanes::lane`, the only caller. [`check::check_strategy`]
//! is what each keeps to.

mod apply;
pub mod check;
mod guarded;
mod health;
mod motion;

pub use apply::{Applied, apply};
pub use guarded::{Gauges, Guarded, Guest};
pub use health::Health;
pub use motion::{LABEL as MOTION_LABEL, Motion};

pub use crate::config::OnFailure;
pub use crate::guest::{Fault, FaultKind};
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

/// Judges the frames of one source. See the module for the rules.
pub trait Strategy: Send {
    /// The name from the config.
    fn name(&self) -> &str;

    /// Judges one frame. Called in frame order, from one thread.
    ///
    /// # Errors
    /// A [`Fault`] leaves the frame unchanged and is counted against this strategy alone.
    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, Fault>;

    /// The verdict it gave on this frame made no sense and was not applied: its fault like any other.
    fn refused(&mut self, _fault: &Fault, _view: &View<'_>) {}

    /// What becomes of a frame whose judgement failed.
    fn on_failure(&self) -> OnFailure {
        OnFailure::Pass
    }

    /// The version it says it is; `0` where it says none.
    fn version(&self) -> &str {
        "0"
    }

    /// Hands over what lives in it and not in the host, before a successor replaces it.
    ///
    /// # Errors
    /// A [`Fault`] of a guest's own code: there is nothing to hand over.
    fn suspend(&mut self) -> Result<Vec<u8>, Fault> {
        Ok(Vec::new())
    }

    /// Takes over from a predecessor of version `from_version`, before the first frame.
    ///
    /// # Errors
    /// A [`Fault`] refuses: the predecessor goes on.
    fn resume(&mut self, _from_version: &str, _state: &[u8]) -> Result<(), Fault> {
        Ok(())
    }

    /// What it tells of itself; `None` where there is nothing to tell.
    fn health(&self) -> Option<Health> {
        None
    }
}
