//! Supervises a source: attempt, watch, back off, retry, until it ends or is removed.
//!
//! A backend implements how to start one attempt ([`Origin`]) and how to read from it ([`Attempt`]); [`run`] does the
//! rest on the source's own thread: it selects frames (`backend::pace`), detects stalls ([`Watchdog`]), delays retries
//! ([`Backoff`]) and keeps the source's state. Each attempt is built from scratch, so nothing of a failed one is
//! reused. Frames are pulled, so a frame that waits for a slow engine is already in our hands, and the watchdog cannot
//! mistake it for a lost camera.
//!
//! A backend that carries many sources in one pipeline has no thread per source; it uses [`Backoff`], [`Watchdog`] and
//! one [`Outlet`](super::Outlet) per source itself.

mod backoff;
mod deliver;
mod gaps;
mod pump;
mod run;
mod starved;
mod timeline;
mod watchdog;

use std::time::Duration;

pub use backoff::{Backoff, Retry, pace};
pub use gaps::Gaps;
pub use run::run;
pub use starved::Starved;
pub use watchdog::{Limits, Watchdog};

use super::{Failure, Stream};
use crate::config::SourcePlan;
use crate::types::Frame;

/// How frames leave an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pacing {
    /// As they arrive; only the newest is kept.
    Live,
    /// As fast as the sink takes them; none is lost.
    Fast,
    /// Paced by their timestamps; none is lost.
    Realtime,
}

/// Why no frame comes at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiet {
    /// Unknown: a fault once it exceeds the limits.
    Unexplained,
    /// Frames are ready and wait for their presentation time.
    Paced,
    /// The source is ready and waits for a publisher to connect.
    NoPublisher,
}

/// A frame's timing, as far as its stream states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// Its presentation time since the start of the attempt, nanoseconds.
    pub pts_ns: Option<u64>,
    /// Time until the next frame, nanoseconds.
    pub period_ns: Option<u64>,
}

/// Starts attempts: one kind of pipeline.
pub trait Origin {
    /// One attempt.
    type Attempt: Attempt;

    /// Builds an attempt and starts it.
    ///
    /// # Errors
    /// A reason without secrets.
    fn start(&mut self, plan: &SourcePlan, pacing: Pacing) -> Result<Self::Attempt, String>;

    /// The limits on silence. Called before each attempt, and again when the plan has changed.
    fn limits(&self, plan: &SourcePlan) -> Limits;
}

/// A running attempt. Dropping it frees its resources within its own time limit.
pub trait Attempt {
    /// A raw frame, before it is parsed.
    type Sample;

    /// The next frame; waits at most `wait`.
    fn pull(&mut self, wait: Duration) -> Option<Self::Sample>;

    /// A frame's timing; `None` for a damaged frame, which is dropped and counted.
    fn timing(&self, sample: &Self::Sample) -> Option<Timing>;

    /// Fills in `frame` from the sample: size, picture, detections. Its name, number and times are already set. Called
    /// only for selected frames.
    ///
    /// # Errors
    /// Why the sample cannot be used; it is dropped and counted as damaged.
    fn fill(&mut self, sample: Self::Sample, frame: &mut Frame) -> Result<(), &'static str>;

    /// The failure since the last call, if any, without secrets.
    fn failure(&mut self) -> Option<Failure>;

    /// Whether every frame has been pulled and none will follow.
    fn ended(&self) -> bool;

    /// Why no frame can come any more, although no error was reported. Called for a finite source before its first
    /// frame.
    fn dead_end(&mut self) -> Option<Failure> {
        None
    }

    /// Why the end that was reached is not the end of the recording, where that is known.
    fn cut_off(&self) -> Option<String> {
        None
    }

    /// Gives up a publisher whose silence exceeds the limit. Returns whether the source goes on and waits for another;
    /// if not, the attempt fails.
    fn let_go(&mut self) -> bool {
        false
    }

    /// Why no frame comes at the moment.
    fn quiet(&self) -> Quiet {
        Quiet::Unexplained
    }

    /// Frames that produced no sample since the last call, because a decoder dropped them. They are counted as damaged.
    fn damaged(&mut self) -> u64 {
        0
    }

    /// Why no first frame has arrived yet, where known; without secrets.
    fn waits_for(&self) -> Option<String> {
        None
    }

    /// What the stream is, once a picture of it was decoded; `None` where that is not known. The size and nothing else
    /// is filled in by the caller.
    fn stream(&self) -> Option<Stream> {
        None
    }

    /// Counts the unpulled frames of a live source, except the newest `spared`, as replaced by newer ones; returns
    /// their number.
    fn lost(&mut self, _spared: u64) -> u64 {
        0
    }
}
