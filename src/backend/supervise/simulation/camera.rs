//! A camera of the simulation: what a backend would implement with GStreamer.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::checks::Checks;
use crate::backend::supervise::{Attempt, Limits, Origin, Pacing, Probe, Timing};
use crate::backend::{Cause, Failure};
use crate::config::SourcePlan;
use crate::types::{Clock, Frame, TestClock};

const NTP_TO_UNIX_NS: u64 = 2_208_988_800 * 1_000_000_000;

/// What a camera does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Sends frames.
    Fine,
    /// Sends frames that are damaged.
    Damage,
    /// Accepts connections and sends nothing.
    Freeze,
    /// Its stream ends after it has begun.
    Ends,
    /// Refuses connections.
    Refuse,
    /// Serves no further clients.
    Busy,
    /// Rejects the login.
    Login,
    /// Has nothing at the path.
    NotFound,
    /// Sends a codec that nothing decodes.
    NoDecoder,
    /// Speaks another protocol.
    NotRtsp,
}

impl Mode {
    pub(super) const ALL: [Self; 10] = [
        Self::Fine,
        Self::Damage,
        Self::Freeze,
        Self::Ends,
        Self::Refuse,
        Self::Busy,
        Self::Login,
        Self::NotFound,
        Self::NoDecoder,
        Self::NotRtsp,
    ];

    /// Why an attempt fails.
    fn cause(self) -> Option<Cause> {
        Some(match self {
            Self::Fine | Self::Damage | Self::Freeze | Self::Ends => return None,
            Self::Refuse => Cause::Refused,
            Self::Busy => Cause::Busy,
            Self::Login => Cause::Unauthorized { given: true },
            Self::NotFound => Cause::NotFound,
            Self::NoDecoder => Cause::NoDecoder("H.266 decoder".into(), None),
            Self::NotRtsp => Cause::NotRtsp,
        })
    }

    /// Whether it answers somebody without user and password as if it worked.
    fn answers(self) -> bool {
        !matches!(self, Self::Refuse | Self::Busy | Self::NotFound | Self::NotRtsp)
    }
}

/// A camera, shared by the world that changes it and the attempts at it.
pub(super) struct Camera {
    pub(super) mode: Mode,
    pub(super) has_account: bool,
    /// Whether a pipeline fails to start now and then.
    pub(super) is_shaky: bool,
    /// Time between two frames.
    pub(super) period_ns: u64,
    /// Its clock's distance from the right time.
    pub(super) offset_ns: i64,
    /// How long the supervision would have waited in its last step.
    pub(super) waited: Duration,
    pub(super) rng: fastrand::Rng,
    pub(super) checks: Checks,
}

/// The way to a camera.
pub(super) struct Line {
    pub(super) camera: Rc<RefCell<Camera>>,
    pub(super) clock: Arc<TestClock>,
}

impl Origin for Line {
    type Attempt = Session;

    fn start(&mut self, plan: &SourcePlan, _: Pacing) -> Result<Session, String> {
        let now_ns = self.clock.monotonic_ns();
        let mut camera = self.camera.borrow_mut();
        camera.checks.attempt(plan, now_ns);
        if camera.is_shaky && camera.rng.u8(..50) == 0 {
            camera.checks.attempt_over(now_ns);
            return Err("the pipeline does not start".into());
        }
        let answers_ns = now_ns + camera.rng.u64(5_000_000..400_000_000);
        let (camera, clock) = (Rc::clone(&self.camera), Arc::clone(&self.clock));
        Ok(Session {
            camera,
            clock,
            answers_ns,
            is_playing: false,
            has_ended: false,
            next_ns: answers_ns,
            failed: false,
        })
    }

    fn limits(&self, plan: &SourcePlan) -> Limits {
        Limits { first_frame: plan.retry.first_frame, gap: plan.retry.gap, look: Duration::MAX, patience: 2 }
    }

    fn host(&self, _: &SourcePlan) -> Option<String> {
        Some(self.camera.borrow().checks.host())
    }

