//! Keeps the state of guests for a source that is built anew, and for a later process: saves what has changed, on its own
//! thread, and at the end.
//!
//! The state of strategies on live sources and of handlers beside them is kept: a run that ends by itself begins with
//! none, so that it gives the same alerts twice. A lane waits for the copy of its own space at most, never for a disk.

use std::sync::Arc;
use std::time::Duration;

use super::owner::Owner;
use super::parts::Parts;
use super::versions::module;
use crate::alert::SavedKind;
use crate::config::{HandlerKind, Plan};
use crate::error::{Code, Error};
use crate::own::{Stop, Thread};
use crate::strategy::Strategy;
use crate::types::SourceId;

/// How often changed state is saved: a kill costs the last second at most, of which half is for the write.
const SAVE_EVERY: Duration = Duration::from_millis(500);
/// Longest wait for the thread to end.
const END_WAIT: Duration = Duration::from_millis(500);
/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;

/// The thread; dropping this stops it.
pub(super) struct Keeper {
    thread: Thread,
    parts: Arc<Parts>,
}

impl Keeper {
    /// Starts to save, if there is a journal that keeps values.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(parts: &Arc<Parts>) -> Result<Option<Self>, Error> {
        if !parts.delivery.outbox().is_durable() {
            return Ok(None);
        }
        parts.guests.state().expire(parts.clock.unix_ns() / MS);
        let of_thread = Arc::clone(parts);
        let run = move |stop: Stop| {
            while stop.pause(SAVE_EVERY) {
                // What waits for a medium that fails is for alerts.
                let outbox = of_thread.delivery.outbox();
                if outbox.trouble(of_thread.clock.monotonic_ns()).is_none() {
                    save(&of_thread);
                }
            }
        };
        let thread = Thread::start("state", run);
        let thread = thread.map_err(|e| Error::new(Code::Io, format!("cannot start thread state: {e}")))?;
        Ok(Some(Self { thread, parts: Arc::clone(parts) }))
    }

    /// Stops the thread, and saves what has changed.
    pub(super) fn stop(&mut self) {
        self.thread.join(END_WAIT);
        self.save();
    }

    /// Saves what has changed since the last time.
    pub(super) fn save(&self) {
        save(&self.parts);
    }
}

fn save(parts: &Parts) {
    let outbox = parts.delivery.outbox();
    for (name, contents) in parts.guests.state().changed(parts.clock.unix_ns() / MS) {
        outbox.save(SavedKind::State, &name, contents);
    }
}

impl Parts {
    /// Gives a strategy that starts on `source` what the last one there has left, in this process or in an earlier one, as
    /// a reload does: state in the form of another version is converted by the guest; one that cannot convert it starts
    /// with none.
    pub(super) fn take_over(&self, name: &str, source: &SourceId, instance: &mut dyn Strategy) {
        let state = self.guests.state();
        let Some(former) = state.former(name, source) else { return };
        if *former.version == *instance.version() && former.handed.is_empty() {
            return;
        }
        match instance.resume(&former.version, &former.handed) {
            Ok(()) => {
                let (from, to) = (&*former.version, instance.version());
                tracing::info!(strategy = name, %source, from, to, "takes over the state of the last instance");
            }
            Err(fault) => {
                state.reset(name, source);
                tracing::error!(
                    strategy = name,
                    %source,
                    "starts without the state of the last instance (version {}): {fault}",
                    former.version
                );
            }
        }
    }
}

impl Owner {
    /// Keeps the state that the plan wants kept, and no other.
    pub(super) fn keep_states(&self) {
        let (state, plan) = (self.parts.guests.state(), &*self.plan);
        for strategy in plan.strategies.iter().filter(|s| s.shadow_of.is_none() && module(s).is_some()) {
            let judged = plan.sources.iter().filter(|source| strategy.judges(&source.id));
            for source in judged {
                state.keep(&strategy.name, Some(&source.id), strategy.persist_state && source.input.is_live());
            }
            if !strategy.persist_state {
                state.leave_shared(&strategy.name);
            }
        }
        for handler in &plan.handlers {
            let HandlerKind::Module(module) = &handler.kind else { continue };
            state.keep(&handler.name, None, module.persist_state && has_live(plan));
        }
    }
}

/// Whether a source is live.
pub(super) fn has_live(plan: &Plan) -> bool {
    plan.sources.iter().any(|source| source.input.is_live())
}
