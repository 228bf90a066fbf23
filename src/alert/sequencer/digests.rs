//! The digests that wait: one per rule of a source.

use std::collections::BTreeMap;

use super::super::digest::{Added, Held};
use super::super::sequencer::Times;
use crate::types::{Alert, HeldBy, SourceId};

/// Maximum rules with a digest, over all sources: each has an equal share, so that one with many rules takes no other's.
pub(super) const HELD_MAX: usize = 4_096;

/// A source and one of its rules.
pub(super) type Key = (SourceId, String);

/// Alerts of one rule of one source that wait for their digest.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) held: Held,
    pub(super) ready_ns: u64,
    /// The times of the last one, and the sequencer's time then.
    pub(super) last: (Times, u64),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Digests {
    due: BTreeMap<Key, Due>,
    /// How many are of each source.
    counts: BTreeMap<SourceId, usize>,
}

impl Digests {
    /// Adds an alert to the digest of its rule; a new one is ready at `ready_ns`. `None` if its source has used its
    /// share of those that `sources` have.
    pub(super) fn add(&mut self, alert: &Alert, ready_ns: u64, last: (Times, u64), sources: usize) -> Option<Added> {
        let key = (alert.source.clone(), alert.rule.clone());
        if let Some(due) = self.due.get_mut(&key) {
            due.last = last;
            return Some(due.held.add(alert));
        }
        let count = self.counts.entry(key.0.clone()).or_default();
        if *count >= (HELD_MAX / sources.max(1)).max(1) {
            return None;
        }
        *count += 1;
        self.due.insert(key, Due { held: Held::new(alert, HeldBy::Rate), ready_ns, last });
        Some(Added { is_best: true, unneeded: None })
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Due> {
        let due = self.due.remove(key)?;
        if let Some(count) = self.counts.get_mut(&key.0) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key.0);
            }
        }
        Some(due)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// Whether one is of this source.
    pub(super) fn has(&self, source: &SourceId) -> bool {
        self.counts.contains_key(source)
    }

    /// The first one, by the time at which it is ready.
    pub(super) fn first(&self) -> Option<Key> {
        self.due.iter().min_by_key(|(key, due)| (due.ready_ns, *key)).map(|(key, _)| key.clone())
    }

    /// The next time after `now_ns` at which one is ready.
    pub(super) fn next_ns(&self, now_ns: u64) -> Option<u64> {
        self.due.values().map(|due| due.ready_ns).filter(|at_ns| *at_ns > now_ns).min()
    }

    /// Those that are ready, of the sources that may send, in the order of their times.
    pub(super) fn ready(&self, now_ns: u64, may_send: impl Fn(&SourceId) -> bool) -> Vec<Key> {
        let is_ready = |due: &Due| due.ready_ns <= now_ns;
        // There may be many rules of one source.
        let ready = self.due.iter().filter(|(_, due)| is_ready(due));
        let mut open: Vec<&SourceId> = ready.clone().map(|((source, _), _)| source).collect();
        open.dedup();
        open.retain(|source| may_send(source));
        if open.is_empty() {
            return Vec::new();
        }
        let ready = ready.filter(|((source, _), _)| open.contains(&source));
        let mut keys: Vec<(u64, Key)> = ready.map(|(key, due)| (due.ready_ns, key.clone())).collect();
        keys.sort();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// Moves the times to another clock.
    pub(super) fn move_times(&mut self, moved: impl Fn(u64) -> u64) {
        for due in self.due.values_mut() {
            (due.ready_ns, due.last.1) = (moved(due.ready_ns), moved(due.last.1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::check::alert;
    use crate::alert::digest::At;

    #[test]
    fn the_pictures_that_a_digest_does_not_need_are_named_and_it_keeps_one() {
        let mut digests = Digests::default();
        let pictured = |number| Alert { picture: true, ..(*alert(number, "m")).clone() };
        let last = (Times::default(), 0);
        let (first, other) = (pictured(1), pictured(2));
        assert_eq!(digests.add(&first, 0, last, 1), Some(Added { is_best: true, unneeded: None }));
        let unneeded = Some(other.id.clone());
        assert_eq!(digests.add(&other, 0, last, 1), Some(Added { is_best: false, unneeded }));
        let due = digests.remove(&(first.source.clone(), first.rule.clone())).unwrap();
        assert_eq!(due.held.into_digest(At { pts_ns: 0, unix_ns: 0 }).picture_of, Some(first.id));
    }
}
