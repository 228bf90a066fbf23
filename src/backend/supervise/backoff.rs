//! Retry delays. Pure: attempt number and random value are arguments.

use std::time::Duration;

use crate::backend::{Patience, SourceState};
use crate::config::RetryPlan;

/// Share of a delay that jitter may subtract, so that cameras which failed together do not reconnect together. Jitter
/// only shortens: the cap stays an upper bound, and delays at the cap still spread.
const JITTER: f64 = 0.25;

/// After running this long, the next failure starts again at the first delay. A camera that sends one frame and dies
/// does not reset the backoff.
const STABLE: Duration = Duration::from_secs(10);

/// Times between attempts after a failure that needs a change by the user, from the first to the last, which stays; a
/// longer cap overrides them. Jitter takes less than the distance of two, so [`pace`] finds the one that was meant.
const REFUSED_RETRIES: [Duration; 4] =
    [Duration::from_secs(30), Duration::from_secs(60), Duration::from_secs(2 * 60), Duration::from_secs(5 * 60)];

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

    /// The same, with the failure's retry policy. Also returns whether it counts as one that waiting does not fix;
    /// `worked` says whether the source has ever delivered frames.
    pub fn failed_for(
        &mut self,
        patience: Patience,
        worked: bool,
        plan: &RetryPlan,
        ran: Duration,
        chance: f64,
    ) -> (Retry, bool) {
        let retry = self.failed(plan, ran, chance);
        let Some(tries) = tries(patience, worked) else { return (retry, false) };
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals < tries {
            return (retry, true);
        }
        let [first @ .., last] = REFUSED_RETRIES;
        let wait = match patience {
            // A camera locks the account after a few wrong logins, often for half an hour.
            Patience::Login(_) => last,
            _ => first.get((self.refusals - tries) as usize).copied().unwrap_or(last),
        };
        (Retry { wait: shortened(wait.max(plan.cap), chance), state: SourceState::Failed, ..retry }, true)
    }
}

/// The longest time until the next attempt of a source that needs a change and waits `retry_in`, jitter left out.
/// `cap` is that of its plan.
pub fn pace(retry_in: Duration, cap: Duration) -> Duration {
    REFUSED_RETRIES.into_iter().map(|step| step.max(cap)).find(|step| *step >= retry_in).unwrap_or(retry_in)
}

/// Maximum attempts in a row; `None` for an outage. After a source has `worked`, its settings are right, but its login
/// may still be rejected.
fn tries(patience: Patience, worked: bool) -> Option<u32> {
    match patience {
        Patience::Outage => None,
        Patience::Setting(_) if worked => None,
        Patience::Setting(tries) | Patience::Login(tries) => Some(tries),
    }
}

/// The delay before attempt `attempt` (1 = first retry). `chance` is uniform in 0..1.
fn delay(plan: &RetryPlan, attempt: u32, chance: f64) -> Duration {
    let doublings = if plan.exponential { attempt.saturating_sub(1).min(62) } else { 0 };
    // Computed as float, so it cannot overflow.
    let grown = plan.base.as_secs_f64() * (1u64 << doublings) as f64;
    shortened(Duration::from_secs_f64(grown.min(plan.cap.as_secs_f64())), chance)
}

/// The delay between further attempts of a live source that is out of retries.
fn at_cap(plan: &RetryPlan, chance: f64) -> Duration {
    shortened(plan.cap, chance)
}

