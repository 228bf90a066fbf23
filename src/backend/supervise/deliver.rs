//! Numbers, timestamps and selects one source's frames on their way to the sink.

use std::sync::Arc;

use super::Attempt;
use super::capture::CaptureTimes;
use super::timeline::Timeline;
use crate::backend::pace::{Pace, Pick};
use crate::backend::{Flow, Outlet, SourceState, Stream};
use crate::config::SourcePlan;
use crate::types::{Clock, Frame};

/// State across all attempts of a source.
pub(super) struct Delivery {
    outlet: Arc<Outlet>,
    clock: Arc<dyn Clock>,
    live: bool,
    pace: Pace,
    next_seq: u64,
    /// Frames that arrived and could not be used.
    unusable: u64,
    /// For a finite source.
    timeline: Timeline,
    /// For a live source.
    capture: CaptureTimes,
    started_unix_ns: u64,
    /// The size of the last frame; `None` before the first frame of an attempt.
    size: Option<(u32, u32)>,
    /// Arrival of the first and last frame of the current attempt, on the engine's clock.
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
            unusable: 0,
            timeline: Timeline::default(),
            capture: CaptureTimes::default(),
            started_unix_ns: 0,
            size: None,
            ran_ns: None,
        }
    }

    /// Applies a changed plan.
    pub(super) fn change(&mut self, plan: &SourcePlan) {
        self.pace.change(plan);
    }

    /// Starts an attempt.
    pub(super) fn start(&mut self) {
        self.size = None;
        // A file that plays faster than real time is ahead of the clock when it repeats.
        self.started_unix_ns = self.started_unix_ns.max(self.clock.unix_ns().saturating_sub(self.timeline.base_ns()));
    }

    /// The next attempt continues after this one's last frame.
    pub(super) fn repeat(&mut self) {
        self.timeline.repeat();
    }

    /// Number of frames so far.
    pub(super) fn frames(&self) -> u64 {
        self.next_seq
    }

    /// Number of frames that arrived and could not be used.
    pub(super) fn unusable(&self) -> u64 {
        self.unusable
    }

    /// Time between the first and the last frame of the running attempt.
    pub(super) fn ran_ns(&self) -> u64 {
        self.ran_ns.map_or(0, |(first, last)| last.saturating_sub(first))
    }

    /// The same of the failed attempt; the next one starts at none.
    pub(super) fn take_ran_ns(&mut self) -> u64 {
        let ran_ns = self.ran_ns();
        self.ran_ns = None;
        ran_ns
    }

    /// Counts frames that a live source replaced before they were pulled.
    pub(super) fn lost(&mut self, count: u64) {
        self.next_seq += count;
        self.outlet.dropped("overrun", count);
    }

    /// Counts frames that could not be decoded.
    pub(super) fn damaged(&self, count: u64) {
        self.outlet.dropped("corrupt", count);
    }

    /// Delivers a frame, or counts why it was dropped.
    pub(super) fn deliver<A: Attempt>(&mut self, attempt: &mut A, sample: A::Sample) -> Flow {
        let arrived_ns = self.clock.monotonic_ns();
        self.ran_ns = Some((self.ran_ns.map_or(arrived_ns, |(first, _)| first), arrived_ns));
        let Some(timing) = attempt.timing(&sample) else { return self.unusable_frame() };
        let seq = self.next_seq;
        self.next_seq += 1;
        let (pts_ns, captured_unix_ns) = if self.live {
            (arrived_ns, self.capture.frame(attempt.sender_ntp_ns(&sample), self.clock.unix_ns()))
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
            return self.unusable_frame();
        }
        let size = Some((frame.width, frame.height));
        if std::mem::replace(&mut self.size, size) != size
            && let Some(stream) = attempt.stream()
        {
            self.outlet.opened(Stream { width: frame.width, height: frame.height, ..stream });
        }
        self.outlet.enter(SourceState::Running);
        self.outlet.frame(frame)
    }

    fn unusable_frame(&mut self) -> Flow {
        self.unusable += 1;
        self.leave_out("corrupt")
    }

    fn leave_out(&self, reason: &'static str) -> Flow {
        self.outlet.dropped(reason, 1);
        Flow::Continue
    }
}
