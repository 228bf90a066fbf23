//! What waits for the journal.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{BATCH_MAX, Entry, Saved, SavedKind, UNWRITTEN_MAX};

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
    /// Batches of these that the medium has; those after them are owed.
    durable: u64,
    /// Entries that are decisions of the policy.
    decisions: usize,
    /// Whether somebody waits for the decisions, too.
    is_hurried: bool,
}

impl Unwritten {
    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    /// Adds an entry of the history; `false` if the journal is too far behind.
    pub(super) fn log(&mut self, entry: Entry) -> bool {
        let fits = self.entries.len() < HISTORY_MAX;
        if fits {
            self.decisions += usize::from(matches!(entry, Entry::Decided(_)));
            self.entries.push_back(entry);
        }
        fits
    }

    /// Adds a value for a later process.
    pub(super) fn save(&mut self, kind: SavedKind, name: Arc<str>, contents: Option<Arc<str>>) {
        self.values.insert((kind, name), contents);
    }

    /// Takes the next batch: at most `most` entries, and the values once no entry is left. What a value says of an
    /// alert must not be written before the alert is.
    pub(super) fn take(&mut self, most: usize) -> Vec<Entry> {
        let count = self.entries.len().min(most);
        let mut batch: Vec<Entry> = self.entries.drain(..count).collect();
        self.decisions -= batch.iter().filter(|entry| matches!(entry, Entry::Decided(_))).count();
        if self.entries.is_empty() {
            let values = std::mem::take(&mut self.values).into_iter();
            batch.extend(values.map(|((kind, name), contents)| Entry::Saved(Saved { kind, name, contents })));
        }
        self.taken = batch.len();
        batch
    }

    /// The batch that was taken is completely processed: the medium has it, or it is owed.
    pub(super) fn batch_done(&mut self, is_owed: bool) {
        self.taken = 0;
        self.batches += 1;
        if !is_owed {
            self.durable = self.batches;
        }
    }

    /// The medium has what was owed.
    pub(super) fn paid(&mut self) {
        self.durable = self.batches;
    }

    /// From now on nothing waits for more to be written with it.
    pub(super) fn hurry(&mut self) {
        self.is_hurried = true;
    }

    /// Whether only decisions of the policy wait, which gather: nobody waits for them.
    pub(super) fn gathers(&self) -> bool {
        let is_log = self.entries.len() == self.decisions && self.values.is_empty();
        is_log && (1..BATCH_MAX).contains(&self.decisions) && !self.is_hurried
    }

    /// Whether the journal's thread must know of the decision that was logged last: the first one of a batch, and those
    /// that do not gather.
    pub(super) fn wakes(&self) -> bool {
        self.decisions == 1 || !self.gathers()
    }

    /// Whether a value waits for the next batch.
    pub(super) fn waits(&self, kind: SavedKind, name: &Arc<str>) -> bool {
        self.values.contains_key(&(kind, name.clone()))
    }

    /// The number of processed batches, and the number once that which is being written is one of them.
    pub(super) fn batches(&self) -> (u64, u64) {
        (self.batches, self.batches + u64::from(self.taken > 0))
    }

    /// The number of batches that the medium has, with all before them.
    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    /// Entries and values not written yet.
    pub(super) fn len(&self) -> usize {
        self.entries.len() + self.values.len() + self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Decided, Settlement};

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
        unwritten.batch_done(false);
        assert_eq!(unwritten.batches(), (1, 1));
        unwritten.save(SavedKind::State, "a".into(), None);
        assert_eq!(unwritten.take(2), [value(None)]);
        unwritten.batch_done(false);
        assert_eq!(unwritten.len(), 0);
        assert!((0..2 * HISTORY_MAX as u64).filter(|n| unwritten.log(entry(*n))).count() == HISTORY_MAX);
    }

    #[test]
    fn decisions_gather_and_everything_else_is_written_at_once() {
        let decision = || {
            let (id, source) = (crate::types::AlertId::new(0, [0; 10]), "gate".into());
            Entry::Decided(Arc::new(Decided { source, rule: "r".into(), at_ms: 0, id, contents: "{}".into() }))
        };
        let mut unwritten = Unwritten::default();
        assert!(!unwritten.gathers(), "nothing waits");
        // The first one starts the wait; the others wake nobody until a batch is full.
        let woken: Vec<usize> = (0..BATCH_MAX)
            .filter(|_| {
                assert!(unwritten.log(decision()));
                unwritten.wakes()
            })
            .collect();
        assert_eq!(woken, [0, BATCH_MAX - 1]);
        assert!(!unwritten.gathers(), "the batch is full");
        assert_eq!(unwritten.take(BATCH_MAX).len(), BATCH_MAX);
        unwritten.log(decision());
        assert!(unwritten.gathers());
        unwritten.save(SavedKind::State, "a".into(), None);
        assert!(!unwritten.gathers() && unwritten.wakes(), "a value does not wait");
        unwritten.take(BATCH_MAX);
        unwritten.log(decision());
        let how = Settlement::Delivered;
        unwritten.push(Entry::Settled { id: crate::types::AlertId::new(0, [0; 10]), handler: "x".into(), how });
        assert!(!unwritten.gathers(), "what became of an alert does not wait");
        unwritten.take(BATCH_MAX);
        unwritten.hurry();
        unwritten.log(decision());
        assert!(!unwritten.gathers() && unwritten.wakes(), "the process ends");
    }
}
