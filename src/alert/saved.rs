//! Values that survive a restart, and the history of the alerts: what goes to the journal besides alerts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Entry, Outbox, Saved, SavedKind};

/// Values by kind and name.
pub(super) type SavedValues = BTreeMap<(SavedKind, Arc<str>), Arc<str>>;

impl Outbox {
    /// Keeps the values that an earlier process saved until they are asked for.
    pub(super) fn restore(&self, saved: Vec<Saved>) {
        let values = saved.into_iter().filter_map(|saved| Some(((saved.kind, saved.name), saved.contents?)));
        self.saved.lock().extend(values);
    }

    /// The values of a kind that an earlier process saved, and whose name begins so; each is handed out once.
    pub fn take_saved(&self, kind: SavedKind, prefix: &str) -> BTreeMap<Arc<str>, Arc<str>> {
        let is_meant = |key: &(SavedKind, Arc<str>), _: &mut Arc<str>| key.0 == kind && key.1.starts_with(prefix);
        let mut saved = self.saved.lock();
        saved.extract_if(.., is_meant).map(|((_, name), contents)| (name, contents)).collect()
    }

    /// Whether there is a journal to save values in.
    pub fn keeps_values(&self) -> bool {
        self.state().ledger.unwritten_mut().is_some()
    }

    /// Saves a value for a later process, without waiting; `None` removes it. Without a journal it has no effect.
    pub fn save(&self, kind: SavedKind, name: &Arc<str>, contents: Option<Arc<str>>) {
        if let Some(unwritten) = self.state().ledger.unwritten_mut() {
            unwritten.save(kind, name.clone(), contents);
        }
        self.wake();
    }

    /// Adds an entry to the history, without waiting. Returns `false` if it is dropped: the journal is too far behind.
    pub(super) fn log(&self, entry: Entry) -> bool {
        let logged = self.state().ledger.unwritten_mut().is_none_or(|unwritten| unwritten.log(entry));
        self.wake();
        logged
    }
}
