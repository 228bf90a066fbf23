//! Backends: turn sources into frames.
//!
//! A backend owns its sources' threads and pipelines, and hands every frame and every change of state to a [`Sink`],
//! from any thread: one thread per camera (`gst`), or one thread for many sources whose frames arrive detected, tracked
//! and without pixels (a detections-only scene, a trace, DeepStream). The sink only queues and never runs user code.
//! The engine's inlet implements it.
//!
//! To write your own backend, use [`Sources`], which owns the threads and ends them in time, and [`Outlet`], which
//! keeps events in order; [`supervise`] adds retries and a watchdog. [`check_backend`] checks the result.
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
pub mod detections;
pub mod evidence;
mod intake;
mod outlet;
pub(crate) mod pace;
pub mod peers;
pub mod scene;
mod sources;
mod stream;
pub mod supervise;
pub mod trace;

pub use cause::{Cause, DeviceCause, Failure, Patience, WebCause};
pub use change::Change;
pub use check::{Samples, check_backend};
pub use intake::{ERRORS_MAX, Intake, LineError, Taken};
pub use outlet::Outlet;
pub use peers::{Answer, Offer, Peers, Unanswered};
pub use sources::{SourceContext, Sources};
pub use stream::Stream;

use std::sync::Arc;
use std::time::Duration;

use crate::config::SourcePlan;
use crate::error::Error;
use crate::types::{SourceId, Unmasked};

/// The sink's answer to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// The source is being removed; stop producing.
    Stop,
}

/// A source's state. `source_up` is 1 only in `Running`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// Building the pipeline, waiting for the first frame.
    Connecting,
    /// Ready, and waiting for a publisher to connect. Neither up nor failed: no watchdog runs, and no action is needed.
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
    /// Out of retries, or a setting has to be changed. A live source is still tried, at the cap or at the slow pace, unless
    /// its plan says that it stays down.
    Failed,
    /// Ended or removed.
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

/// What a source reports in addition to frames.
#[derive(Debug, Clone)]
pub enum SourceEvent {
    /// The source changed state.
    State(SourceState),
    /// An attempt failed. Sent before the resulting `State`.
    Fault {
        /// The reason, with secrets redacted.
        reason: String,
        /// What the user must change; `None` where waiting may help.
        remedy: Option<String>,
        /// The class of the error ([`Patience::class`]).
        class: &'static str,
        /// Failures in a row, this one included.
        attempt: u32,
        /// Time until the next attempt; `Duration::MAX` where it is not made by itself.
        retry_in: Duration,
    },
    /// What its stream is. Sent before the first frame of an attempt, and again when the size changes.
    Opened(Stream),
    /// The source's circuit breaker changed state.
    Breaker(supervise::BreakerState),
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

/// Receives the output of a backend's sources. Shared by all of them, called from any thread.
pub trait Sink: Send + Sync {
    /// Takes one frame. For a live source it returns at once and replaces a pending older frame (counted as dropped);
    /// for a finite one it blocks until there is room, so that nothing is lost.
    fn frame(&self, frame: Unmasked) -> Flow;

    /// Takes an event. Never blocks.
    fn event(&self, source: &SourceId, event: SourceEvent);
}

/// Turns sources into frames. One backend instance serves any number of sources.
pub trait Backend: Send {
    /// Starts a source; its frames go to `sink` until it ends or is removed.
    ///
    /// # Errors
    /// Only those known at once (a URI that this backend cannot read); later failures are events.
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error>;

    /// Checks whether [`add_source`](Self::add_source) would refuse this plan, as far as possible without starting
    /// anything: a running source is stopped only for a plan that can replace it.
    ///
    /// # Errors
    /// Those of `add_source`. The default accepts every plan.
    fn check_source(&self, _plan: &SourcePlan) -> Result<(), Error> {
        Ok(())
    }

    /// Applies `fps`, `every`, `retry` and `blackout` from a changed plan to a running source, between two frames and
    /// without touching its pipeline. An ended source accepts the plan without effect. Other differences in `plan` are
    /// ignored: to change the input, pace or repetition, remove the source and add it again.
    ///
    /// # Errors
    /// [`Code::Source`](crate::error::Code::Source) when this backend has no such source.
    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error>;

    /// Stops a source and frees its resources; its name is free at once. Unknown names are ignored.
    ///
    /// Returns within `deadline`. A thread that has not stopped by then (it may be blocked in the sink or a driver) is
    /// abandoned and reported in the log; it delivers no further frame and sends no further event.
    fn remove_source(&mut self, source: &SourceId, deadline: Duration);

    /// Stops every source within `deadline`, as [`remove_source`](Self::remove_source) does.
    fn stop(&mut self, deadline: Duration);

    /// What takes messages for a source, where it gets its frames like this. `None`, the default, for any other.
    fn intake(&self, _source: &SourceId) -> Option<Arc<dyn Intake>> {
        None
    }

    /// What is kept of a source's encoded stream; `None` where the backend keeps nothing, which is the default, or the
    /// source's plan asks for nothing.
    fn evidence(&self, _source: &SourceId) -> Option<Arc<dyn evidence::Evidence>> {
        None
    }

    /// The WebRTC side of a source.
    ///
    /// # Errors
    /// [`Code::Source`](crate::error::Code::Source) when the source has none, which is the default.
    fn peers(&self, source: &SourceId) -> Result<Arc<dyn Peers>, Error> {
        Err(peers::no_peers(source))
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
        let retry = RetryPlan {
            max_retries: 5,
            base: second / 2,
            cap: 10 * second,
            exponential: true,
            first_frame: 8 * second,
            gap: 3 * second,
        };
        SourcePlan::new(id, input, retry)
    }
}
