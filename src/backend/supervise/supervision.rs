//! The state machine of a supervised source: queue at its host, attempt, wait or probe, and again.
//!
//! It takes one step at a time, on the source's own thread, and never waits by itself, except that an attempt waits a
//! moment for a frame. Time, chance and what is attempted are arguments, so that it can be simulated.

use std::sync::Arc;
use std::time::Duration;

use super::backoff::STABLE;
use super::damage::Damage;
use super::deliver::Delivery;
use super::hosts::{Hosts, Turn};
use super::pump::{End, Running, Shared};
use super::{Backoff, Breaker, Gaps, Origin, Probe, Try, Verdict};
use crate::backend::{Change, Failure, Outlet, SourceState};
use crate::config::{AfterFailing, SourcePlan};
use crate::types::Clock;

/// How often it is looked at what others have to finish: a turn, a probe.
const LOOK: Duration = Duration::from_millis(25);
/// Longest wait for a probe's answer.
const PROBE_NS_MAX: u64 = 10_000_000_000;

/// What the source's thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The next step at once.
    Again,
    /// The next step after this time, or once the plan has changed.
    Pause(Duration),
    /// Nothing: the source has ended.
    Over,
}

enum Phase<A> {
    /// Waits for its turn at the host.
    Queued(Try, Option<Turn>),
    /// An attempt is under way.
    Attempting(Box<Running<A>>),
    /// The host is asked without user and password, until this time at most.
    Probing(Box<dyn Probe>, u64, Option<Turn>),
    /// Waits until this time.
    Waiting(Try, u64),
    /// Stays down until the plan changes.
    Down,
    /// The source has ended.
    Over,
}

/// See the module.
pub(super) struct Supervision<O: Origin> {
    shared: Shared<O>,
    hosts: Arc<Hosts>,
    backoff: Backoff,
    breaker: Breaker,
    chance: fastrand::Rng,
    phase: Phase<O::Attempt>,
}

impl<O: Origin> Supervision<O> {
    pub(super) fn new(
        origin: O,
        plan: SourcePlan,
        clock: Arc<dyn Clock>,
        outlet: Arc<Outlet>,
        change: Arc<Change>,
        hosts: Arc<Hosts>,
        chance: fastrand::Rng,
    ) -> Self {
        let delivery = Delivery::new(&plan, Arc::clone(&outlet), Arc::clone(&clock));
        let backoff = Backoff::after(plan.recovery.retries_made);
        let (gaps, damage) = (Gaps::default(), Damage::default());
        let shared = Shared { origin, plan, clock, outlet, change, delivery, gaps, damage };
        let mut new = Self { shared, hosts, backoff, breaker: Breaker::default(), chance, phase: Phase::Over };
        new.queue(Try::Full);
        new
    }

