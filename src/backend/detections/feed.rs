//! One source: takes messages from any thread, and passes their frames on in order.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::frame::{Labels, Refusal, Stating};
use super::line::{self, Read};
use super::nvmsgconv;
use super::order::{Order, Placed};
use super::times::{Now, Times};
use crate::backend::pace::{Pace, Pick};
use crate::backend::{Change, Flow, Intake, Outlet, SourceState, Taken};
use crate::config::{DetectionsFormat, DetectionsPlan, Input, RetryPlan, SourcePlan};
use crate::types::{Clock, Frame};

/// Most lines of a body.
const LINES_MAX: u64 = 256;
/// The size of a picture whose size nobody states: boxes have none, and rules in pixels do not apply.
const UNKNOWN_SIZE: (u32, u32) = (1, 1);

/// See the module.
pub(super) struct Feed {
    pub(super) outlet: Arc<Outlet>,
    plan: DetectionsPlan,
    clock: Arc<dyn Clock>,
    change: Arc<Change>,
    /// Held while frames are passed on, so that those of several callers stay in order.
    state: Mutex<State>,
}

struct State {
    order: Order<Waiting>,
    times: Times,
    pace: Pace,
    labels: Labels,
    confidence: Option<f32>,
    retry: RetryPlan,
    /// When a usable message last came, or the source began to wait for one.
    heard_ns: u64,
}

/// A frame that is not passed on yet.
struct Waiting {
    frame: Stating,
    arrived: Now,
}

/// What became of frames that were passed on.
#[derive(Default)]
struct Passed {
    retimed: u64,
    over_rate: u64,
}

impl Feed {
    /// A feed without messages; `plan` is that of `source`.
    pub(super) fn new(
        source: &SourcePlan,
        plan: &DetectionsPlan,
        outlet: Arc<Outlet>,
        change: Arc<Change>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let state = State {
            order: Order::default(),
            times: Times::default(),
            pace: Pace::of(source),
            labels: Labels::default(),
            confidence: source.confidence,
            retry: source.retry.clone(),
            heard_ns: clock.monotonic_ns(),
        };
        Self { outlet, plan: plan.clone(), clock, change, state: Mutex::new(state) }
    }

    /// The restart policy.
    pub(super) fn retry(&self) -> RetryPlan {
        self.state.lock().retry.clone()
    }

    /// Starts to wait for messages.
    pub(super) fn listen(&self) {
        self.state.lock().heard_ns = self.clock.monotonic_ns();
    }

    /// How long the source may still be silent; `None` for ever.
    pub(super) fn silence_left(&self) -> Option<Duration> {
        let silence = self.plan.silence?;
        let silent_ns = self.clock.monotonic_ns().saturating_sub(self.state.lock().heard_ns);
        Some(silence.saturating_sub(Duration::from_nanos(silent_ns)))
    }

    /// What is to be said of a silence that was too long.
    pub(super) fn too_silent(&self) -> String {
        format!("no detections came for {:?}", self.plan.silence.unwrap_or_default())
    }

    /// Does what is due: applies changes, and passes on frames that were held for long enough.
    pub(super) fn tick(&self) {
        let state = &mut *self.state.lock();
        self.apply_change(state);
        if state.order.holds() {
            let (now_ns, mut passed) = (self.clock.monotonic_ns(), Passed::default());
            let State { order, times, pace, confidence, .. } = state;
            let confidence = *confidence;
            order.release(now_ns, &mut |seq, waiting| self.pass(seq, waiting, times, pace, confidence, &mut passed));
            self.outlet.dropped("fps", passed.over_rate);
        }
    }

    fn apply_change(&self, state: &mut State) {
        if let Some(plan) = self.change.take() {
            state.pace.change(&plan);
            state.confidence = plan.confidence;
            state.retry = plan.retry;
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_ns: self.clock.monotonic_ns(), unix_ns: self.clock.unix_ns() }
    }

    fn take_lines(&self, body: &[u8], state: &mut State, counted: &mut Counted) {
        let mut count = 0;
        for (index, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
            count += u64::from(!line.is_empty());
            if count > LINES_MAX {
                let what = format!("a body has at most {LINES_MAX} lines; this one and those after it are not read");
                return counted.refuse(index, Refusal::TooLarge(what));
            }
            let read = line::read(line, self.plan.sensor.as_deref(), &mut state.labels);
            self.place(index, read, state, counted);
        }
    }

