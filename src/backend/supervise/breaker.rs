//! A source's circuit breaker: while it is open, the source's account is left alone. Pure: time and chance are arguments.
//!
//! * **Closed**: every attempt is a full one. It opens after `threshold` failed attempts in a row.
//! * **Open**: the host is asked without user and password, once per longest delay. An answer where there was none, or
//!   the end of the timeout, is followed by one full attempt. A host that answered already when an attempt failed gets no
//!   attempt for answering: it is not what was missing.
//! * **Half open**: that attempt is under way. It closes the breaker once it has run stably; its failure opens it anew.
//!
//! After Michael Nygard, "Release It!" (2007), with probes that cost the account nothing.

use std::time::Duration;

use super::backoff::shortened;
use crate::config::BreakerPlan;
pub use crate::types::BreakerState;

/// What is tried next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// An attempt with everything that the settings hold.
    Full,
    /// Whether the host answers, without user and password.
    Probe,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Breaker {
    state: BreakerState,
    opened_ns: u64,
    /// Whether the host answered the last probe since it is open.
    has_answered: bool,
}

impl Breaker {
    /// Its state.
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// Records a failed full attempt, the last of `failures` in a row. Without a plan it stays closed.
    pub fn failed(&mut self, plan: Option<&BreakerPlan>, failures: u32, now_ns: u64) {
        if self.state == BreakerState::Closed {
            self.has_answered = false;
        }
        self.state = match plan {
            Some(plan) if failures >= plan.threshold => BreakerState::Open,
            _ => BreakerState::Closed,
        };
        self.opened_ns = now_ns;
    }

    /// Records a probe's answer; returns whether a full attempt is due at once.
    pub fn probed(&mut self, answers: bool) -> bool {
        let has_answered = std::mem::replace(&mut self.has_answered, answers);
        answers && !has_answered
    }

    /// A full attempt begins.
    pub fn attempt(&mut self) {
        if self.state == BreakerState::Open {
            self.state = BreakerState::HalfOpen;
        }
    }

    /// The attempt has run stably.
    pub fn close(&mut self) {
        self.state = BreakerState::Closed;
    }

    /// What to try next while it is open, and the time until then; `None` while it is not. `cap` is the longest delay,
    /// `chance` is uniform in 0..1.
    pub fn next(&self, plan: &BreakerPlan, cap: Duration, now_ns: u64, chance: f64) -> Option<(Try, Duration)> {
        if self.state != BreakerState::Open {
            return None;
        }
        let left = plan.timeout.max(cap).saturating_sub(Duration::from_nanos(now_ns.saturating_sub(self.opened_ns)));
        let pause = shortened(cap, chance);
        Some(if left <= pause { (Try::Full, left) } else { (Try::Probe, pause) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const CAP: Duration = Duration::from_secs(10);
    const PLAN: BreakerPlan = BreakerPlan { threshold: 3, timeout: Duration::from_secs(25) };

    #[test]
    fn enough_failures_in_a_row_open_it_and_a_stable_run_closes_it() {
        let mut breaker = Breaker::default();
        breaker.failed(Some(&PLAN), 2, S);
        assert_eq!((breaker.state(), breaker.next(&PLAN, CAP, S, 0.0)), (BreakerState::Closed, None));
        breaker.failed(Some(&PLAN), 3, S);
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker.attempt();
        assert_eq!((breaker.state(), breaker.next(&PLAN, CAP, S, 0.0)), (BreakerState::HalfOpen, None));
        breaker.close();
        breaker.attempt();
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.failed(None, 99, S);
        assert_eq!(breaker.state(), BreakerState::Closed, "it is switched off");
    }

    #[test]
    fn while_it_is_open_it_is_probed_and_at_its_end_there_is_one_full_attempt() {
        let mut breaker = Breaker::default();
        breaker.failed(Some(&PLAN), 3, 100 * S);
        let next = |at: u64| breaker.next(&PLAN, CAP, at * S, 0.0).unwrap();
        assert_eq!(next(100), (Try::Probe, CAP));
        assert_eq!(next(110), (Try::Probe, CAP));
        assert_eq!(next(120), (Try::Full, Duration::from_secs(5)));
        assert_eq!(next(300), (Try::Full, Duration::ZERO));
        assert_eq!(breaker.next(&PLAN, CAP, 100 * S, 1.0), Some((Try::Probe, Duration::from_millis(7_500))));
    }

    #[test]
    fn an_answer_is_followed_by_a_full_attempt_where_there_was_none_before() {
        let mut breaker = Breaker::default();
        breaker.failed(Some(&PLAN), 3, S);
        assert!(!breaker.probed(false) && breaker.probed(true));
        breaker.attempt();
        breaker.failed(Some(&PLAN), 4, S);
        assert!(!breaker.probed(true), "it answered before, and the attempt failed");
        assert!(!breaker.probed(false) && breaker.probed(true), "it was away");
        breaker.close();
        breaker.failed(Some(&PLAN), 3, S);
        assert!(breaker.probed(true), "it opens for another time");
    }

    #[test]
    fn it_stays_open_for_the_longest_delay_at_least() {
        let hasty = BreakerPlan { timeout: Duration::from_secs(1), ..PLAN };
        let mut breaker = Breaker::default();
        breaker.failed(Some(&hasty), 3, 100 * S);
        assert_eq!(breaker.next(&hasty, CAP, 100 * S, 0.0), Some((Try::Full, CAP)));
    }
}
