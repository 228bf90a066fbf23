//! Values that survive a restart, and the history of the alerts: what goes to the journal besides alerts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::ledger::GIVE_HINT;
use super::policy::{has_ended, prefix};
use super::{Entry, Outbox, Saved, SavedKind, Settlement};
use crate::telemetry::AlertOutcome;
use crate::types::{Alert, SourceId};

/// Values by kind and name.
pub(super) type SavedValues = BTreeMap<(SavedKind, Arc<str>), Arc<str>>;

impl Outbox {
    /// Keeps the values that an earlier process saved until they are asked for.
    pub(super) fn restore(&self, saved: Vec<Saved>) {
        let values = saved.into_iter().filter_map(|saved| Some(((saved.kind, saved.name), saved.contents?)));
        self.saved.lock().extend(values);
    }

    /// The values of a kind that an earlier process saved, or a predecessor in this one left, and whose name begins so;
    /// each is handed out once.
    pub fn take_saved(&self, kind: SavedKind, prefix: &str) -> BTreeMap<Arc<str>, Arc<str>> {
        let is_meant = |key: &(SavedKind, Arc<str>), _: &mut Arc<str>| key.0 == kind && key.1.starts_with(prefix);
        let mut saved = self.saved.lock();
        saved.extract_if(.., is_meant).map(|((_, name), contents)| (name, contents)).collect()
    }

    /// Leaves values in this process, to be asked for.
    pub(super) fn leave_saved(&self, kind: SavedKind, values: Vec<(Arc<str>, Arc<str>)>) {
        self.saved.lock().extend(values.into_iter().map(|(name, contents)| ((kind, name), contents)));
    }

    /// Forgets the conditions of a removed source, in this process and for later ones.
    pub fn forget_conditions(&self, source: &SourceId) {
        for name in self.take_saved(SavedKind::Condition, &prefix(source)).keys() {
            self.save(SavedKind::Condition, name, None);
        }
    }

    /// Forgets conditions that have ended whatever their window is: nothing has asked for them, as their source is
    /// gone.
    pub(super) fn forget_ended_conditions(&self, unix_ns: u64) {
        let is_ended = |key: &(SavedKind, Arc<str>), contents: &mut Arc<str>| {
            key.0 == SavedKind::Condition && has_ended(contents, unix_ns)
        };
        let ended: Vec<_> = self.saved.lock().extract_if(.., is_ended).map(|((_, name), _)| name).collect();
        ended.iter().for_each(|name| self.save(SavedKind::Condition, name, None));
    }

    /// Whether what is saved outlives this process.
    pub fn is_durable(&self) -> bool {
        self.state().ledger.unwritten_mut().is_some()
    }

    /// Saves a value for a later process, without waiting; `None` removes it. Without a journal it has no effect.
    pub fn save(&self, kind: SavedKind, name: &Arc<str>, contents: Option<Arc<str>>) {
        if let Some(unwritten) = self.state().ledger.unwritten_mut() {
            unwritten.save(kind, name.clone(), contents);
        }
        self.wake();
    }

    /// Settles recovered alerts for handlers that do not exist.
    pub(super) fn settle_absent(&self) {
        let mut state = self.state();
        let (settled, finished) = state.ledger.settle_absent();
        for (handler, count) in &settled {
            self.metrics.undelivered(Settlement::HandlerRemoved.as_str(), *count as u64);
            let what = "alerts of a former run are not delivered: there is no such handler";
            tracing::warn!(%handler, alerts = count, "{what}{GIVE_HINT}");
        }
        self.finish(finished);
        drop(state);
        self.wake();
        self.notify();
    }

    /// Sends a dead letter again, by the handler that did not deliver it, or by another one instead of `from`; it
    /// counts as recovered. `false` if the handler is at it already, does not exist or has no room. Its source may be
    /// gone: it counts in the totals only.
    pub fn resend(&self, alert: &Arc<Alert>, handler: &str, from: Option<&str>) -> bool {
        let now_ns = self.metrics.clock().unix_ns();
        let mut state = self.state();
        let from = from.map(Arc::<str>::from);
        let reopened = state.ledger.reopen(alert.clone(), &handler.into(), from.as_ref(), now_ns);
        if reopened == Some(true) {
            self.count(None, &alert.rule, AlertOutcome::Recovered);
        }
        state.refresh();
        drop(state);
        self.wake();
        reopened.is_some()
    }

    /// Waits until the newest value of this name is written, at most `limit`; returns whether it is: not while it is
    /// owed to a medium that fails. Without a journal there is nothing to wait for.
    pub(super) async fn value_written(&self, kind: SavedKind, name: &Arc<str>, limit: Duration) -> bool {
        let written = async {
            let mut wanted = None;
            loop {
                // Created before the check, so that a change in between wakes it.
                let changed = self.changed.notified();
                if let Some(is_written) = self.is_written(kind, name, &mut wanted) {
                    return is_written;
                }
                changed.await;
            }
        };
        tokio::time::timeout(limit, written).await.unwrap_or(false)
    }

    /// Whether the medium has a value; `None` while it is on its way there. `wanted` is the number of batches with the
    /// one that has it, once it is in one.
    fn is_written(&self, kind: SavedKind, name: &Arc<str>, wanted: &mut Option<u64>) -> Option<bool> {
        let mut state = self.state();
        let Some(unwritten) = state.ledger.unwritten_mut() else { return Some(true) };
        if wanted.is_none() && unwritten.waits(kind, name) {
            return None;
        }
        let (processed, next) = unwritten.batches();
        let wanted = *wanted.get_or_insert(next);
        (processed >= wanted).then(|| unwritten.durable() >= wanted)
    }

    /// Adds an entry to the history, without waiting: it is written with what comes next, or soon. Returns `false` if
    /// it is dropped: the journal is too far behind.
    pub(super) fn log(&self, entry: Entry) -> bool {
        if let Entry::Attempted { id, handler, at_ms, error } = &entry {
            self.note_attempt(id, handler, *at_ms, error);
        }
        let (logged, wakes) = match self.state().ledger.unwritten_mut() {
            Some(unwritten) => (unwritten.log(entry), unwritten.wakes()),
            None => (true, false),
        };
        if wakes {
            self.wake();
        }
        logged
    }
}
