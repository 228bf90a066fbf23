//! The Backend seam: turns sources into frames.
//!
//! A backend owns its sources' threads and pipelines and hands every frame and every change of state to a
//! [`Sink`], from whatever thread it likes: one thread per camera (`gst`), or one thread for many sources whose
//! frames arrive already detected and tracked and without pixels (a detections-only scene, a trace, DeepStream).
//! The sink never runs user code; it only queues. Look next at `engine::inlet`, the one real sink.

pub(crate) mod pace;
pub mod scene;
pub mod trace;

use std::sync::Arc;
use std::time::Duration;

use crate::config::SourcePlan;
use crate::error::Error;
use crate::types::{Frame, SourceId};

/// What the backend should do after handing over a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// This source is being taken away; stop producing.
    Stop,
}

/// Where a source stands. `source_up` is 1 only in `Running`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// Building the pipeline, waiting for the first frame.
    Connecting,
    /// Frames flow.
    Running,
    /// No frame for longer than the gap watchdog allows; about to be rebuilt.
    Stalled,
    /// Waiting before attempt `attempt` (1 = first retry).
    Backoff {
        /// Number of the coming attempt.
        attempt: u32,
    },
    /// Out of retries. A live source is still tried at the cap.
    Failed,
    /// Ended or taken away.
    Stopped,
}

impl SourceState {
    /// The word used in metrics, logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Running => "running",
            Self::Stalled => "stalled",
            Self::Backoff { .. } => "backoff",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// Something a source has to tell besides frames.
#[derive(Debug, Clone)]
pub enum SourceEvent {
    /// It changed state.
    State(SourceState),
    /// An attempt failed and is repeated: sent before the change of state that says so.
    Fault {
        /// Why, secrets already redacted.
        reason: String,
        /// How many attempts in a row that makes.
        attempt: u32,
        /// When the next is made.
        retry_in: Duration,
    },
    /// Frames were lost inside the backend, with the `reason` label to count them under (`corrupt`, `fps`, …).
    Dropped {
        /// The `reason` label of `dsengine_frames_dropped_total`.
        reason: &'static str,
        /// How many.
        count: u64,
    },
    /// A finite source delivered its last frame. Sent exactly once, after that frame.
    Ended,
    /// A finite source cannot deliver (any more): broken, missing, stalled. Sent exactly once, instead of `Ended`.
    Broken(String),
}

/// Where a backend puts what its sources produce. Shared by all of them, called from any thread.
pub trait Sink: Send + Sync {
    /// Takes one frame. For a live source it returns at once and replaces an unjudged older frame (counted); for a
    /// finite one it waits until there is room, so nothing is lost.
    fn frame(&self, frame: Frame) -> Flow;

    /// Takes an event. Never waits.
    fn event(&self, source: &SourceId, event: SourceEvent);
}

/// Turns sources into frames. One backend instance serves any number of sources.
pub trait Backend: Send {
    /// Starts a source; its frames go to `sink` until it ends or is removed.
    ///
    /// # Errors
    /// Only for what can be known at once (a URI this backend cannot read); what fails later is an event.
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error>;

    /// Stops a source and frees what it held. Unknown names are ignored.
    fn remove_source(&mut self, source: &SourceId);

    /// Stops every source within `deadline`; what does not stop by then is abandoned and reported in the log.
    fn stop(&mut self, deadline: Duration);
}
