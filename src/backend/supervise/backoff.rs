//! Retry delays. Pure: attempt number and random value are arguments.

use std::time::Duration;

use crate::backend::{Patience, SourceState};
use crate::config::RetryPlan;

/// Share of a fixed delay that jitter may subtract. Jitter only shortens: the cap stays an upper bound.
const JITTER: f64 = 0.25;

/// The least share of the first delay that full jitter leaves, so that no source is retried without a pause.
const LEAST: f64 = 0.1;

/// After running this long, the next failure starts again at the first delay. A camera that sends one frame and dies
/// does not reset the backoff.
pub(super) const STABLE: Duration = Duration::from_secs(10);

/// Time between attempts at a source whose settings have to be changed; a longer cap overrides it. Cameras lock an
/// account after a few wrong logins, often for half an hour.
const SLOW: Duration = Duration::from_secs(120);

/// The reaction to a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Failures in a row.
    pub attempt: u32,
    /// Time until the next attempt.
    pub wait: Duration,
    /// The source's state meanwhile.
    pub state: SourceState,
}

/// Counts failures in a row.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    /// Failures that waiting does not fix, since frames last arrived.
    refusals: u32,
}

impl Backoff {
    /// A backoff that continues after so many failures.
    pub fn after(failures: u32) -> Self {
        Self { failures, refusals: 0 }
    }

    /// Records a failed attempt that had delivered frames for `ran`. `chance` is uniform in 0..1.
    pub fn failed(&mut self, plan: &RetryPlan, ran: Duration, chance: f64) -> Retry {
        self.failures = if ran >= STABLE { 1 } else { self.failures.saturating_add(1) };
        if !ran.is_zero() {
            self.refusals = 0;
        }
        let attempt = self.failures;
        if attempt > plan.max_retries {
            return Retry { attempt, wait: at_cap(plan, chance), state: SourceState::Failed };
        }
        Retry { attempt, wait: delay(plan, attempt, chance), state: SourceState::Backoff { attempt } }
    }

    /// The same, with the failure's retry policy. Also returns how it counts; `worked` says whether the source has ever
    /// delivered frames.
    pub fn failed_for(
        &mut self,
        patience: Patience,
        worked: bool,
        plan: &RetryPlan,
        ran: Duration,
        chance: f64,
    ) -> (Retry, Verdict) {
        let retry = self.failed(plan, ran, chance);
        let Some(tries) = tries(patience, worked) else { return (retry, Verdict::Passes) };
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals < tries {
            return (retry, Verdict::MayPass);
        }
        (Retry { wait: slow_pace(plan.cap), state: SourceState::Failed, ..retry }, Verdict::Stays)
    }
}

/// What a failed attempt means for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes by itself: the delay grows up to the cap.
    Passes,
    /// A setting may be wrong: so far as above.
    MayPass,
    /// A setting has to be changed: the slow pace.
    Stays,
}

/// The time between attempts at a source whose settings have to be changed; `cap` is that of its plan.
pub fn slow_pace(cap: Duration) -> Duration {
    SLOW.max(cap)
}

/// Failures in a row from which on the pace is slow; `None` for an outage. After a source has `worked`, its settings are
/// right, but its login may still be rejected.
fn tries(patience: Patience, worked: bool) -> Option<u32> {
    match patience {
        Patience::Outage => None,
        Patience::Setting(_) | Patience::Refused if worked => None,
        Patience::Setting(tries) => Some(tries),
        Patience::Refused | Patience::Login => Some(1),
    }
}

/// The delay before attempt `attempt` (1 = first retry). `chance` is uniform in 0..1.
///
/// An exponential delay has full jitter: it is uniform up to its bound, so that sources which failed together spread
/// evenly (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
fn delay(plan: &RetryPlan, attempt: u32, chance: f64) -> Duration {
    if !plan.exponential {
        return shortened(plan.base.min(plan.cap), chance);
    }
    let doublings = attempt.saturating_sub(1).min(62);
    // Computed as float, so it cannot overflow.
    let grown = plan.base.as_secs_f64() * (1u64 << doublings) as f64;
    spread(plan, Duration::from_secs_f64(grown.min(plan.cap.as_secs_f64())), chance)
}

/// The delay between further attempts of a live source that is out of retries.
fn at_cap(plan: &RetryPlan, chance: f64) -> Duration {
    if plan.exponential { spread(plan, plan.cap, chance) } else { shortened(plan.cap, chance) }
}

/// A delay between the least one and `bound`.
fn spread(plan: &RetryPlan, bound: Duration, chance: f64) -> Duration {
    let least = least(plan);
    least + bound.saturating_sub(least).mul_f64(chance.clamp(0.0, 1.0))
}

/// The shortest delay.
pub(super) fn least(plan: &RetryPlan) -> Duration {
    plan.base.min(plan.cap).mul_f64(LEAST)
}

