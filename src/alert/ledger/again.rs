//! Alerts that are sent again.

use std::sync::Arc;

use super::{Entry, Ledger, Open, Queue, Settlement};
use crate::types::{Alert, AlertId};

/// The end of a message about the undelivered alerts of a removed handler.
pub(in crate::alert) const GIVE_HINT: &str =
    "; dsengine alerts retry --all --handler OLD --to NEW gives them to another one";

impl Ledger {
    /// Whether a handler is not done with an alert.
    pub(in crate::alert) fn holds(&self, alert: &AlertId, handler: &str) -> bool {
        self.open.get(alert).is_some_and(|open| open.handlers.iter().any(|name| **name == *handler))
    }

    /// Opens a settled alert once more for a handler, which failed to deliver it, or gets it instead of `from`; its age
    /// counts from `now_ns`. Returns whether it was closed; `None` if the handler is at it, or does not exist or has no
    /// room.
    pub(in crate::alert) fn reopen(
        &mut self,
        alert: Arc<Alert>,
        handler: &Arc<str>,
        from: Option<&Arc<str>>,
        now_ns: u64,
    ) -> Option<bool> {
        let bytes = alert.memory_bytes();
        let has_room = |queue: &Queue| queue.held.len() < self.alerts_max && queue.bytes + bytes <= self.bytes_max;
        let is_its = |open: &Open| !open.written || open.handlers.contains(handler);
        if self.open.get(&alert.id).is_some_and(is_its) || !self.queues.get(handler).is_some_and(has_room) {
            return None;
        }
        for name in from.into_iter().chain([handler]) {
            self.left.forget(&alert.id, name);
        }
        if let Some(unwritten) = self.unwritten_mut() {
            let (id, handler, at_ms) = (alert.id.clone(), handler.clone(), now_ns / 1_000_000);
            unwritten.push(Entry::Reopened { id, handler, from: from.cloned(), at_ms });
        }
        if let Some(open) = self.open.get_mut(&alert.id) {
            // Another handler is at it.
            open.handlers.push(handler.clone());
            self.queues.get_mut(handler)?.hold(open);
            return Some(false);
        }
        let (handlers, worst) = (vec![handler.clone()], Settlement::Delivered);
        self.open(Open { number: 0, alert, bytes, handlers, worst, written: true, accepted_ns: now_ns, series: None });
        Some(true)
    }
}