fn shortened(delay: Duration, chance: f64) -> Duration {
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
    fn delays_double_until_the_cap() {
        let plan = plan(500, 10_000, true);
        let delays: Vec<u64> = (1..8).map(|n| delay(&plan, n, 0.0).as_millis() as u64).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    }

    #[test]
    fn only_a_stable_run_makes_failures_forgotten() {
        let (mut backoff, plan) = (Backoff::default(), plan(500, 10_000, true));
        let runs = [0, 0, 1, 9, 10, 0, 3600, 9].map(Duration::from_secs);
        assert_eq!(runs.map(|ran| backoff.failed(&plan, ran, 0.5).attempt), [1, 2, 3, 4, 1, 2, 1, 2]);
    }

    #[test]
    fn out_of_retries_it_is_failed_and_tried_at_the_cap() {
        let (mut backoff, plan) = (Backoff::default(), plan(500, 10_000, true));
        let retries: Vec<Retry> = (0..6).map(|_| backoff.failed(&plan, Duration::ZERO, 0.0)).collect();
        assert_eq!(retries[4].state, SourceState::Backoff { attempt: 5 });
        assert_eq!(retries[5], Retry { attempt: 6, wait: plan.cap, state: SourceState::Failed });
    }

    #[test]
    fn what_does_not_pass_is_tried_a_few_times_and_then_ever_more_rarely() {
        let plan = plan(500, 10_000, true);
        let waits = |patience, worked, ran: u64| {
            let mut backoff = Backoff::default();
            let mut failed = || backoff.failed_for(patience, worked, &plan, Duration::from_secs(ran), 0.0);
            std::array::from_fn::<_, 7, _>(|_| failed().0.wait.as_secs())
        };
        assert_eq!(waits(Patience::Login(3), false, 0), [0, 1, 300, 300, 300, 300, 300]);
        assert_eq!(waits(Patience::Login(3), true, 0), [0, 1, 300, 300, 300, 300, 300], "refused is refused");
        assert_eq!(waits(Patience::Setting(3), false, 0), [0, 1, 30, 60, 120, 300, 300]);
        assert_eq!(waits(Patience::Setting(3), true, 0), [0, 1, 2, 4, 8, 10, 10], "it has worked as it is");
        assert_eq!(waits(Patience::Outage, false, 0), [0, 1, 2, 4, 8, 10, 10]);
        assert_eq!(waits(Patience::Login(3), true, 10), [0; 7], "it worked in between");
        let mut mixed = Backoff::default();
        let mut failed = |patience| mixed.failed_for(patience, false, &plan, Duration::ZERO, 0.0);
        let (retry, counts) = failed(Patience::Login(2));
        assert_eq!((retry.state, counts), (SourceState::Backoff { attempt: 1 }, true));
        assert!(!failed(Patience::Outage).1);
        let (retry, _) = failed(Patience::Login(2));
        assert_eq!(
            (retry.wait, retry.state),
            (Duration::from_secs(300), SourceState::Failed),
            "an outage between forgives nothing"
        );
    }

    #[test]
    fn the_pace_that_is_shown_is_the_one_that_was_meant() {
        for cap in [0, 10, 40, 1_000].map(Duration::from_secs) {
            for step in REFUSED_RETRIES.map(|step| step.max(cap)) {
                for chance in [0.0, 0.5, 1.0] {
                    let shown = pace(shortened(step, chance), cap);
                    assert!(shown <= step && shown.as_secs_f64() >= step.as_secs_f64() * 0.75, "{step:?}: {shown:?}");
                    assert!(cap.as_secs() == 40 || shown == step, "{step:?}: {shown:?}");
                }
            }
        }
    }

    #[test]
    fn fixed_delays_stay_fixed() {
        let plan = plan(700, 10_000, false);
        assert!((1..50).all(|n| delay(&plan, n, 0.0) == Duration::from_millis(700)));
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
            let floor = plan.base.min(plan.cap).mul_f64(1.0 - JITTER);
            assert!(wait + Duration::from_micros(1) >= floor, "{wait:?} is under {floor:?}");
            assert!(delay(&plan, attempt.saturating_add(1), chance) >= wait, "a later attempt waits no less");
        }
    }

    #[test]
    fn chance_spreads_the_delays_even_at_the_cap() {
        let plan = plan(500, 10_000, true);
        assert_eq!(delay(&plan, 30, 0.0), Duration::from_secs(10));
        assert_eq!(delay(&plan, 30, 1.0), Duration::from_millis(7500));
    }
}