/// A delay of which chance takes up to a quarter.
pub(super) fn shortened(delay: Duration, chance: f64) -> Duration {
    delay.mul_f64(1.0 - JITTER * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(base_ms: u64, cap_ms: u64, exponential: bool) -> RetryPlan {
        RetryPlan {
            max_retries: 5,
            base: Duration::from_millis(base_ms),
            cap: Duration::from_millis(cap_ms),
            exponential,
            first_frame: Duration::from_secs(8),
            gap: Duration::from_secs(3),
        }
    }

    #[test]
    fn the_longest_delay_doubles_until_the_cap() {
        let plan = plan(500, 10_000, true);
        let delays: Vec<u64> = (1..8).map(|n| delay(&plan, n, 1.0).as_millis() as u64).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    }

    #[test]
    fn chance_spreads_an_exponential_delay_evenly_over_all_of_it() {
        let plan = plan(500, 10_000, true);
        let at = |chance| delay(&plan, 30, chance).as_millis();
        assert_eq!((at(0.0), at(0.5), at(1.0)), (50, 5_025, 10_000));
        assert_eq!(at_cap(&plan, 0.5), Duration::from_millis(5_025));
    }

    #[test]
    fn only_a_stable_run_makes_failures_forgotten() {
        let (mut backoff, plan) = (Backoff::default(), plan(500, 10_000, true));
        let runs = [0, 0, 1, 9, 10, 0, 3600, 9].map(Duration::from_secs);
        assert_eq!(runs.map(|ran| backoff.failed(&plan, ran, 0.5).attempt), [1, 2, 3, 4, 1, 2, 1, 2]);
        let mut later = Backoff::after(3);
        assert_eq!(runs[..2].iter().map(|ran| later.failed(&plan, *ran, 0.5).attempt).collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn out_of_retries_it_is_failed_and_tried_at_the_cap() {
        let (mut backoff, plan) = (Backoff::default(), plan(500, 10_000, true));
        let retries: Vec<Retry> = (0..6).map(|_| backoff.failed(&plan, Duration::ZERO, 1.0)).collect();
        assert_eq!(retries[4].state, SourceState::Backoff { attempt: 5 });
        assert_eq!(retries[5], Retry { attempt: 6, wait: plan.cap, state: SourceState::Failed });
    }

    #[test]
    fn what_does_not_pass_has_one_slow_pace() {
        let plan = plan(500, 10_000, true);
        let waits = |patience, worked, ran: u64| {
            let mut backoff = Backoff::default();
            let mut failed = || backoff.failed_for(patience, worked, &plan, Duration::from_secs(ran), 1.0);
            std::array::from_fn::<_, 7, _>(|_| failed().0.wait.as_millis())
        };
        let outage = [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000];
        let slow = 120_000;
        assert_eq!(waits(Patience::Login, false, 0), [slow; 7]);
        assert_eq!(waits(Patience::Login, true, 9), [slow; 7], "a login that has worked may be refused for ever");
        assert_eq!(waits(Patience::Refused, false, 0), [slow; 7]);
        assert_eq!(waits(Patience::Refused, true, 0), outage, "its path has worked");
        assert_eq!(waits(Patience::Setting(3), false, 0), [500, 1_000, slow, slow, slow, slow, slow]);
        assert_eq!(waits(Patience::Setting(3), true, 0), outage);
        assert_eq!(waits(Patience::Outage, false, 0), outage);
        assert_eq!(slow_pace(Duration::from_secs(300)), Duration::from_secs(300), "a longer cap holds");
    }

    #[test]
    fn what_may_pass_is_told_apart_from_what_does_and_what_stays() {
        let plan = plan(500, 10_000, true);
        let mut backoff = Backoff::default();
        let mut failed = |patience| backoff.failed_for(patience, false, &plan, Duration::ZERO, 0.0);
        let (retry, verdict) = failed(Patience::Setting(2));
        assert_eq!((retry.state, verdict), (SourceState::Backoff { attempt: 1 }, Verdict::MayPass));
        assert_eq!(failed(Patience::Outage).1, Verdict::Passes);
        let (retry, verdict) = failed(Patience::Setting(2));
        assert_eq!((retry.state, verdict), (SourceState::Failed, Verdict::Stays), "an outage between changes nothing");
    }

    #[test]
    fn fixed_delays_stay_fixed() {
        let plan = plan(700, 10_000, false);
        assert!((1..50).all(|n| delay(&plan, n, 0.0) == Duration::from_millis(700)));
        assert_eq!(delay(&plan, 1, 1.0), Duration::from_millis(525));
        assert_eq!(at_cap(&plan, 0.0), Duration::from_secs(10), "out of retries, the cap is the delay");
    }

    #[test]
    fn whatever_is_drawn_the_cap_holds_and_the_delay_never_vanishes() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let plan = plan(rng.u64(1..60_000), rng.u64(1..600_000), rng.bool());
            let attempt = if rng.bool() { rng.u32(1..40) } else { rng.u32(..) };
            let chance = rng.f64();
            let wait = delay(&plan, attempt, chance);
            assert!(wait <= plan.cap, "{wait:?} is over the cap of {plan:?} at attempt {attempt}");
            assert!(wait + Duration::from_micros(1) >= least(&plan), "{wait:?} is under {:?}", least(&plan));
            assert!(delay(&plan, attempt.saturating_add(1), chance) >= wait, "a later attempt waits no less");
        }
    }
}
