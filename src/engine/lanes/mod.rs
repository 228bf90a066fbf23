//! Carries a source's frames from its backend's thread to the end of their judgement.
//!
//! A frame passes `route` (from its backend), `pool` (the models), `inbox` (restores the order) and `lane` (tracker,
//! each `rule`, policy), which runs on one of the `threads`. `change` changes lanes between two frames: every lane or none. This module does not know how a
//! rule was made or who requested a change.

mod arrange;
mod change;
mod control;
mod credit;
mod given;
mod inbox;
mod lane;
mod observer;
mod pool;
mod probation;
mod reaper;
mod rhythm;
mod route;
mod rule;
mod shadow;
mod threads;

pub(in crate::engine) use change::{Arrangement, Changed, LaneChange, RuleSlot, Swap, busy, change_lanes};
pub(in crate::engine) use control::{Control, SharedTimeout, Snapshot};
pub(in crate::engine) use given::{Given, Step};
pub(in crate::engine) use inbox::in_flight_max;
pub(in crate::engine) use lane::Lane;
pub use observer::{Judged, Observer};
pub(in crate::engine) use pool::{ModelUnit, Pool};
pub(in crate::engine) use probation::Probation;
pub(in crate::engine) use reaper::Reaper;
pub(in crate::engine) use route::{Inlet, Route, Stages};
pub(in crate::engine) use rule::{OnProbation, Rule, RuleSettings};
pub(in crate::engine) use shadow::Shadow;
pub(in crate::engine) use threads::{LaneHandle, LaneThreads, Place};

use std::thread::JoinHandle;

use crate::error::{Code, Error};

/// Starts a named thread.
fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new()
        .name(name.clone())
        .spawn(run)
        .map_err(|e| Error::new(Code::Io, format!("cannot start thread {name}: {e}")))
}
