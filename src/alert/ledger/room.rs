//! Room for the alerts of sources that wait for it.

use super::{Ledger, UNWRITTEN_BYTES_MAX, UNWRITTEN_MAX};
use crate::config::WhenFull;
use crate::types::{Alert, SourceId};

impl Ledger {
    /// How many alerts and bytes beyond its limits a queue takes of a source that waits for room: what its last frame
    /// raised, or what waits for the order of several sources.
    pub(super) fn spare(&self, waits: bool) -> (usize, usize) {
        match waits && self.when_full == WhenFull::Block {
            true => (UNWRITTEN_MAX, UNWRITTEN_BYTES_MAX),
            false => (0, 0),
        }
    }

    /// Notes which queues the alert of a source that waits for room is for. Its source waits for these from now on: which
    /// rules it has is not known before, and the first alert finds room in a full queue.
    pub(in crate::alert) fn note_sender(&mut self, alert: &Alert) {
        for queue in self.queues.values_mut().filter(|queue| queue.wants(alert)) {
            if !queue.senders.contains(&alert.source) {
                queue.senders.insert(alert.source.clone());
            }
        }
    }

    /// Forgets a source that waits for room no more.
    pub(in crate::alert) fn forget_sender(&mut self, source: &SourceId) {
        for queue in self.queues.values_mut() {
            queue.senders.remove(source);
        }
    }

    /// Whether a source that waits for room may go on: in the queues that its alerts are for.
    pub(in crate::alert) fn has_room(&self, source: &SourceId) -> bool {
        if self.when_full != WhenFull::Block {
            return true;
        }
        let has_room = self.writing < UNWRITTEN_MAX / 2 && self.writing_bytes < UNWRITTEN_BYTES_MAX / 2;
        let mut open = self.queues.values().filter(|queue| !queue.closing && queue.senders.contains(source));
        has_room && open.all(|queue| queue.held.len() < self.alerts_max && queue.bytes < self.bytes_max)
    }
}
