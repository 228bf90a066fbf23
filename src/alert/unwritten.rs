//! What waits for the journal.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Entry, Saved, SavedKind, UNWRITTEN_MAX};

/// Maximum entries that wait beyond which the history has holes.
const HISTORY_MAX: usize = 2 * UNWRITTEN_MAX;

/// Entries in order, and values.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    entries: VecDeque<Entry>,
    /// The newest value of each name: written once all entries before it are.
    values: BTreeMap<(SavedKind, Arc<str>), Option<Arc<str>>>,
    /// Entries in the batch that is being written.
    taken: usize,
    /// Batches that were completely processed.
    batches: u64,
}

impl Unwritten {
    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    /// Adds an entry of the history; `false` if the journal is too far behind.
    pub(super) fn log(&mut self, entry: Entry) -> bool {
        let fits = self.entries.len() < HISTORY_MAX;
        if fits {
            self.entries.push_back(entry);
        }
        fits
    }

    /// Adds a value for a later process.
    pub(super) fn save(&mut self, kind: SavedKind, name: Arc<str>, contents: Option<Arc<str>>) {
        self.values.insert((kind, name), contents);
    }

    /// Takes the next batch: at most `most` entries, and the values once no entry is left. What a value says of an alert
    /// must not be written before the alert is.
    pub(super) fn take(&mut self, most: usize) -> Vec<Entry> {
        let count = self.entries.len().min(most);
        let mut batch: Vec<Entry> = self.entries.drain(..count).collect();
        if self.entries.is_empty() {
            let values = std::mem::take(&mut self.values).into_iter();
            batch.extend(values.map(|((kind, name), contents)| Entry::Saved(Saved { kind, name, contents })));
        }
        self.taken = batch.len();
        batch
    }

    /// The batch that was taken is completely processed.
    pub(super) fn batch_done(&mut self) {
        self.taken = 0;
        self.batches += 1;
    }

    /// Whether a value waits for the next batch.
    pub(super) fn waits(&self, kind: SavedKind, name: &Arc<str>) -> bool {
        self.values.contains_key(&(kind, name.clone()))
    }

    /// The number of processed batches, and the number once that which is being written is one of them.
    pub(super) fn batches(&self) -> (u64, u64) {
        (self.batches, self.batches + u64::from(self.taken > 0))
    }

    /// Entries and values not written yet.
    pub(super) fn len(&self) -> usize {
        self.entries.len() + self.values.len() + self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_the_entries_before_them_and_the_newest_of_a_name_counts() {
        let mut unwritten = Unwritten::default();
        let entry = |n: u64| Entry::Attempted {
            id: crate::types::AlertId::new(n, [0; 10]),
            handler: "x".into(),
            at_ms: n,
            error: String::new(),
        };
        let value = |contents: Option<&str>| {
            Entry::Saved(Saved { kind: SavedKind::State, name: "a".into(), contents: contents.map(Arc::from) })
        };
        (0..3).for_each(|n| unwritten.push(entry(n)));
        unwritten.save(SavedKind::State, "a".into(), Some("1".into()));
        unwritten.save(SavedKind::State, "a".into(), Some("2".into()));
        assert_eq!(unwritten.take(2), [entry(0), entry(1)]);
        assert_eq!(unwritten.len(), 4, "two are being written, one entry and one value wait");
        let waits = |unwritten: &Unwritten| unwritten.waits(SavedKind::State, &"a".into());
        assert!(waits(&unwritten));
        assert_eq!(unwritten.take(2), [entry(2), value(Some("2"))]);
        assert_eq!((waits(&unwritten), unwritten.batches()), (false, (0, 1)));
        unwritten.batch_done();
        assert_eq!(unwritten.batches(), (1, 1));
        unwritten.save(SavedKind::State, "a".into(), None);
        assert_eq!(unwritten.take(2), [value(None)]);
        unwritten.batch_done();
        assert_eq!(unwritten.len(), 0);
        assert!((0..2 * HISTORY_MAX as u64).filter(|n| unwritten.log(entry(*n))).count() == HISTORY_MAX);
    }
}
