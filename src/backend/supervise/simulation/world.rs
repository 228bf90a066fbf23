//! Plays one random schedule: some sources at some hosts, and what happens to them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::camera::{Camera, Line, Mode};
use super::checks::{Checks, Connecting, LATE_NS, Totals};
use crate::backend::supervise::Hosts;
use crate::backend::supervise::supervision::{Step, Supervision};
use crate::backend::tests::plan;
use crate::backend::{Change, Flow, Outlet, Sink, SourceEvent, SourceState};
use crate::config::{AfterFailing, BreakerPlan, RecoveryPlan, RetryPlan, SourcePlan};
use crate::types::{Blackout, Clock as _, SourceId, TestClock, Unmasked};

const S: u64 = 1_000_000_000;
/// 2026.
const START_UNIX_NS: u64 = 1_790_000_000 * S;
/// How far a sender's clock may be off for its time to count.
const TRUST_NS: u64 = 5 * S;

/// What a source has reported since the last check. Frames by number, time and capture time.
#[derive(Default)]
struct Told {
    events: Vec<SourceEvent>,
    frames: Vec<(u64, u64, u64)>,
}

#[derive(Default)]
struct Sinks(Mutex<Told>);

impl Sink for Sinks {
    fn frame(&self, frame: Unmasked) -> Flow {
        let frame = frame.mask(&Blackout::default());
        self.0.lock().frames.push((frame.seq, frame.pts_ns, frame.captured_unix_ns));
        Flow::Continue
    }

    fn event(&self, _: &SourceId, event: SourceEvent) {
        self.0.lock().events.push(event);
    }
}

struct Source {
    supervision: Option<Supervision<Line>>,
    camera: Rc<RefCell<Camera>>,
    change: Arc<Change>,
    sink: Arc<Sinks>,
    plan: SourcePlan,
    /// When its next step is due.
    next_ns: u64,
    /// Number, time and capture time of its last frame.
    last: (u64, u64, u64),
    delivered: u64,
}

