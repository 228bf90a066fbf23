//! Supervises a source: attempt, watch, back off, retry, until it ends or is removed.
//!
//! A backend implements how to start one attempt ([`Origin`]) and how to read from it ([`Attempt`]); [`run`] does the
//! rest on the source's own thread: it selects frames (`backend::pace`), detects stalls ([`Watchdog`]), delays retries
//! ([`Backoff`]), spares the source's account ([`Breaker`]) and its host ([`Hosts`]), and keeps the source's state. Each
//! attempt is built from scratch, so nothing of a failed one is reused. Frames are pulled, so a frame that waits for a
//! slow engine is already in our hands, and the watchdog cannot mistake it for a lost camera.
//!
//! `supervision` is the state machine behind `run`: it takes one step at a time and never waits by itself, so that
//! `simulation` can play random failures of many sources against it in virtual time.
//!
//! A backend that carries many sources in one pipeline has no thread per source; it uses [`Backoff`], [`Watchdog`] and
//! one [`Outlet`](super::Outlet) per source itself.

mod backoff;
mod breaker;
mod capture;
mod damage;
mod deliver;
mod gaps;
mod hosts;
mod pump;
mod run;
#[cfg(test)]
mod simulation;
mod starved;
mod supervision;
mod timeline;
mod watchdog;

use std::time::Duration;

pub use backoff::{Backoff, Retry, Verdict, slow_pace};
pub use breaker::{Breaker, BreakerState, Try};
pub use gaps::Gaps;
pub use hosts::{HOST_CONNECTING_FOR, HOST_CONNECTING_MAX, Hosts, Turn};
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

    /// The host that an attempt connects to: the number of simultaneous attempts at one host is limited.
    fn host(&self, _plan: &SourcePlan) -> Option<String> {
        None
    }

    /// Starts to ask the source's host for an answer without user and password. `None` where an attempt needs neither:
    /// then a full attempt is made instead.
    fn probe(&mut self, _plan: &SourcePlan) -> Option<Box<dyn Probe>> {
        None
    }
}

/// Asks whether a source's host answers, without user and password. Dropping it ends it.
pub trait Probe {
    /// Whether the host answers as if a full attempt could succeed; `None` while that is unknown, which lasts a few
    /// seconds at most.
    fn answer(&mut self) -> Option<bool>;
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

    /// Whether the connection is made, so that only frames are missing.
    fn is_connected(&self) -> bool {
        false
    }

    /// When the sender captured the frame by its own wall clock, as an NTP time: nanoseconds since 1900, of any era.
    fn sender_ntp_ns(&self, _sample: &Self::Sample) -> Option<u64> {
        None
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