    fn probe(&mut self, plan: &SourcePlan) -> Option<Box<dyn Probe>> {
        let mut camera = self.camera.borrow_mut();
        if !camera.has_account {
            return None;
        }
        let now_ns = self.clock.monotonic_ns();
        camera.checks.probe(plan, now_ns);
        let never = camera.rng.u8(..20) == 0;
        let answers_ns = if never { u64::MAX } else { now_ns + camera.rng.u64(5_000_000..600_000_000) };
        let (camera, clock) = (Rc::clone(&self.camera), Arc::clone(&self.clock));
        Some(Box::new(Question { camera, clock, answers_ns }))
    }
}

/// A probe under way.
struct Question {
    camera: Rc<RefCell<Camera>>,
    clock: Arc<TestClock>,
    answers_ns: u64,
}

impl Probe for Question {
    fn answer(&mut self) -> Option<bool> {
        let mut camera = self.camera.borrow_mut();
        let answer = (self.clock.monotonic_ns() >= self.answers_ns).then(|| camera.mode.answers())?;
        camera.checks.probed(answer);
        Some(answer)
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.camera.borrow_mut().checks.probe_over(self.clock.monotonic_ns());
    }
}

/// An attempt under way.
pub(super) struct Session {
    camera: Rc<RefCell<Camera>>,
    clock: Arc<TestClock>,
    answers_ns: u64,
    is_playing: bool,
    has_ended: bool,
    next_ns: u64,
    failed: bool,
}

/// A frame, by whether it is damaged.
pub(super) struct Sample {
    is_damaged: bool,
}

impl Attempt for Session {
    type Sample = Sample;

    fn pull(&mut self, wait: Duration) -> Option<Sample> {
        let now_ns = self.clock.monotonic_ns();
        let mut camera = self.camera.borrow_mut();
        // A machine that is busy lets it wait longer, which makes for fewer steps.
        let longest = Duration::from_millis(camera.rng.u64(25..400)).max(wait);
        let until = |ns: u64| Duration::from_nanos(ns.saturating_sub(now_ns)).min(longest);
        if now_ns < self.answers_ns {
            camera.waited = until(self.answers_ns);
            return None;
        }
        if camera.mode.cause().is_none() && !self.is_playing {
            self.is_playing = true;
            camera.checks.connected();
        }
        let is_damaged = match camera.mode {
            Mode::Fine | Mode::Ends => false,
            Mode::Damage => true,
            _ => {
                camera.waited = longest;
                return None;
            }
        };
        if now_ns < self.next_ns {
            camera.waited = until(self.next_ns);
            return None;
        }
        self.next_ns = now_ns + camera.period_ns;
        self.has_ended |= camera.mode == Mode::Ends;
        camera.checks.frame(now_ns);
        Some(Sample { is_damaged })
    }

    fn timing(&self, sample: &Sample) -> Option<Timing> {
        (!sample.is_damaged).then(Timing::default)
    }

    fn sender_ntp_ns(&self, _: &Sample) -> Option<u64> {
        let camera = self.camera.borrow();
        let sent_ns = self.clock.unix_ns().saturating_add_signed(camera.offset_ns);
        (camera.offset_ns != i64::MAX).then(|| sent_ns.saturating_add(NTP_TO_UNIX_NS))
    }

    fn fill(&mut self, _: Sample, _: &mut Frame) -> Result<(), &'static str> {
        Ok(())
    }

    fn failure(&mut self) -> Option<Failure> {
        let camera = self.camera.borrow();
        if self.clock.monotonic_ns() < self.answers_ns || self.failed {
            return None;
        }
        let cause = camera.mode.cause()?;
        self.failed = true;
        let cause = if self.is_playing { Cause::HungUp("while it played") } else { cause };
        Some(Failure::of(&cause, "camera:554"))
    }

    fn ended(&self) -> bool {
        self.has_ended
    }

    fn is_connected(&self) -> bool {
        self.is_playing
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.camera.borrow_mut().checks.attempt_over(self.clock.monotonic_ns());
    }
}
