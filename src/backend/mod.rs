//! The Backend seam: turns sources into frames.
//!
//! A backend owns its sources' threads and pipelines and hands every frame and every change of state to a
//! [`Sink`], from whatever thread it likes: one thread per camera (`gst`), or one thread for many sources whose
//! frames arrive already detected and tracked and without pixels (a detections-only scene, a trace, DeepStream).
//! The sink never runs user code; it only queues. `engine`'s inlet is the one real sink.
//!
//! A backend of one's own is written over [`Sources`], which owns the threads and ends them in time, and [`Outlet`],
//! which keeps the order of what is sent; [`supervise`] adds retries and a watchdog. [`check_backend`] checks it.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use dsengine::backend::{Backend, Flow, Sink, SourceContext, SourceState, Sources};
//! use dsengine::config::SourcePlan;
//! use dsengine::error::Error;
//! use dsengine::types::{Frame, SourceId};
//!
//! /// Thirty frames without anything in them.
//! #[derive(Default)]
//! struct Thirty(Sources);
//!
//! impl Backend for Thirty {
//!     fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
//!         self.0.start(plan, sink, "thirty", |SourceContext { outlet, stop, .. }| {
//!             outlet.enter(SourceState::Running);
//!             for seq in 0..30 {
//!                 let frame = Frame { detected: true, ..Frame::empty(outlet.id().clone(), seq) };
//!                 if stop.requested() || outlet.frame(frame) == Flow::Stop {
//!                     return outlet.stop();
//!                 }
//!             }
//!             outlet.end();
//!         })
//!     }
//!
//!     fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
//!         self.0.change(plan)
//!     }
//!
//!     fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
//!         self.0.remove(source, deadline);
//!     }
//!
//!     fn stop(&mut self, deadline: Duration) {
//!         self.0.stop(None, deadline);
//!     }
//! }
//! ```

mod cause;
mod change;
mod check;
mod outlet;
pub(crate) mod pace;
pub mod scene;
mod sources;
pub mod supervise;
pub mod trace;

pub use cause::{Cause, Failure, Patience};
pub use change::Change;
pub use check::{Samples, check_backend};
pub use outlet::Outlet;
pub use sources::{SourceContext, Sources};

use std::sync::Arc;
use std::time::Duration;

use crate::config::SourcePlan;
use crate::error::{Code, Error};
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
    /// Ready, and waiting for a publisher to connect. Neither up nor failed: no watchdog runs, and nobody has to act.
    Waiting,
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
            Self::Waiting => "waiting",
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
        /// What has to be changed before it can work; `None` where waiting may help.
        remedy: Option<String>,
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
    /// A finite source delivered its last frame. Sent exactly once, after that frame and after the state `Stopped`;
    /// nothing follows.
    Ended,
    /// A finite source cannot deliver (any more): broken, missing, stalled. Sent exactly once, instead of `Ended`,
    /// after the state `Failed`; nothing follows.
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

    /// Whether [`add_source`](Self::add_source) would refuse this plan, as far as that can be known without starting
    /// anything: a source that runs is taken down only for one that can take its place.
    ///
    /// # Errors
    /// Those of `add_source`. Nothing is refused unless a backend says otherwise.
    fn check_source(&self, _plan: &SourcePlan) -> Result<(), Error> {
        Ok(())
    }

    /// Takes over `fps`, `every` and `retry` of a running source from its new plan, between two frames and without
    /// touching its pipeline. A source that has ended takes them without effect. What else differs in `plan` is
    /// ignored: another input, pace or repetition needs the source removed and added again.
    ///
    /// # Errors
    /// [`Code::Source`] when this backend has no such source.
    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error>;

    /// Stops a source and frees what it held; its name can be used again at once. Unknown names are ignored.
    ///
    /// Returns within `deadline`. A thread that has not stopped by then (it may be inside the sink or a driver) is
    /// abandoned and reported in the log; it hands over no further frame and sends no further event.
    fn remove_source(&mut self, source: &SourceId, deadline: Duration);

    /// Stops every source within `deadline`, as [`remove_source`](Self::remove_source) does.
    fn stop(&mut self, deadline: Duration);

    /// Answers a publisher's SDP offer for `source` with this backend's SDP answer. Only for sources that wait for a
    /// publisher ([`SourceState::Waiting`]).
    ///
    /// # Errors
    /// [`Code::Source`] when the source takes no publisher, which is so unless a backend says otherwise.
    fn offer(&mut self, source: &SourceId, _sdp: &str) -> Result<String, Error> {
        Err(Error::new(Code::Source, format!("source {source} does not take a publisher"))
            .hint("publish to a source whose state is `waiting`"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::{Input, RetryPlan};

    /// A plan for a test picture.
    pub(crate) fn plan(id: &str) -> SourcePlan {
        let (second, input) =
            (Duration::from_secs(1), Input::Scene { name: "street".into(), pixels: false, seed: None, live: true });
        SourcePlan {
            id: id.into(),
            input,
            fps: None,
            every: 1,
            zones: Arc::new([]),
            confidence: None,
            retry: RetryPlan {
                max_retries: 5,
                base: second / 2,
                cap: 10 * second,
                exponential: true,
                first_frame: 8 * second,
                gap: 3 * second,
            },
            realtime: false,
            repeat: false,
        }
    }
}
