//! Records what a change has done until its lanes have swapped, and reverts it.

use std::sync::Arc;

use super::source;
use crate::config::SourcePlan;
use crate::engine::owner::{Boards, Owner};
use crate::engine::source::{Built, SourceUnit};
use crate::engine::versions::{Facts, GuestStrategy, Lanes, PendingSwaps};
use crate::guest::{Copies, GuestKind};
use crate::types::SourceId;

/// The effects of a change so far, to be reverted if a later step fails.
pub(super) struct Undo {
    pub(super) boards: Boards,
    /// The lanes of every guest before the change.
    pub(super) lanes: Lanes,
    /// The former facts of each source.
    pub(super) facts: Vec<(SourceId, Option<Facts>)>,
    pub(super) handlers: Vec<Arc<str>>,
    pub(super) pending: PendingSwaps,
    /// Guests that others have replaced.
    pub(super) replaced: Vec<GuestStrategy>,
    pub(super) started: Vec<Arc<SourceUnit>>,
    /// Sources that are built and will replace the running ones of the same names.
    pub(super) built: Vec<(SourcePlan, Built)>,
    /// Sources that were stopped to be replaced, with their rules' state.
    pub(super) stopped: Vec<(Arc<SourceUnit>, Copies)>,
    /// Sources whose backend applied new settings.
    pub(super) changed: Vec<SourcePlan>,
}

impl Undo {
    /// An empty record.
    pub(super) fn new(owner: &Owner) -> Self {
        Self {
            boards: owner.boards.clone(),
            lanes: owner.versions.lanes(),
            facts: Vec::new(),
            handlers: Vec::new(),
            pending: PendingSwaps::default(),
            replaced: Vec::new(),
            started: Vec::new(),
            built: Vec::new(),
            stopped: Vec::new(),
            changed: Vec::new(),
        }
    }
}

impl Owner {
    /// Restores the state before the change.
    pub(super) fn revert(&mut self, undo: Undo) {
        let Undo { boards, lanes, facts, handlers, pending, replaced, started, built, stopped, changed } = undo;
        self.versions.revert(pending);
        for plan in &changed {
            if let Err(error) = self.parts.backends.change(plan) {
                tracing::error!(source = %plan.id, "its former settings were not taken back: {error}");
            }
        }
        for unit in started {
            unit.stop(&self.parts);
            self.units.remove(&unit.route.id);
        }
        for (plan, built) in built {
            built.discard();
            // Its gate has set the limit of the new plan.
            if let Some(running) = source(&self.plan, &plan.id) {
                let policy = self.plan.alerts.of_source(&running.alerts);
                self.parts.delivery.outbox().limit(&plan.id, policy.source_max_per_minute);
            }
        }
        for name in &handlers {
            self.drop_handler(name);
            self.give_back(name, GuestKind::Handler);
        }
        for name in self.boards.without(&boards) {
            self.give_back(name, GuestKind::Strategy);
            self.parts.metrics.remove_strategy(name);
            self.parts.metrics.remove_model(name);
        }
        self.boards = boards;
        for guest in replaced {
            self.versions.strategies.insert(Arc::clone(&guest.name), guest);
        }
        self.versions.set_lanes(lanes);
        for (id, facts) in facts {
            match source(&self.plan, &id) {
                Some(_) => drop(self.parts.guests.learn(&id, facts.unwrap_or_default())),
                None => self.park_source(&id),
            }
        }
        self.keep_states();
        for (old, states) in stopped {
            states.restore();
            let id = old.route.id.clone();
            // A source that fails to restart remains listed as stopped.
            self.units.insert(id.clone(), old);
            if let Err(error) = self.start_anew(&id) {
                tracing::error!(source = %id, "it was taken down and cannot start again: {error}");
            }
        }
        self.publish();
    }

    /// Removes the state of a guest that a failed change added; what was saved of it waits for it again.
    pub(in crate::engine) fn give_back(&self, name: &str, kind: GuestKind) {
        self.parts.guests.state().give_back(name, kind, self.parts.clock.unix_ns() / 1_000_000);
    }
}
