//! Strategies: judge one frame of one source, and return changes to its detections and alerts to raise.
//!
//! Models, background motion, Lua scripts and WASM components all implement [`Strategy`]. A strategy lives on its
//! source's lane thread, one instance per source, so it needs no locks; after a fault in one the frame continues
//! unchanged. Read the engine's `lanes::lane` next, the only caller. [`check::check_strategy`] checks an
//! implementation.

mod apply;
mod attributes;
mod caught;
pub mod check;
mod guarded;
mod health;
mod motion;

use std::collections::BTreeMap;

pub use apply::{Applied, apply};
pub use attributes::{ATTRIBUTE_BYTES_MAX, ATTRIBUTE_CHANGES_MAX, attribute_bytes, check_attribute, check_attributes};
pub use caught::Caught;
pub use guarded::{Gauges, Guarded, Guest};
pub use health::Health;
pub use motion::{LABEL as MOTION_LABEL, Motion};

pub use crate::config::OnFailure;
pub use crate::guest::{Fault, FaultKind};
use crate::track::Tracks;
use crate::types::{AlertDraft, Detection, Frame, Resolve, Value, Zone};

/// A strategy's input: the frame with all detections so far, and the engine's knowledge about it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The frame; `frame.detections` is the result of earlier strategies.
    pub frame: &'a Frame,
    /// All live tracks of this source, with their ages and dwell times.
    pub tracks: &'a Tracks,
    /// The source's zones.
    pub zones: &'a [Zone],
}

/// A change to one existing detection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Edit {
    /// Index into the frame's detections as the strategy saw them.
    pub index: u32,
    /// New label; `None` leaves it unchanged.
    pub label: Option<String>,
    /// New confidence 0..1; `None` leaves it unchanged.
    pub confidence: Option<f32>,
    /// Attributes to set, by name; `None` removes one.
    pub attributes: BTreeMap<String, Option<Value>>,
}

/// A strategy's output for a frame. The default changes nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// Indices of the detections to keep; `None` keeps all.
    pub keep: Option<Vec<u32>>,
    /// Changes to existing detections.
    pub edits: Vec<Edit>,
    /// Detections to add.
    pub added: Vec<Detection>,
    /// Alerts to raise; their `detections` are indices into the list as the strategy saw it, before `keep` and `added`.
    pub alerts: Vec<AlertDraft>,
    /// Conditions that have ended, in the order of the statements.
    pub resolved: Vec<Resolve>,
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

    /// Called when its verdict on this frame was invalid and not applied, which counts as a fault.
    fn refused(&mut self, _fault: &Fault, _view: &View<'_>) {}

    /// The line of the script that raised an alert of its last verdict, by its position there: `scripts/x.lua:12`.
    fn raised_at(&self, _alert: usize) -> Option<String> {
        None
    }

    /// What to do with a frame whose judgement failed.
    fn on_failure(&self) -> OnFailure {
        OnFailure::Pass
    }

    /// Its declared version; `0` if it declares none.
    fn version(&self) -> &str {
        "0"
    }

    /// Returns the state that lives in the instance and not in the host, before a successor replaces it.
    ///
    /// # Errors
    /// A [`Fault`] in the guest's own code: there is nothing to hand over.
    fn suspend(&mut self) -> Result<Vec<u8>, Fault> {
        Ok(Vec::new())
    }

    /// Takes over the state of a predecessor of version `from_version`, before the first frame.
    ///
    /// # Errors
    /// A [`Fault`] refuses: the predecessor continues.
    fn resume(&mut self, _from_version: &str, _state: &[u8]) -> Result<(), Fault> {
        Ok(())
    }

    /// Its health; `None` if it does not track any.
    fn health(&self) -> Option<Health> {
        None
    }
}