    /// Takes one step.
    pub(super) fn step(&mut self) -> Step {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Queued(what, turn) => self.queued(what, turn),
            Phase::Attempting(mut running) => {
                let Some(end) = running.step(&mut self.shared) else {
                    self.steady();
                    self.phase = Phase::Attempting(running);
                    return Step::Again;
                };
                // Reported before the attempt is shut down, which may take as long as the peer stands still.
                let outlet = &self.shared.outlet;
                if matches!(end, End::Stalled(_)) && outlet.state() == Some(SourceState::Running) {
                    outlet.enter(SourceState::Stalled);
                }
                running.finish(&mut self.shared);
                self.ended(end)
            }
            Phase::Probing(probe, until_ns, turn) => self.probing(probe, until_ns, turn),
            Phase::Waiting(what, until_ns) => {
                let now_ns = self.shared.clock.monotonic_ns();
                if self.is_edited() {
                    return Step::Again;
                }
                if now_ns >= until_ns {
                    self.queue(what);
                    return Step::Again;
                }
                self.phase = Phase::Waiting(what, until_ns);
                Step::Pause(Duration::from_nanos(until_ns - now_ns))
            }
            Phase::Down => {
                if self.is_edited() {
                    return Step::Again;
                }
                self.phase = Phase::Down;
                Step::Pause(Duration::MAX)
            }
            Phase::Over => Step::Over,
        }
    }

    /// Ends the source because it was removed.
    pub(super) fn remove(&mut self) {
        if let Phase::Attempting(running) = std::mem::replace(&mut self.phase, Phase::Over) {
            running.finish(&mut self.shared);
        }
        self.shared.outlet.stop();
    }

    /// Queues for the host's next free turn.
    fn queue(&mut self, what: Try) {
        let host = self.shared.origin.host(&self.shared.plan);
        self.phase = Phase::Queued(what, host.map(|host| self.hosts.queue(&host)));
    }

    /// Whether the plan was edited: then everything starts afresh, with a full attempt at once.
    fn is_edited(&mut self) -> bool {
        let is_edited = self.shared.take_change();
        if is_edited {
            self.backoff = Backoff::default();
            let state = self.breaker.state();
            self.breaker.close();
            self.tell_breaker(state);
            self.queue(Try::Full);
        }
        is_edited
    }

    fn queued(&mut self, what: Try, turn: Option<Turn>) -> Step {
        if self.is_edited() {
            return Step::Again;
        }
        let now_ns = self.shared.clock.monotonic_ns();
        if turn.as_ref().is_some_and(|turn| !turn.begin(now_ns)) {
            self.phase = Phase::Queued(what, turn);
            return Step::Pause(LOOK);
        }
        let probe = match what {
            Try::Full => None,
            Try::Probe => self.shared.origin.probe(&self.shared.plan),
        };
        if let Some(probe) = probe {
            self.phase = Phase::Probing(probe, now_ns.saturating_add(PROBE_NS_MAX), turn);
            return Step::Again;
        }
        let outlet = &self.shared.outlet;
        // A failed source stays `Failed` until it delivers a frame.
        if !matches!(outlet.state(), Some(SourceState::Failed | SourceState::Running)) {
            outlet.enter(SourceState::Connecting);
        }
        let state = self.breaker.state();
        self.breaker.attempt();
        self.tell_breaker(state);
        match Running::start(&mut self.shared, turn) {
            Ok(running) => {
                self.phase = Phase::Attempting(Box::new(running));
                Step::Again
            }
            Err(failure) => self.ended(End::Failed(failure)),
        }
    }

    fn probing(&mut self, mut probe: Box<dyn Probe>, until_ns: u64, turn: Option<Turn>) -> Step {
        if self.is_edited() {
            return Step::Again;
        }
        let now_ns = self.shared.clock.monotonic_ns();
        let answer = probe.answer();
        if answer.is_none() && now_ns < until_ns {
            self.phase = Phase::Probing(probe, until_ns, turn);
            return Step::Pause(LOOK);
        }
        drop((probe, turn));
        if self.breaker.probed(answer == Some(true)) {
            self.queue(Try::Full);
        } else {
            let (what, wait) = self.while_open(now_ns).unwrap_or((Try::Full, Duration::ZERO));
            self.wait(what, now_ns, wait);
        }
        Step::Again
    }

    /// What is next while the breaker is open, and when.
    fn while_open(&mut self, now_ns: u64) -> Option<(Try, Duration)> {
        let plan = &self.shared.plan;
        self.breaker.next(plan.recovery.breaker.as_ref()?, plan.retry.cap, now_ns, self.chance.f64())
    }

    fn wait(&mut self, what: Try, now_ns: u64, wait: Duration) {
        let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        self.phase = Phase::Waiting(what, now_ns.saturating_add(wait_ns));
    }

    /// An attempt that has run stably closes the breaker.
    fn steady(&mut self) {
        if self.shared.delivery.ran_ns() >= STABLE.as_nanos() as u64 {
            let state = self.breaker.state();
            self.breaker.close();
            self.tell_breaker(state);
        }
    }

    /// Reports the breaker's state, if it was another one.
    fn tell_breaker(&self, former: super::BreakerState) {
        if self.breaker.state() != former {
            self.shared.outlet.breaker(self.breaker.state());
        }
    }

    /// Goes on after an attempt, which is gone already.
    fn ended(&mut self, end: End) -> Step {
        let live = self.shared.plan.input.is_live();
        let shared = &mut self.shared;
        let failure: Failure = match end {
            End::Removed => {
                shared.outlet.stop();
                return Step::Over;
            }
            End::Ended if shared.plan.repeat => {
                shared.delivery.repeat();
                self.queue(Try::Full);
                return Step::Again;
            }
            End::Ended if !live => {
                shared.outlet.end();
                return Step::Over;
            }
            End::Damaged(frames) => {
                let reason = format!("{frames} damaged frames within ten seconds: its pipeline is built anew");
                shared.delivery.take_ran_ns();
                shared.outlet.fault(reason.as_str(), 1, Duration::ZERO, SourceState::Connecting);
                self.queue(Try::Full);
                return Step::Again;
            }
            End::Ended => "the live stream ended".into(),
            End::Stalled(reason) => reason.into(),
            End::Failed(failure) => failure,
        };
        if !live {
            self.shared.outlet.break_off(failure.reason);
            return Step::Over;
        }
        self.failed(failure);
        Step::Again
    }

    /// Reports a failed attempt of a live source, and determines what is next.
    fn failed(&mut self, failure: Failure) {
        let now_ns = self.shared.clock.monotonic_ns();
        let ran = Duration::from_nanos(self.shared.delivery.take_ran_ns());
        let worked = self.shared.delivery.frames() > 0;
        let (plan, chance) = (&self.shared.plan, self.chance.f64());
        let (retry, verdict) = self.backoff.failed_for(failure.patience, worked, &plan.retry, ran, chance);
        let (former, recovery) = (self.breaker.state(), plan.recovery.clone());
        self.breaker.failed(recovery.breaker.as_ref(), retry.attempt, now_ns);
        let (what, wait) = match verdict {
            _ if recovery.after_failing == AfterFailing::StayDown && retry.state == SourceState::Failed => {
                (None, Duration::MAX)
            }
            Verdict::Stays => (Some(Try::Full), retry.wait),
            Verdict::Passes | Verdict::MayPass => {
                let (what, wait) = self.while_open(now_ns).unwrap_or((Try::Full, retry.wait));
                (Some(what), wait)
            }
        };
        let remedy = failure.remedy.filter(|_| verdict != Verdict::Passes);
        self.shared.outlet.fault(Failure { remedy, ..failure }, retry.attempt, wait, retry.state);
        self.tell_breaker(former);
        match what {
            Some(what) => self.wait(what, now_ns, wait),
            None => self.phase = Phase::Down,
        }
    }
}
