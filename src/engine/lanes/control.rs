//! The commands that a lane runs between two frames, and their answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, after, select_biased};

use super::change::{Claim, LaneChange, Refusal};
use crate::track::Tracks;
use crate::types::Frame;

/// Longest wait for a lane to finish a frame. A lane that is busy for longer is not changed.
pub(in crate::engine) const LANE_WAIT: Duration = Duration::from_secs(5);

/// [`LANE_WAIT`] shared by several lanes: busy lanes cost it once in total.
pub(in crate::engine) struct SharedTimeout {
    over: Receiver<Instant>,
    is_over: bool,
}

impl SharedTimeout {
    /// Starts the timeout.
    pub(in crate::engine) fn start() -> Self {
        Self { over: after(LANE_WAIT), is_over: false }
    }

    /// Waits for a lane's answer until the timeout.
    ///
    /// # Errors
    /// On timeout, or when the lane has ended.
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

/// A frame as the rules saw it, without its pixels, to be judged again.
#[derive(Clone)]
pub(in crate::engine) struct Remembered {
    pub(in crate::engine) frame: Frame,
    pub(in crate::engine) tracks: Tracks,
}

/// The data that a new version is tried on.
pub(in crate::engine) struct Snapshot {
    /// The running version.
    pub(in crate::engine) version: String,
    /// The state that the running version would hand over.
    pub(in crate::engine) state: Vec<u8>,
    /// The last frames, oldest first.
    pub(in crate::engine) frames: Vec<Remembered>,
}

/// A command that a lane runs between frames.
pub(in crate::engine) enum Control {
    /// Return the data that a rule's next version can be tried on.
    Snapshot {
        /// The rule's name.
        rule: Arc<str>,
        /// Receives the answer; dropped if there is no such rule.
        answer: Sender<Snapshot>,
    },
    /// Apply a change, all of it or nothing, unless the caller has given up.
    Change {
        /// The change.
        change: Box<LaneChange>,
        /// Decides whether the lane applies the change or the caller cancels it.
        claim: Arc<Claim>,
        /// Receives the result.
        done: Sender<Result<(), Refusal>>,
    },
    /// Confirm or revert the last change.
    Finish {
        /// Whether to confirm it.
        keep: bool,
    },
    /// A probation has ended: handle it without waiting for a frame.
    Settle,
}
