//! Checks what must hold in every schedule, from what the camera and the sink observe.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::backend::supervise::{BreakerState, HOST_CONNECTING_FOR, HOST_CONNECTING_MAX};
use crate::backend::{SourceEvent, SourceState};
use crate::config::SourcePlan;

const S: u64 = 1_000_000_000;
/// The pace of what looks permanent.
const SLOW_NS: u64 = 120 * S;
/// How long a source runs until its failures are forgotten.
const STABLE_NS: u64 = 10 * S;
/// The most by which a step may be late: what a busy machine takes, and turns at a host.
pub(super) const LATE_NS: u64 = 8 * S;

/// The connection attempts at one host that count: the source's number and the time of its begin.
pub(super) type Connecting = Rc<RefCell<Vec<(usize, u64)>>>;

/// How often what was seen, over all schedules.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) attempts: u64,
    pub(super) frames: u64,
    pub(super) faults: u64,
    pub(super) permanent: u64,
    pub(super) configuration: u64,
    pub(super) rebuilt: u64,
    pub(super) opened: u64,
    pub(super) probes: u64,
    pub(super) answered: u64,
    pub(super) edits: u64,
    pub(super) removed: u64,
    pub(super) down: u64,
    pub(super) crowded: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        let Self { attempts, frames, faults, permanent, configuration, rebuilt, .. } = other;
        self.attempts += attempts;
        self.frames += frames;
        self.faults += faults;
        self.permanent += permanent;
        self.configuration += configuration;
        self.rebuilt += rebuilt;
        self.opened += other.opened;
        self.probes += other.probes;
        self.answered += other.answered;
        self.edits += other.edits;
        self.removed += other.removed;
        self.down += other.down;
        self.crowded += other.crowded;
    }

    /// Whether so many schedules have reached every part.
    pub(super) fn is_varied(&self, schedules: u64) -> bool {
        let Self { attempts, frames, faults, permanent, configuration, rebuilt, opened, probes, answered, .. } = self;
        let Self { edits, removed, down, crowded, .. } = self;
        let often = [attempts, frames, faults, opened, probes];
        let seldom = [permanent, configuration, rebuilt, answered, edits, removed, down, crowded];
        often.iter().all(|seen| **seen > schedules) && seldom.iter().all(|seen| **seen > schedules / 20)
    }
}

/// What is known of one source.
#[derive(Default)]
pub(super) struct Checks {
    pub(super) seed: u64,
    pub(super) number: usize,
    pub(super) host: usize,
    pub(super) has_account: bool,
    pub(super) connecting: Connecting,
    pub(super) totals: Totals,
    is_attempting: bool,
    /// The answer of the probe under way.
    is_probing: Option<bool>,
    /// Whether the host answered the last probe since the breaker is open.
    has_answered: bool,
    /// When the last attempt or probe ended.
    over_ns: Option<u64>,
    /// Frames of the attempt, damaged ones included: the first and the last, and their number.
    ran_ns: Option<(u64, u64, u64)>,
    has_worked: bool,
    /// Failed attempts in a row.
    failures: u32,
    /// The last failed attempt.
    failed_ns: u64,
    class: &'static str,
    /// Whether something allows the next full attempt at once: the start, an edit, a probe's answer, a rebuild.
    is_free: bool,
    pub(super) state: Option<SourceState>,
    is_gone: bool,
}

impl Checks {
    pub(super) fn new(seed: u64, number: usize, host: usize, has_account: bool, connecting: &Connecting) -> Self {
        let connecting = Rc::clone(connecting);
        Self { seed, number, host, has_account, connecting, is_free: true, ..Self::default() }
    }

    pub(super) fn host(&self) -> String {
        format!("host-{}", self.host)
    }

    #[track_caller]
    fn must(&self, holds: bool, what: &str) {
        assert!(holds, "seed {}, source {}: {what}", self.seed, self.number);
    }

    /// A full attempt begins.
    pub(super) fn attempt(&mut self, plan: &SourcePlan, now_ns: u64) {
        self.begin(plan, now_ns);
        self.is_attempting = true;
        self.totals.attempts += 1;
        if !std::mem::take(&mut self.is_free) {
            let since_ns = now_ns - self.failed_ns;
            let is_slow = self.class == "permanent";
            let least_ns = plan.retry.base.min(plan.retry.cap).as_nanos() as u64 / 10;
            self.must(since_ns + 1_000 >= least_ns, "it is retried after a pause");
            self.must(!is_slow || since_ns >= SLOW_NS, "what looks permanent is retried slowly");
            if let Some(breaker) = &plan.recovery.breaker
                && self.failures >= breaker.threshold
                && self.has_account
            {
                let open_ns = breaker.timeout.max(plan.retry.cap).as_nanos() as u64;
                self.must(since_ns + 1_000 >= open_ns, "the account is left alone while the breaker is open");
            }
        }
    }

    /// A probe begins.
    pub(super) fn probe(&mut self, plan: &SourcePlan, now_ns: u64) {
        self.begin(plan, now_ns);
        self.is_probing = Some(false);
        self.totals.probes += 1;
        let breaker = plan.recovery.breaker;
        self.must(breaker.is_some_and(|plan| self.failures >= plan.threshold), "it is probed only while it is open");
    }

