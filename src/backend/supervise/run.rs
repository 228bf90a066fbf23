//! A source's thread: takes the steps of its supervision.

use std::sync::Arc;
use std::time::Duration;

use super::Origin;
use super::supervision::{Step, Supervision};
use crate::backend::SourceContext;
use crate::config::SourcePlan;
use crate::types::Clock;

/// How often the thread wakes up while it waits for the next attempt: a changed plan is applied at once.
const TICK: Duration = Duration::from_millis(25);

/// Runs a source until it ends, breaks or is removed. A live source is retried for ever, unless its plan says otherwise.
pub fn run<O: Origin>(origin: O, plan: SourcePlan, clock: Arc<dyn Clock>, context: SourceContext) {
    let SourceContext { outlet, change, stop, hosts } = context;
    let mut supervision = Supervision::new(origin, plan, clock, outlet, change, hosts, fastrand::Rng::new());
    while !stop.requested() {
        match supervision.step() {
            Step::Again => {}
            Step::Pause(wait) => drop(stop.pause(wait.min(TICK))),
            Step::Over => return,
        }
    }
    supervision.remove();
}
