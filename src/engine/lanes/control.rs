//! What a lane obeys between two frames, and what it answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, after, select_biased};

use super::change::{Claim, LaneChange, Refusal};
use crate::track::Tracks;
use crate::types::Frame;

/// Longest wait for a lane to come to the end of a frame. A lane that is busy for longer is not changed.
pub(in crate::engine) const LANE_WAIT: Duration = Duration::from_secs(5);

/// [`LANE_WAIT`] for several lanes together: those that are busy cost it once.
pub(in crate::engine) struct Patience {
    over: Receiver<Instant>,
    is_over: bool,
}

impl Patience {
    /// From now on.
    pub(in crate::engine) fn start() -> Self {
        Self { over: after(LANE_WAIT), is_over: false }
    }

    /// Waits for a lane's answer, as long as there is time left.
    ///
    /// # Errors
    /// When the time is over, or the lane has ended.
    pub(in crate::engine) fn recv<T>(&mut self, answer: &Receiver<T>) -> Result<T, RecvTimeoutError> {
        if !self.is_over {
            select_biased! {
                recv(answer) -> answer => return answer.map_err(|_| RecvTimeoutError::Disconnected),
                recv(self.over) -> _ => self.is_over = true,
            }
        }
        answer.try_recv().map_err(|error| match error {
            TryRecvError::Empty => RecvTimeoutError::Timeout,
            TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
        })
    }
}

/// A frame as the rules saw it, to be judged again: without its pixels.
#[derive(Clone)]
pub(in crate::engine) struct Remembered {
    pub(in crate::engine) frame: Frame,
    pub(in crate::engine) tracks: Tracks,
}

/// What a new version is tried on.
pub(in crate::engine) struct Snapshot {
    /// The running version.
    pub(in crate::engine) version: String,
    /// What it would hand over.
    pub(in crate::engine) state: Vec<u8>,
    /// The last frames, oldest first.
    pub(in crate::engine) frames: Vec<Remembered>,
}

/// What a lane obeys between frames.
pub(in crate::engine) enum Control {
    /// Say what a rule's next version can be tried on.
    Snapshot {
        /// Which rule.
        rule: Arc<str>,
        /// Takes the answer; dropped where there is no such rule.
        answer: Sender<Snapshot>,
    },
    /// Change, all of it or nothing, unless whoever asked has given up.
    Change {
        /// What changes.
        change: Box<LaneChange>,
        /// Whoever claims it first: the lane carries it out, or the asker takes it back.
        claim: Arc<Claim>,
        /// Takes the outcome.
        done: Sender<Result<(), Refusal>>,
    },
    /// The last change stays, or is undone.
    Finish {
        /// Whether it stays.
        keep: bool,
    },
    /// A probation is over: see to it, frame or not.
    Settle,
}