    fn begin(&mut self, plan: &SourcePlan, now_ns: u64) {
        self.must(!self.is_gone, "nothing is tried after the end");
        self.must(!self.is_attempting && self.is_probing.is_none(), "one attempt at a time");
        if let Some(over_ns) = self.over_ns {
            let is_slow = self.class == "permanent" || self.class == "configuration";
            let longest = if is_slow { Duration::from_secs(120).max(plan.retry.cap) } else { plan.retry.cap };
            let waited_ns = now_ns - over_ns;
            let is_down = plan.recovery.after_failing == crate::config::AfterFailing::StayDown;
            self.must(
                is_down || waited_ns <= longest.as_nanos() as u64 + LATE_NS,
                &format!("it is retried after {longest:?} at the latest, not {waited_ns} ns"),
            );
        }
        let mut connecting = self.connecting.borrow_mut();
        let counts_ns = HOST_CONNECTING_FOR.as_nanos() as u64;
        connecting.retain(|(_, begun_ns)| now_ns - begun_ns < counts_ns);
        connecting.push((self.number, now_ns));
        let crowd = connecting.len();
        drop(connecting);
        self.must(crowd <= HOST_CONNECTING_MAX, "so many connect to a host at once");
        self.totals.crowded += u64::from(crowd == HOST_CONNECTING_MAX);
    }

    /// The attempt has its connection.
    pub(super) fn connected(&mut self) {
        self.connecting.borrow_mut().retain(|(number, _)| *number != self.number);
    }

    /// A frame came, damaged or not.
    pub(super) fn frame(&mut self, now_ns: u64) {
        self.totals.frames += 1;
        self.ran_ns =
            Some(self.ran_ns.map_or((now_ns, now_ns, 1), |(first_ns, _, count)| (first_ns, now_ns, count + 1)));
    }

    /// A frame was delivered.
    pub(super) fn delivered(&mut self) {
        self.has_worked = true;
        self.must(!self.is_gone, "nothing is delivered after the end");
    }

    pub(super) fn attempt_over(&mut self, now_ns: u64) {
        self.is_attempting = false;
        self.over(now_ns);
    }

    /// The probe has got an answer.
    pub(super) fn probed(&mut self, well: bool) {
        self.is_probing = Some(well);
    }

    pub(super) fn probe_over(&mut self, now_ns: u64) {
        let well = self.is_probing.take() == Some(true);
        self.answered(well);
        self.over(now_ns);
    }

    fn over(&mut self, now_ns: u64) {
        self.over_ns = Some(now_ns);
        self.connected();
    }

    /// The host has answered a probe: what it does when it had not answered is free.
    fn answered(&mut self, well: bool) {
        let is_news = well && !self.has_answered;
        self.has_answered = well;
        self.is_free |= is_news;
        self.totals.answered += u64::from(is_news);
    }

    /// The source was edited.
    pub(super) fn edited(&mut self) {
        self.totals.edits += 1;
        if matches!(self.state, Some(SourceState::Failed | SourceState::Backoff { .. })) && !self.is_attempting {
            (self.is_free, self.failures, self.class, self.over_ns) = (true, 0, "", None);
        }
    }

    pub(super) fn removed(&mut self) {
        self.is_gone = true;
        self.totals.removed += 1;
        self.must(!self.is_attempting && self.is_probing.is_none(), "nothing is left of it");
    }

    pub(super) fn event(&mut self, event: &SourceEvent, now_ns: u64) {
        self.must(!self.is_gone, "nothing is told after the end");
        match event {
            SourceEvent::State(state) => self.state = Some(*state),
            SourceEvent::Fault { class, attempt, reason, .. } => {
                self.must(!self.is_attempting, "the attempt is gone before it is told that it failed");
                let ran = self.ran_ns.take();
                if reason.contains("built anew") {
                    self.is_free = true;
                    self.totals.rebuilt += 1;
                    return;
                }
                self.totals.faults += 1;
                let is_stable = ran.is_some_and(|(first_ns, last_ns, _)| last_ns - first_ns >= STABLE_NS);
                self.failures = if is_stable { 1 } else { self.failures + 1 };
                self.must(*attempt == self.failures, "failures in a row are counted");
                self.failed_ns = now_ns;
                // The path that was not found has worked; a login is never that.
                let passes = *class == "transient" || (self.has_worked && !reason.contains("401"));
                self.class = if passes { "transient" } else { class };
                self.totals.permanent += u64::from(self.class == "permanent");
                self.totals.configuration += u64::from(self.class == "configuration");
            }
            SourceEvent::Breaker(state) => {
                self.totals.opened += u64::from(*state == BreakerState::Open);
                self.has_answered &= *state != BreakerState::Closed;
            }
            SourceEvent::Ended | SourceEvent::Broken(_) => self.must(false, "a live source does not end"),
            SourceEvent::Opened(_) | SourceEvent::Dropped { .. } => {}
        }
    }

    /// Looks at it between two steps. `limit_ns` is the longest silence of a source that runs.
    pub(super) fn look(&self, limit_ns: u64, now_ns: u64) {
        let Some((_, last_ns, frames)) = self.ran_ns else { return };
        if self.state == Some(SourceState::Running) && self.is_attempting && frames > 3 {
            self.must(now_ns - last_ns <= limit_ns + LATE_NS, "a source that is silent does not run");
        }
    }
}
