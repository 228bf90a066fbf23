//! What a lane obeys between two frames, and what it answers.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::probation::Probation;
use super::shadow::Shadow;
use crate::guest::Fault;
use crate::strategy::Strategy;
use crate::track::Tracks;
use crate::types::{Frame, Zone};

/// A frame as the rules saw it, to be judged again: without its pixels.
#[derive(Clone)]
pub(super) struct Remembered {
    pub(super) frame: Frame,
    pub(super) tracks: Tracks,
}

/// What a new version is tried on.
pub(super) struct Look {
    /// The running version.
    pub(super) version: String,
    /// What it would hand over.
    pub(super) state: Vec<u8>,
    /// The last frames, oldest first.
    pub(super) frames: Vec<Remembered>,
    /// The source's zones.
    pub(super) zones: Arc<[Zone]>,
}

/// What a lane obeys between frames.
pub(super) enum Control {
    /// Say what a rule's next version can be tried on.
    Look {
        /// Which rule.
        rule: usize,
        /// Takes the answer.
        answer: Sender<Look>,
    },
    /// Put a new version of a rule in place of the old one.
    Swap {
        /// Which rule.
        rule: usize,
        /// Its new version.
        strategy: Box<dyn Strategy>,
        /// The new version's number.
        generation: u64,
        /// Whether it stays.
        probation: Arc<Probation>,
        /// Takes the outcome.
        done: Sender<Result<(), Fault>>,
    },
    /// Put a shadow beside a rule, or take it away.
    Shadow {
        /// Which rule.
        rule: usize,
        /// Its shadow.
        shadow: Option<Shadow>,
    },
    /// A probation is over: see to it, frame or not.
    Settle,
}
