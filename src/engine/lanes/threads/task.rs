//! What runs on a thread of its own or on a shared one, and how its steps are run.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::STEP_MAX;
use crate::types::Clock;

/// What a task panicked with.
pub(in crate::engine::lanes) type Panic = Box<dyn Any + Send>;

/// What a task needs next.
pub(in crate::engine::lanes) enum Turn {
    /// Its next step can follow at once.
    Again,
    /// To be woken, or this much time.
    Wait(Option<Duration>),
    /// Nothing: it is over, by a panic where there is one.
    Over(Option<Panic>),
}

/// Work in steps, of which one runs at a time.
pub(in crate::engine::lanes) trait Task: Send {
    /// Does the next step, if there is one, without waiting for it.
    fn turn(&mut self) -> Turn;
    /// Does what is due because nothing came for as long as it waits.
    fn late(&mut self);
    /// Waits for its next step, at most `limit`; `false` if nothing came. Called on a thread of its own only.
    fn wait(&self, limit: Option<Duration>) -> bool;
    /// Ends. Panics again with what it panicked with.
    fn end(self: Box<Self>, panic: Option<Panic>);
}

/// Does the next step. A panic ends the task; the panic hook has logged it.
pub(super) fn turn(task: &mut dyn Task) -> Turn {
    catch_unwind(AssertUnwindSafe(|| task.turn())).unwrap_or_else(|panic| Turn::Over(Some(panic)))
}

/// Does what is due because nothing came, then the next step.
pub(super) fn late(task: &mut dyn Task) -> Turn {
    let late = catch_unwind(AssertUnwindSafe(|| task.late()));
    late.map_or_else(|panic| Turn::Over(Some(panic)), |()| turn(task))
}

/// Ends a task, which must not end the thread.
pub(super) fn end(task: Box<dyn Task>, panic: Option<Panic>) {
    drop(catch_unwind(AssertUnwindSafe(|| task.end(panic))));
}

/// Runs a task on this thread until it has ended; with `quick_steps`, returns it after so many quick steps in a row.
pub(super) fn run(mut task: Box<dyn Task>, clock: &dyn Clock, quick_steps: Option<u32>) -> Option<Box<dyn Task>> {
    let mut quick = 0;
    while quick_steps.is_none_or(|most| quick < most) {
        let started_ns = clock.monotonic_ns();
        let mut next = turn(&mut *task);
        let spent_ns = clock.monotonic_ns().saturating_sub(started_ns);
        quick = if u128::from(spent_ns) < STEP_MAX.as_nanos() { quick + 1 } else { 0 };
        while let Turn::Wait(limit) = next {
            if task.wait(limit) {
                break;
            }
            next = late(&mut *task);
        }
        if let Turn::Over(panic) = next {
            end(task, panic);
            return None;
        }
    }
    Some(task)
}
