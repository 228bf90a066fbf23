//! The circuit breaker: a guest that keeps failing is skipped for a while, then tried again. Uses frame time.

use std::collections::VecDeque;

pub use crate::types::BreakerState;

/// The number of faults within a minute of frame time that opens it.
pub const FAULTS_MAX: usize = 5;
/// The window in which faults are counted.
const WINDOW_NS: u64 = 60_000_000_000;
/// Initial backoff; doubles with each failed trial.
const BACKOFF_NS: u64 = 10_000_000_000;
/// Maximum backoff.
const BACKOFF_NS_MAX: u64 = 300_000_000_000;

/// Counts faults and decides which calls are admitted.
#[derive(Debug)]
pub struct Breaker {
    state: BreakerState,
    faults: VecDeque<u64>,
    until_ns: u64,
    backoff_ns: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        let faults = VecDeque::with_capacity(FAULTS_MAX);
        Self { state: BreakerState::Closed, faults, until_ns: 0, backoff_ns: BACKOFF_NS }
    }
}

impl Breaker {
    /// Whether a call at `now_ns` is admitted.
    pub fn admits(&mut self, now_ns: u64) -> bool {
        if self.state == BreakerState::Open && now_ns >= self.until_ns {
            self.state = BreakerState::HalfOpen;
        }
        self.state != BreakerState::Open
    }

    /// Records a successful call. Closes the breaker if it was a trial.
    pub fn succeeded(&mut self) {
        if self.state == BreakerState::HalfOpen {
            *self = Self::default();
        }
    }

    /// Records a failed call. Returns how long the breaker stays open if this fault opened it.
    pub fn failed(&mut self, now_ns: u64) -> Option<u64> {
        if self.state == BreakerState::HalfOpen {
            self.backoff_ns = (self.backoff_ns * 2).min(BACKOFF_NS_MAX);
            return Some(self.open(now_ns));
        }
        while self.faults.front().is_some_and(|at| now_ns.saturating_sub(*at) > WINDOW_NS) {
            self.faults.pop_front();
        }
        self.faults.push_back(now_ns);
        (self.faults.len() >= FAULTS_MAX).then(|| self.open(now_ns))
    }

    /// The current state.
    pub fn state(&self) -> BreakerState {
        self.state
    }

    fn open(&mut self, now_ns: u64) -> u64 {
        self.state = BreakerState::Open;
        self.until_ns = now_ns.saturating_add(self.backoff_ns);
        self.faults.clear();
        self.backoff_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn five_faults_within_a_minute_open_it_and_spread_ones_do_not() {
        let mut breaker = Breaker::default();
        for n in 0..20 {
            assert!(breaker.admits(n * 16 * SECOND));
            assert_eq!(breaker.failed(n * 16 * SECOND), None, "fault {n}");
        }
        let mut breaker = Breaker::default();
        for n in 0..4 {
            assert_eq!(breaker.failed(n * SECOND), None);
        }
        assert_eq!(breaker.failed(4 * SECOND), Some(10 * SECOND));
        assert!(!breaker.admits(13 * SECOND));
        assert!(breaker.admits(14 * SECOND));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }

    #[test]
    fn a_failed_trial_doubles_the_backoff_up_to_its_cap_and_a_good_one_closes_it() {
        let mut breaker = Breaker::default();
        (0..4).for_each(|n| assert_eq!(breaker.failed(n), None));
        let mut now = 4;
        let mut waits = vec![breaker.failed(now).unwrap() / SECOND];
        for _ in 0..6 {
            now += BACKOFF_NS_MAX;
            assert!(breaker.admits(now));
            waits.push(breaker.failed(now).unwrap() / SECOND);
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        assert!(breaker.admits(now + BACKOFF_NS_MAX));
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.failed(now), None, "and counts from zero");
    }
}