    fn take_messages(&self, body: &[u8], state: &mut State, counted: &mut Counted) {
        let size = self.plan.size.unwrap_or(UNKNOWN_SIZE);
        for (index, message) in (1..).zip(nvmsgconv::messages(body)) {
            if index > LINES_MAX {
                let what = format!("a body has at most {LINES_MAX} messages; this one and those after it are not read");
                return counted.refuse(index, Refusal::TooLarge(what));
            }
            let sensor = self.plan.sensor.as_deref();
            let read = message.and_then(|message| nvmsgconv::read(&message, size, sensor, &mut state.labels));
            self.place(index, read, state, counted);
        }
    }

    fn place(&self, index: u64, read: Result<Read, Refusal>, state: &mut State, counted: &mut Counted) {
        let frame = match read {
            Ok(Read::Frame(frame)) => frame,
            Ok(Read::Other) => {
                counted.taken.passed_over += 1;
                return;
            }
            Ok(Read::Nothing) => return,
            Err(why) => return counted.refuse(index, why),
        };
        let State { order, times, pace, confidence, .. } = state;
        let name = frame.name(frame.seq.unwrap_or_else(|| order.next_seq()));
        let (arrived, confidence) = (counted.now, *confidence);
        let waiting = Waiting { frame, arrived };
        let pass = &mut |seq, waiting| self.pass(seq, waiting, times, pace, confidence, &mut counted.passed);
        match order.put(name, waiting, arrived.monotonic_ns, pass) {
            Placed::Taken => counted.taken.accepted += 1,
            Placed::Late => counted.taken.late += 1,
            Placed::Doubled => counted.taken.doubled += 1,
        }
    }

    /// Hands a frame to the sink, if `fps` and `every` let it through.
    fn pass(
        &self,
        seq: u64,
        Waiting { frame, arrived }: Waiting,
        times: &mut Times,
        pace: &mut Pace,
        confidence: Option<f32>,
        passed: &mut Passed,
    ) {
        let moment = times.place(frame.stated, arrived);
        passed.retimed += u64::from(moment.is_retimed);
        match pace.pick(seq, moment.pts_ns) {
            Pick::Take => {}
            Pick::OverRate => {
                passed.over_rate += 1;
                return;
            }
            Pick::NotEvery => return,
        }
        let mut detections = frame.detections;
        if let Some(lowest) = confidence {
            detections.retain(|detection| detection.confidence >= lowest);
        }
        // Where a camera does not give every object an id, the engine tracks all of them.
        let tracked = detections.iter().all(|detection| detection.track_id.is_some());
        let (width, height) = frame.size.or(self.plan.size).unwrap_or(UNKNOWN_SIZE);
        let frame = Frame {
            pts_ns: moment.pts_ns,
            captured_unix_ns: moment.captured_unix_ns,
            arrived_ns: arrived.monotonic_ns,
            width,
            height,
            detections,
            detected: true,
            tracked,
            ..Frame::empty(self.outlet.id().clone(), seq)
        };
        self.outlet.enter(SourceState::Running);
        if self.outlet.frame(frame) == Flow::Stop {
            self.outlet.stop();
        }
    }
}

impl Intake for Feed {
    fn take(&self, body: &[u8]) -> Taken {
        let mut counted =
            Counted { taken: Taken::default(), reasons: [0; 3], passed: Passed::default(), now: self.now() };
        let state = &mut *self.state.lock();
        self.apply_change(state);
        match self.plan.format {
            DetectionsFormat::Trace => self.take_lines(body, state, &mut counted),
            DetectionsFormat::Nvmsgconv => self.take_messages(body, state, &mut counted),
        }
        let Counted { mut taken, reasons, passed, now } = counted;
        taken.retimed = passed.retimed;
        if taken.accepted > 0 {
            state.heard_ns = now.monotonic_ns;
        }
        for (reason, count) in REASONS.into_iter().zip(reasons) {
            self.outlet.dropped(reason, count);
        }
        for (reason, count) in [
            ("late", taken.late),
            ("doubled", taken.doubled),
            ("other_sensor", taken.passed_over),
            ("fps", passed.over_rate),
        ] {
            self.outlet.dropped(reason, count);
        }
        taken
    }
}

/// What is counted while a body is taken.
struct Counted {
    taken: Taken,
    /// By [`REASONS`].
    reasons: [u64; 3],
    passed: Passed,
    now: Now,
}

/// The reasons of refusals.
const REASONS: [&str; 3] = ["malformed", "out_of_range", "too_large"];

impl Counted {
    fn refuse(&mut self, line: u64, why: Refusal) {
        if let Some(at) = REASONS.iter().position(|reason| *reason == why.reason()) {
            self.reasons[at] += 1;
        }
        self.taken.refuse(line, why.into_message());
    }
}

/// The part of a source's plan that is about detections.
pub(super) fn plan_of(source: &SourcePlan) -> Option<&DetectionsPlan> {
    match &source.input {
        Input::Detections(plan) => Some(plan),
        _ => None,
    }
}
