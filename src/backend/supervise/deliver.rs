//! One source's frames on their way out: their numbers, their times, and which of them are taken.

use std::sync::Arc;

use super::Attempt;
use super::timeline::Timeline;
use crate::backend::pace::{Pace, Pick};
use crate::backend::{Flow, Outlet, SourceState};
use crate::config::SourcePlan;
use crate::types::{Clock, Frame};

/// Counts over all attempts of a source.
pub(super) struct Delivery {
    outlet: Arc<Outlet>,
    clock: Arc<dyn Clock>,
    live: bool,
    pace: Pace,
    next_seq: u64,
    /// Of a source that is not live.
    timeline: Timeline,
    started_unix_ns: u64,
    /// First and last frame of the running attempt, on the engine's clock.
    ran_ns: Option<(u64, u64)>,
}

impl Delivery {
    pub(super) fn new(plan: &SourcePlan, outlet: Arc<Outlet>, clock: Arc<dyn Clock>) -> Self {
        Self {
            outlet,
            clock,
            live: plan.input.is_live(),
            pace: Pace::of(plan),
            next_seq: 0,
            timeline: Timeline::default(),
            started_unix_ns: 0,
            ran_ns: None,
        }
    }

    /// Goes on as a changed plan says.
    pub(super) fn change(&mut self, plan: &SourcePlan) {
        self.pace.change(plan);
    }

    /// An attempt has started.
    pub(super) fn start(&mut self) {
        // A file that plays faster than its own pace is ahead of the clock when it begins again.
        self.started_unix_ns = self.started_unix_ns.max(self.clock.unix_ns().saturating_sub(self.timeline.base_ns()));
    }

    /// The next attempt goes on after the last frame of this one.
    pub(super) fn repeat(&mut self) {
        self.timeline.repeat();
    }

    /// How many frames there were in all.
    pub(super) fn frames(&self) -> u64 {
        self.next_seq
    }

    /// Time between the first and the last frame of the attempt that has failed.
    pub(super) fn take_ran_ns(&mut self) -> u64 {
        self.ran_ns.take().map_or(0, |(first, last)| last.saturating_sub(first))
    }

    /// Frames that a live source replaced by newer ones before we came for them.
    pub(super) fn lost(&mut self, count: u64) {
        self.next_seq += count;
        self.outlet.dropped("overrun", count);
    }

    /// Frames that came to nothing in the attempt.
    pub(super) fn damaged(&self, count: u64) {
        self.outlet.dropped("corrupt", count);
    }

    /// Hands a frame on, or counts why not.
    pub(super) fn deliver<A: Attempt>(&mut self, attempt: &mut A, sample: A::Sample) -> Flow {
        let arrived_ns = self.clock.monotonic_ns();
        self.ran_ns = Some((self.ran_ns.map_or(arrived_ns, |(first, _)| first), arrived_ns));
        let Some(timing) = attempt.timing(&sample) else { return self.leave_out("corrupt") };
        let seq = self.next_seq;
        self.next_seq += 1;
        let (pts_ns, captured_unix_ns) = if self.live {
            (arrived_ns, self.clock.unix_ns())
        } else {
            let pts_ns = self.timeline.frame(timing);
            (pts_ns, self.started_unix_ns.saturating_add(pts_ns))
        };
        match self.pace.pick(seq, pts_ns) {
            Pick::Take => {}
            Pick::OverRate => return self.leave_out("fps"),
            Pick::NotEvery => return self.leave_out("skipped"),
        }
        let empty = Frame::empty(self.outlet.id().clone(), seq);
        let mut frame = Frame { pts_ns, captured_unix_ns, arrived_ns, ..empty };
        if let Err(reason) = attempt.fill(sample, &mut frame) {
            tracing::warn!(source = %self.outlet.id(), seq, reason, "a decoded frame cannot be used");
            return self.leave_out("corrupt");
        }
        self.outlet.enter(SourceState::Running);
        self.outlet.frame(frame)
    }

    fn leave_out(&self, reason: &'static str) -> Flow {
        self.outlet.dropped(reason, 1);
        Flow::Continue
    }
}
