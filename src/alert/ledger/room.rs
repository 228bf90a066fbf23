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

    /// Notes which queues the alert of a source that waits for room is for. Its source waits for these from now on:
    /// which rules it has is not known before, and the first alert finds room in a full queue.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::check::alert;
    use super::super::Offered;
    use super::*;
    use crate::config::AlertFilter;

    #[test]
    fn a_source_waits_for_the_queues_that_take_its_alerts_only() {
        let mut ledger = Ledger::new(2, UNWRITTEN_BYTES_MAX, false);
        assert!(["x", "y"].iter().all(|name| ledger.add(&Arc::from(*name))));
        ledger.when_full = WhenFull::Block;
        ledger.set_filter("x", AlertFilter { rules: vec!["fire".into()], ..AlertFilter::default() });
        ledger.set_filter("y", AlertFilter { not_rules: vec!["fire".into()], ..AlertFilter::default() });
        let of = |n: u64, source: &str, rule: &str| {
            Arc::new(Alert { source: source.into(), rule: rule.into(), ..(*alert(n, "m")).clone() })
        };
        let room = |ledger: &Ledger| ["one", "two"].map(|source| ledger.has_room(&source.into()));
        for n in 1..4 {
            let fire = of(n, "one", "fire");
            ledger.note_sender(&fire);
            assert!(matches!(ledger.offer(fire, None, true, 0), Offered::Taken { missed, .. } if missed.is_empty()));
        }
        ledger.note_sender(&of(4, "two", "other"));
        assert_eq!((ledger.pending("x"), room(&ledger)), (3, [false, true]));
        // Whose alerts another filter takes is known with the next one.
        ledger.set_filter("x", AlertFilter::default());
        ledger.note_sender(&of(5, "two", "other"));
        assert_eq!(room(&ledger), [true, false]);
        ledger.forget_sender(&"two".into());
        assert_eq!(room(&ledger), [true, true]);
    }
}
