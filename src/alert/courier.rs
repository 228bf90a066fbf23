//! When a handler tries which alert: pure, with time and chance as arguments.
//!
//! Alerts of one source are tried in order of acceptance, the critical ones in an order of their own and ahead; each
//! such order is a *line*, and its oldest alert its head. A temporary failure pauses the handler, with full jitter (a
//! random part of a bound that doubles; Brooker, "Exponential Backoff And Jitter", 2015), until the alert is too old.
//! An answer that looks permanent concerns its alert only: that is tried a few times, and the others go on meanwhile;
//! but where several alerts in a row get only such answers, the handler is *stuck*, and pauses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Retry, Settlement};
use crate::config::AlertPlan;
use crate::types::{AlertId, SourceId};

/// Upper bound on a wait requested by a receiver.
const PATIENCE_MAX: Duration = Duration::from_secs(300);
/// Upper bound on all requested waits for one alert where temporary failures count; beyond it they count, too.
const PATIENCE_OF_ALERT_MAX: Duration = Duration::from_secs(900);
/// Refused logins in a row before the handler pauses between alerts.
const LOGINS: u32 = 3;
/// The pause between alerts after refused logins.
pub(super) const LOGIN_PAUSE: Duration = Duration::from_secs(300);
/// Alerts in a row with permanent failures only, from which on the handler is stuck.
pub(super) const REFUSED_MAX: usize = 5;
/// Temporary failures of one head before another one is tried: it may be this alert alone that fails.
const TRIES_OF_HEAD: u32 = 3;
/// Pause between deliveries after an outage, until the queue is empty: fifty alerts per second.
const DRAIN_PAUSE: Duration = Duration::from_millis(20);
/// Failures in a row that count as an outage.
const OUTAGE: u32 = 2;
/// Shortest pause after a temporary failure.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest pause once the process ends.
const HURRIED_MAX: Duration = Duration::from_secs(1);

/// How failed deliveries are tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Retries {
    /// Attempts after answers that look permanent.
    pub(super) attempts: u32,
    /// Pause after such an answer, and first bound of the pause after a temporary failure.
    pub(super) delay: Duration,
    /// Last bound of the pause.
    pub(super) max_delay: Duration,
    /// Age at which an alert is no longer tried; zero: temporary failures count as permanent ones.
    pub(super) max_age: Duration,
    /// The process ends: try now, and often.
    pub(super) hurried: bool,
}

impl Retries {
    pub(super) fn of(plan: &AlertPlan) -> Self {
        Self {
            attempts: plan.attempts.max(1),
            delay: plan.retry_delay,
            max_delay: plan.max_retry_delay.max(plan.retry_delay),
            max_age: plan.max_age,
            hurried: false,
        }
    }
}

/// The alerts that are tried in order: those of a source, the critical ones apart and first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) is_ordinary: bool,
    pub(super) source: SourceId,
}

/// The oldest alert of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) line: Line,
    /// Its number in order of acceptance.
    pub(super) number: u64,
    pub(super) id: AlertId,
    /// When it was accepted, in Unix nanoseconds.
    pub(super) accepted_ns: u64,
}

/// The time, on both clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) monotonic_ns: u64,
    pub(super) unix_ns: u64,
}

/// What the handler does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Try this alert.
    Deliver(Head),
    /// This alert is too old, or of no use any more.
    Expire(Head),
    /// Wait until this time on the monotonic clock, or for another alert.
    Wait(u64),
    /// Wait for an alert.
    Idle,
}

/// One handler's state.
#[derive(Debug, Default)]
pub(super) struct Courier {
    /// Temporary failures since the last success.
    failures: u32,
    /// The handler pauses until then.
    until_ns: u64,
    /// Deliveries so far.
    delivered: u64,
    /// Catching up after an outage.
    is_draining: bool,
    /// Refused logins since the last success.
    logins: u32,
    /// Alerts with a permanent failure since the last success, by number, up to [`REFUSED_MAX`].
    refused: BTreeSet<u64>,
    /// What failed so far, by number; of heads only.
    tried: BTreeMap<u64, Tried>,
    has_hurried: bool,
}

/// An alert's failures.
#[derive(Debug, Clone, Copy, Default)]
struct Tried {
    /// Answers that look permanent.
    refused: u32,
    temporary: u32,
    /// It pauses until then.
    until_ns: u64,
    /// Waits that the receiver asked for.
    waited: Duration,
    /// Deliveries of the handler when it failed last.
    delivered: u64,
}

impl Courier {
    /// Forgets the failures: another version delivers from now on.
    pub(super) fn renew(&mut self) {
        *self = Self { delivered: self.delivered, ..Self::default() };
    }

    /// Whether the handler pauses between alerts, because its login is refused.
    pub(super) fn rests(&self) -> bool {
        self.logins >= LOGINS
    }

    /// Whether a permanent failure is of the handler or its receiver, not of the alert: none of several alerts in a row
    /// got through. Not where temporary failures are counted, too: nothing waits there.
    pub(super) fn is_stuck(&self, retry: Retry, retries: &Retries) -> bool {
        retry.is_permanent() && self.refused.len() >= REFUSED_MAX && !retries.max_age.is_zero()
    }

