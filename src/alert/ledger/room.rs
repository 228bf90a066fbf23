//! Room for the alerts of sources that wait for it.

use super::{Ledger, UNWRITTEN_BYTES_MAX, UNWRITTEN_MAX};
use crate::config::WhenFull;

impl Ledger {
    /// How many alerts and bytes beyond its limits a queue takes of a source that waits for room: what its last frame
    /// raised, or what waits for the order of several sources.
    pub(super) fn spare(&self, waits: bool) -> (usize, usize) {
        match waits && self.when_full == WhenFull::Block {
            true => (UNWRITTEN_MAX, UNWRITTEN_BYTES_MAX),
            false => (0, 0),
        }
    }

    /// Whether a source that waits for room may go on.
    pub(in crate::alert) fn has_room(&self) -> bool {
        if self.when_full != WhenFull::Block {
            return true;
        }
        let has_room = self.writing < UNWRITTEN_MAX / 2 && self.writing_bytes < UNWRITTEN_BYTES_MAX / 2;
        let mut open = self.queues.values().filter(|queue| !queue.closing);
        has_room && open.all(|queue| queue.held.len() < self.alerts_max && queue.bytes < self.bytes_max)
    }
}