/// See the module.
pub(super) struct World {
    seed: u64,
    rng: fastrand::Rng,
    clock: Arc<TestClock>,
    sources: Vec<Source>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let clock = Arc::new(TestClock::at(START_UNIX_NS));
        clock.pass(S);
        let hosts = Arc::<Hosts>::default();
        let connecting: [Connecting; 2] = Default::default();
        // Often more than may connect at once, and all at one host.
        let (count, host_count) = (if rng.u8(..4) == 0 { 6 } else { rng.usize(1..4) }, rng.usize(1..3));
        let sources = (0..count).map(|number| {
            let (host, has_account) = (rng.usize(..host_count), rng.u8(..3) > 0);
            let checks = Checks::new(seed, number, host, has_account, &connecting[host]);
            Source::new(number, has_account, checks, &clock, &hosts, &mut rng)
        });
        let sources = sources.collect();
        Self { seed, rng, clock, sources }
    }

    /// Plays it to its end; what was seen.
    pub(super) fn play(mut self) -> Totals {
        let end_ns = self.clock.monotonic_ns() + self.rng.u64(60..250) * S;
        while self.clock.monotonic_ns() < end_ns {
            let pause_ns = self.rng.u64(..30 * S);
            self.run(self.clock.monotonic_ns() + pause_ns);
            self.happens();
        }
        // Everything works again: what comes back by itself does so, the others once they are edited.
        for source in &self.sources {
            let mut camera = source.camera.borrow_mut();
            (camera.mode, camera.is_shaky) = (Mode::Fine, false);
        }
        let slowest = self.sources.iter().map(|source| source.plan.retry.cap).max().unwrap_or_default();
        let longest_ns = slowest.as_nanos() as u64 + 130 * S + 2 * LATE_NS;
        self.run(self.clock.monotonic_ns() + longest_ns);
        for number in 0..self.sources.len() {
            let source = &mut self.sources[number];
            let is_down = source.plan.recovery.after_failing == AfterFailing::StayDown;
            if source.supervision.is_some() && is_down && source.state() == Some(SourceState::Failed) {
                source.camera.borrow_mut().checks.totals.down += 1;
                source.edit(self.clock.monotonic_ns());
            }
        }
        let before: Vec<u64> = self.sources.iter().map(|source| source.delivered).collect();
        self.run(self.clock.monotonic_ns() + 10 * S);
        let mut totals = Totals::default();
        for (source, before) in self.sources.iter_mut().zip(before) {
            let state = source.state();
            if source.supervision.is_some() {
                assert_eq!(state, Some(SourceState::Running), "seed {}: it has a way out of it", self.seed);
                assert!(source.delivered > before, "seed {}: it delivers", self.seed);
                source.remove(self.clock.monotonic_ns());
            }
            totals.add(&source.camera.borrow().checks.totals);
        }
        totals
    }

    /// Lets time pass, and the sources take the steps that are due.
    fn run(&mut self, until_ns: u64) {
        loop {
            let running = self.sources.iter_mut().filter(|source| source.supervision.is_some());
            let next = running.min_by_key(|source| source.next_ns).filter(|source| source.next_ns < until_ns);
            let now_ns = self.clock.monotonic_ns();
            let Some(source) = next else {
                self.clock.pass(until_ns.saturating_sub(now_ns));
                return;
            };
            self.clock.pass(source.next_ns.saturating_sub(now_ns));
            source.step(&self.clock);
        }
    }

    /// Something happens to one of the sources, or to all.
    fn happens(&mut self) {
        let (number, now_ns) = (self.rng.usize(..self.sources.len()), self.clock.monotonic_ns());
        let mode = Mode::ALL[self.rng.usize(..Mode::ALL.len())];
        let source = &mut self.sources[number];
        match self.rng.u8(..100) {
            0..45 => source.camera.borrow_mut().mode = mode,
            // The host fails, or comes back.
            45..60 => {
                let mode = if self.rng.bool() { Mode::Refuse } else { Mode::Fine };
                self.sources.iter().for_each(|source| source.camera.borrow_mut().mode = mode);
            }
            60..75 => source.camera.borrow_mut().mode = Mode::Fine,
            75..82 => source.edit(now_ns),
            82..85 => source.remove(now_ns),
            85..90 => {
                let ahead_ns = self.rng.i64(-20 * S as i64..20 * S as i64);
                source.camera.borrow_mut().offset_ns = if self.rng.bool() { ahead_ns } else { i64::MAX };
            }
            90..93 => self.clock.set_ahead(self.rng.u64(..7_200 * S)),
            93..96 => self.clock.set_back(self.rng.u64(..7_200 * S)),
            // The whole process stands still.
            _ => self.clock.pass(self.rng.u64(..LATE_NS / 2)),
        }
    }
}

impl Source {
    fn new(
        number: usize,
        has_account: bool,
        checks: Checks,
        clock: &Arc<TestClock>,
        hosts: &Arc<Hosts>,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let plan = SourcePlan { retry: retry(rng), recovery: recovery(rng), ..plan(&format!("cam-{number}")) };
        let mode = if rng.bool() { Mode::Fine } else { Mode::ALL[rng.usize(..Mode::ALL.len())] };
        let (period_ns, own) = (rng.u64(600..1_500) * 1_000_000, rng.fork());
        let camera = Rc::new(RefCell::new(Camera {
            mode,
            has_account,
            is_shaky: true,
            period_ns,
            offset_ns: -40_000_000,
            waited: Duration::ZERO,
            rng: own,
            checks,
        }));
        let sink = Arc::<Sinks>::default();
        let outlet = Arc::new(Outlet::new(plan.id.clone(), sink.clone()));
        let line = Line { camera: Rc::clone(&camera), clock: Arc::clone(clock) };
        let (change, hosts) = (Arc::<Change>::default(), Arc::clone(hosts));
        let supervision =
            Supervision::new(line, plan.clone(), clock.clone(), outlet, Arc::clone(&change), hosts, rng.fork());
        let next_ns = clock.monotonic_ns() + rng.u64(..30_000_000);
        Self { supervision: Some(supervision), camera, change, sink, plan, next_ns, last: (0, 0, 0), delivered: 0 }
    }

