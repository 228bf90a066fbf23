//! Supervision of a source: attempt, watch, wait, try again, until it ends or is taken away.
//!
//! A backend says how one attempt is made ([`Origin`]) and what comes of it ([`Attempt`]); [`run`] does the rest on the
//! source's own thread: which frames are taken (`backend::pace`), when silence is a fault ([`Watchdog`]), how long to
//! wait before the next attempt ([`Backoff`]), and which state the source is in. Each attempt is built anew, so nothing
//! of a failed one is used again. Frames are pulled, so a frame that waits for a slow engine waits in our hands and the
//! watchdog cannot mistake it for a dead camera.
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

pub use backoff::{Backoff, REFUSED_RETRY, Retry};
pub use gaps::Gaps;
pub use run::run;
pub use starved::Starved;
pub use watchdog::{Limits, Watchdog};

use super::Failure;
use crate::config::SourcePlan;
use crate::types::Frame;

/// How frames leave an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pacing {
    /// As they come; only the newest is kept.
    Live,
    /// As fast as they are taken; none is lost.
    Fast,
    /// At the pace of their timestamps; none is lost.
    Realtime,
}

/// Why no frame comes at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiet {
    /// No reason is known: once it lasts longer than the limits allow, it is a fault.
    Unexplained,
    /// Frames are there and wait for their presentation time.
    Paced,
    /// It is ready and waits for a publisher to connect.
    NoPublisher,
}

/// When a frame is shown, as far as its stream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// Its presentation time since the start of the attempt, nanoseconds.
    pub pts_ns: Option<u64>,
    /// Time until the next frame, nanoseconds.
    pub period_ns: Option<u64>,
}

/// What makes attempts: a kind of pipeline.
pub trait Origin {
    /// One attempt.
    type Attempt: Attempt;

    /// Builds an attempt and starts it.
    ///
    /// # Errors
    /// A reason without secrets.
    fn start(&mut self, plan: &SourcePlan, pacing: Pacing) -> Result<Self::Attempt, String>;

    /// The longest silences that are put up with. Asked before each attempt, and again when the plan has changed.
    fn limits(&self, plan: &SourcePlan) -> Limits;
}

/// A running attempt. Dropping it frees what it held, within a time limit of its own.
pub trait Attempt {
    /// A frame as it comes out, before anything of it is read.
    type Sample;

    /// The next frame, waiting at most `wait`.
    fn pull(&mut self, wait: Duration) -> Option<Self::Sample>;

    /// When a frame is shown; `None` for one that is damaged, which is counted and left out.
    fn timing(&self, sample: &Self::Sample) -> Option<Timing>;

    /// Puts what the sample holds into `frame`, which has its name, number and times already: size, picture,
    /// detections. Asked only for frames that are taken.
    ///
    /// # Errors
    /// Why it cannot be used; it is counted as damaged and left out.
    fn fill(&mut self, sample: Self::Sample, frame: &mut Frame) -> Result<(), &'static str>;

    /// What went wrong since the last call, if anything did, without secrets.
    fn failure(&mut self) -> Option<Failure>;

    /// Whether every frame has been pulled and no more will come.
    fn ended(&self) -> bool;

    /// Why nothing can come any more, where that is so although nobody said so. Asked of a finite source without a frame.
    fn dead_end(&mut self) -> Option<Failure> {
        None
    }

    /// Why no frame comes at the moment.
    fn quiet(&self) -> Quiet {
        Quiet::Unexplained
    }

    /// Frames that came to nothing without a sample since the last call: a decoder gave them up. They are counted as
    /// damaged.
    fn damaged(&mut self) -> u64 {
        0
    }

    /// What is waited for while the first frame does not come, where that is known; without secrets.
    fn waits_for(&self) -> Option<String> {
        None
    }

    /// Takes the frames of a live source that were not pulled, but the newest `spared`, for replaced by newer ones; how
    /// many those are.
    fn lost(&mut self, _spared: u64) -> u64 {
        0
    }
}
