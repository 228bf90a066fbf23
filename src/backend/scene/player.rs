//! Plays one source: selects the next frame, paces it, and drops late ones.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::pace::{Pace, Pick};
use crate::backend::{Change, Flow, Outlet, SourceState};
use crate::config::SourcePlan;
use crate::scene::Scene;
use crate::types::{Clock, Frame};

/// Longest wait before the clock is read again, so that a jump of the clock is noticed.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Whether a player has more frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    More,
    Done,
}

pub(super) struct Player {
    pub(super) outlet: Arc<Outlet>,
    change: Arc<Change>,
    scene: Scene,
    clock: Arc<dyn Clock>,
    pixels: bool,
    /// Drops late frames.
    live: bool,
    /// Plays at the scene's frame rate.
    paced: bool,
    /// Starts again at the end, with new objects on the same paths.
    repeat: bool,
    pace: Pace,
    next: u64,
    /// Monotonic and wall-clock time of the start; `None` before the first step.
    started: Option<(u64, u64)>,
}

impl Player {
    pub(super) fn new(
        plan: &SourcePlan,
        (scene, pixels, live): (Scene, bool, bool),
        outlet: Arc<Outlet>,
        change: Arc<Change>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            outlet,
            change,
            scene,
            clock,
            pixels,
            live,
            paced: live || plan.realtime,
            repeat: plan.repeat,
            pace: Pace::of(plan),
            next: 0,
            started: None,
        }
    }

    /// Time until the next frame is due.
    pub(super) fn wait(&self) -> Duration {
        match self.started {
            Some((start, _)) if self.paced => {
                let due = start + self.scene.pts_ns(self.next);
                Duration::from_nanos(due.saturating_sub(self.clock.monotonic_ns())).min(WAIT_MAX)
            }
            _ => Duration::ZERO,
        }
    }

    fn due(&self) -> bool {
        self.wait().is_zero()
    }

    /// Delivers the next frame if it is due. Blocks where the sink does.
    pub(super) fn step(&mut self) -> Step {
        if self.outlet.closed() {
            return Step::Done;
        }
        if let Some(plan) = self.change.take() {
            self.pace.change(&plan);
        }
        if self.started.is_none() {
            self.started = Some((self.clock.monotonic_ns(), self.clock.unix_ns()));
            self.outlet.enter(SourceState::Running);
        }
        if !self.due() {
            return Step::More;
        }
        self.drop_late();
        if self.next >= self.last() {
            self.outlet.end();
            return Step::Done;
        }
        let index = self.next;
        self.next += 1;
        if !self.wanted(index) {
            return Step::More;
        }
        match self.outlet.frame(self.frame(index)) {
            Flow::Continue => Step::More,
            Flow::Stop => {
                self.outlet.stop();
                Step::Done
            }
        }
    }

    /// Number of frames in total.
    fn last(&self) -> u64 {
        if self.repeat { u64::MAX } else { self.scene.frames() }
    }

    /// Skips frames that are overdue, as a camera does not wait for its reader.
    fn drop_late(&mut self) {
        let Some((start, _)) = self.started.filter(|_| self.live) else { return };
        let elapsed = self.clock.monotonic_ns().saturating_sub(start) as f64 / 1e9;
        let current = ((elapsed * self.scene.fps() + 1e-6) as u64).min(self.last());
        if current > self.next {
            self.outlet.dropped("late", current - self.next);
            self.next = current;
        }
    }

    /// Whether `every` and `fps` let frame `index` through. Frames left out by `every` do not count as drops.
    fn wanted(&mut self, index: u64) -> bool {
        match self.pace.pick(index, self.scene.pts_ns(index)) {
            Pick::Take => true,
            Pick::NotEvery => false,
            Pick::OverRate => {
                self.outlet.dropped("fps", 1);
                false
            }
        }
    }

    fn frame(&self, index: u64) -> Frame {
        let (width, height) = self.scene.size();
        let (round, shown) = (index / self.scene.frames(), index % self.scene.frames());
        let (picture, mut detections) = if self.pixels {
            (Some(self.scene.frame(shown).0), Vec::new())
        } else {
            (None, self.scene.detections(shown))
        };
        for detection in &mut detections {
            detection.track_id = detection.track_id.map(|id| id + round * self.scene.objects());
        }
        let now = self.clock.monotonic_ns();
        let pts = self.scene.pts_ns(index);
        let wall = self.started.map_or(0, |(_, unix)| unix);
        Frame {
            pts_ns: if self.live { now } else { pts },
            captured_unix_ns: if self.live { self.clock.unix_ns() } else { wall + pts },
            arrived_ns: now,
            width,
            height,
            detections,
            detected: !self.pixels,
            tracked: !self.pixels,
            picture,
            ..Frame::empty(self.outlet.id().clone(), index)
        }
    }
}