    fn state(&self) -> Option<SourceState> {
        self.camera.borrow().checks.state
    }

    fn step(&mut self, clock: &TestClock) {
        let Some(supervision) = &mut self.supervision else { return };
        self.camera.borrow_mut().waited = Duration::ZERO;
        let step = supervision.step();
        let mut camera = self.camera.borrow_mut();
        let late_ns = if camera.rng.u8(..20) == 0 { camera.rng.u64(..200_000_000) } else { 0 };
        let wait = match step {
            Step::Again => camera.waited,
            Step::Pause(wait) => wait,
            Step::Over => panic!("seed {}: a live source does not end", camera.checks.seed),
        };
        // A step without a wait takes a moment, too: what never waits would else stop time.
        let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX / 2).max(1_000);
        self.next_ns = clock.monotonic_ns().saturating_add(wait_ns).saturating_add(late_ns);
        drop(camera);
        self.hear(clock.monotonic_ns(), clock.unix_ns());
        let gap_ns = self.plan.retry.gap.as_nanos() as u64;
        self.camera.borrow().checks.look(gap_ns, clock.monotonic_ns());
    }

    /// Checks what the source has reported.
    fn hear(&mut self, now_ns: u64, unix_ns: u64) {
        let mut camera = self.camera.borrow_mut();
        let Told { events, frames } = std::mem::take(&mut *self.sink.0.lock());
        for (seq, pts_ns, captured_unix_ns) in frames {
            camera.checks.delivered();
            let (former_seq, former_ns, former_unix_ns) = self.last;
            let seed = camera.checks.seed;
            assert!(self.delivered == 0 || seq > former_seq, "seed {seed}: numbers increase");
            assert!(pts_ns >= former_ns, "seed {seed}: time does not decrease");
            let is_set_back = former_unix_ns > unix_ns + TRUST_NS;
            assert!(captured_unix_ns >= former_unix_ns || is_set_back, "seed {seed}: capture time does not decrease");
            assert!(captured_unix_ns.abs_diff(unix_ns) <= TRUST_NS, "seed {seed}: capture time is near the arrival");
            self.last = (seq, pts_ns, captured_unix_ns);
            self.delivered += 1;
        }
        events.iter().for_each(|event| camera.checks.event(event, now_ns));
    }

    fn edit(&mut self, now_ns: u64) {
        if self.supervision.is_none() {
            return;
        }
        self.plan.retry.max_retries += 1;
        self.change.put(&self.plan);
        self.camera.borrow_mut().checks.edited();
        // Its thread looks at its plan this often.
        self.next_ns = self.next_ns.min(now_ns + 25_000_000);
    }

    fn remove(&mut self, now_ns: u64) {
        let Some(mut supervision) = self.supervision.take() else { return };
        supervision.remove();
        drop(supervision);
        self.hear(now_ns, 0);
        self.camera.borrow_mut().checks.removed();
    }
}

fn retry(rng: &mut fastrand::Rng) -> RetryPlan {
    let (base, exponential) = (Duration::from_millis(rng.u64(100..2_000)), rng.u8(..4) > 0);
    let (first_frame, gap) = (Duration::from_secs(rng.u64(1..9)), Duration::from_secs(rng.u64(1..4)));
    let cap = base.max(Duration::from_secs(rng.u64(1..61)));
    RetryPlan { max_retries: rng.u32(..8), base, cap, exponential, first_frame, gap }
}

fn recovery(rng: &mut fastrand::Rng) -> RecoveryPlan {
    let timeout = Duration::from_secs(rng.u64(1..120));
    let breaker = (rng.u8(..5) > 0).then_some(BreakerPlan { threshold: rng.u32(2..8), timeout });
    let after_failing = if rng.u8(..8) == 0 { AfterFailing::StayDown } else { AfterFailing::Retry };
    RecoveryPlan { after_failing, breaker, damaged_max: rng.u32(2..20), retries_made: 0 }
}
