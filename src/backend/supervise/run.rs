//! A source's thread: runs attempt after attempt.

use std::sync::Arc;
use std::time::Duration;

use super::deliver::Delivery;
use super::pump::{End, Pump, take_change};
use super::{Backoff, Gaps, Origin, Retry};
use crate::backend::{Failure, Outlet, SourceContext, SourceState};
use crate::config::SourcePlan;
use crate::types::Clock;

/// How often the thread wakes up while it waits for the next attempt.
const TICK: Duration = Duration::from_millis(25);

/// Runs a source until it ends, breaks or is removed. A live source is retried for ever.
pub fn run<O: Origin>(mut origin: O, mut plan: SourcePlan, clock: Arc<dyn Clock>, context: SourceContext) {
    let outlet = Arc::clone(&context.outlet);
    let mut delivery = Delivery::new(&plan, Arc::clone(&outlet), Arc::clone(&clock));
    let (mut backoff, mut gaps) = (Backoff::default(), Gaps::default());
    let live = plan.input.is_live();
    while !context.stop.requested() {
        // A failed source stays `Failed` until it delivers a frame.
        if !matches!(outlet.state(), Some(SourceState::Failed | SourceState::Running)) {
            outlet.enter(SourceState::Connecting);
        }
        let pump = Pump {
            origin: &mut origin,
            plan: &mut plan,
            delivery: &mut delivery,
            outlet: &outlet,
            change: &context.change,
            clock: &*clock,
            stop: &context.stop,
            gaps: &mut gaps,
        };
        let failure: Failure = match pump.attempt() {
            End::Removed => break,
            End::Ended if plan.repeat => {
                delivery.repeat();
                continue;
            }
            End::Ended if !live => return outlet.end(),
            End::Ended => "the live stream ended".into(),
            End::Stalled(reason) => {
                if outlet.state() == Some(SourceState::Running) {
                    outlet.enter(SourceState::Stalled);
                }
                reason.into()
            }
            End::Failed(failure) => failure,
        };
        if !live {
            return outlet.break_off(failure.reason);
        }
        let ran = Duration::from_nanos(delivery.take_ran_ns());
        let worked = delivery.frames() > 0;
        let (retry, stays) = backoff.failed_for(failure.patience, worked, &plan.retry, ran, fastrand::f64());
        let remedy = failure.remedy.filter(|_| stays);
        wait(retry, Failure { remedy, ..failure }, &mut plan, &context, &outlet, &*clock);
        delivery.change(&plan);
    }
    outlet.stop();
}

/// Reports a failed attempt and waits for the next.
fn wait(
    retry: Retry,
    failure: Failure,
    plan: &mut SourcePlan,
    context: &SourceContext,
    outlet: &Outlet,
    clock: &dyn Clock,
) {
    let begun = clock.monotonic_ns();
    outlet.fault(failure, retry.attempt, retry.wait, retry.state);
    let after = |wait: Duration| begun.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
    let mut until = after(retry.wait);
    while !context.stop.requested() && clock.monotonic_ns() < until {
        context.stop.pause(TICK);
        if take_change(&context.change, plan) {
            until = until.min(after(plan.retry.cap));
        }
    }
}