    /// The failures of an alert so far.
    pub(super) fn attempts(&self, number: u64) -> u32 {
        self.tried.get(&number).map_or(0, |tried| tried.refused + tried.temporary)
    }

    /// What to do next, given the heads of all lines.
    pub(super) fn next(&mut self, heads: &[Head], now: Now, retries: &Retries) -> Step {
        self.tried.retain(|number, _| heads.iter().any(|head| head.number == *number));
        if heads.is_empty() {
            self.is_draining = false;
            return Step::Idle;
        }
        // Where attempts are counted, their pauses are kept.
        if retries.hurried && !self.has_hurried && !retries.max_age.is_zero() && !self.rests() {
            self.until_ns = 0;
        }
        self.has_hurried = retries.hurried;
        let is_old = |head: &&Head| {
            !retries.max_age.is_zero()
                && now.unix_ns.saturating_sub(head.accepted_ns) as u128 >= retries.max_age.as_nanos()
        };
        if let Some(old) = heads.iter().filter(is_old).min_by_key(|head| head.number) {
            return Step::Expire(old.clone());
        }
        if now.monotonic_ns < self.until_ns {
            return Step::Wait(self.until_ns);
        }
        let until = |head: &Head| self.tried.get(&head.number).map_or(0, |tried| tried.until_ns);
        // While nothing gets through, every line has its turn.
        let rounds = |head: &Head| match self.failures {
            0 => 0,
            _ => self.tried.get(&head.number).map_or(0, |tried| tried.temporary / TRIES_OF_HEAD),
        };
        let ready = heads.iter().filter(|head| until(head) <= now.monotonic_ns);
        match ready.min_by_key(|head| (rounds(head), head.line.is_ordinary, head.number)) {
            Some(head) => Step::Deliver(head.clone()),
            None => Step::Wait(heads.iter().map(until).min().unwrap_or_default()),
        }
    }

    /// The alert was delivered.
    pub(super) fn succeeded(&mut self, number: u64, now: Now) {
        self.is_draining |= self.failures >= OUTAGE;
        self.until_ns = if self.is_draining { later(now, DRAIN_PAUSE) } else { 0 };
        (self.failures, self.logins) = (0, 0);
        self.refused.clear();
        self.delivered += 1;
        self.tried.remove(&number);
    }

    /// The delivery of an alert failed. Returns how the handler is done with it, or `None` if it is tried again.
    /// `attempts` is the number of attempts after answers that look permanent; `chance` is in 0..1.
    pub(super) fn failed(
        &mut self,
        number: u64,
        retry: Retry,
        attempts: u32,
        now: Now,
        retries: &Retries,
        chance: f64,
    ) -> Option<Settlement> {
        let mut tried = self.tried.get(&number).copied().unwrap_or_default();
        // Others got through since its last failure: this one alone fails.
        let is_alone = tried.temporary > 0 && self.delivered > tried.delivered;
        tried.delivered = self.delivered;
        if retry.is_permanent() && self.refused.len() < REFUSED_MAX {
            self.refused.insert(number);
        }
        let is_stuck = self.is_stuck(retry, retries);
        let (pause, refused) = match retry {
            Retry::Partly => {
                self.succeeded(number, now);
                return Some(Settlement::GivenUp);
            }
            Retry::Login => {
                self.logins += 1;
                self.until_ns = if self.rests() { later(now, LOGIN_PAUSE) } else { 0 };
                self.tried.remove(&number);
                return Some(Settlement::GivenUp);
            }
            Retry::Never | Retry::Fault if is_stuck => {
                (self.jittered(tried.temporary.max(self.failures), retries, chance), false)
            }
            Retry::Never | Retry::Fault => {
                self.until_ns = if self.is_draining { later(now, DRAIN_PAUSE) } else { 0 };
                (retries.delay, true)
            }
            Retry::After(asked) => {
                let pause = asked.clamp(retries.delay.min(PATIENCE_MAX), PATIENCE_MAX);
                tried.waited += pause;
                (pause, retries.max_age.is_zero() && tried.waited > PATIENCE_OF_ALERT_MAX)
            }
            Retry::Later if retries.max_age.is_zero() => (retries.delay, true),
            Retry::Later => (self.jittered(tried.temporary.max(self.failures), retries, chance), is_alone),
        };
        if refused {
            tried.refused += 1;
        } else {
            tried.temporary += 1;
        }
        if refused && tried.refused >= attempts {
            self.tried.remove(&number);
            return Some(Settlement::GivenUp);
        }
        let until_ns = later(now, pause);
        if !is_stuck && (retry.is_permanent() || is_alone) {
            tried.until_ns = until_ns;
        } else {
            self.failures = self.failures.saturating_add(1);
            self.until_ns = until_ns;
        }
        self.tried.insert(number, tried);
        None
    }

    /// The pause after this many temporary failures.
    fn jittered(&self, failures: u32, retries: &Retries, chance: f64) -> Duration {
        let bound = retries.delay.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
        let longest = if retries.hurried { HURRIED_MAX.min(retries.max_delay) } else { retries.max_delay };
        bound.min(longest).mul_f64(chance.clamp(0.0, 1.0)).max(PAUSE_MIN)
    }
}

fn later(now: Now, pause: Duration) -> u64 {
    now.monotonic_ns.saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
