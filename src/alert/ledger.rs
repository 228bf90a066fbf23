//! The outbox's state as plain values: no locks, clocks or metrics.
//!
//! An alert is *open* from its acceptance until every handler has settled it. It is *written* once its journal entry
//! is; only then does it enter the handlers' queues. Queues are keyed by handler name and ordered by acceptance.

mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::unwritten::Unwritten;
use super::{Entry, Pending, Settlement};
use crate::config::AlertFilter;
use crate::telemetry::SourceMetrics;
use crate::types::{Alert, AlertId, SourceId};

/// Maximum bytes of alerts queued per handler.
pub const OUTBOX_BYTES_MAX: usize = 64 << 20;
/// Maximum alerts queued for the journal; beyond it new ones are refused.
pub const UNWRITTEN_MAX: usize = 4_096;
/// Maximum bytes of alerts queued for the journal.
pub const UNWRITTEN_BYTES_MAX: usize = 16 << 20;

/// Why an alert is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// No handler that wants it has room.
    #[error("every handler's queue is full: {alerts} alerts or {bytes} bytes")]
    Queues {
        /// Maximum alerts per handler.
        alerts: usize,
        /// Maximum bytes per handler.
        bytes: usize,
    },
    /// The journal's queue is full.
    #[error("{waiting} alerts wait to be written to the journal, which is the most")]
    Journal {
        /// Alerts queued.
        waiting: usize,
    },
}

/// The result of [`Ledger::offer`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// The alert is open; the queues of `missed` were full. `finished` if no handler gets it.
    Taken { missed: Vec<Arc<str>>, written: bool, finished: bool },
    /// An alert with this id is open already.
    Known,
    /// A queue is full.
    Refused(NoRoom),
}

/// An alert that has been closed.
pub(super) struct Finished {
    pub(super) alert: Arc<Alert>,
    /// At least one handler did not receive it.
    pub(super) failed: bool,
    /// Its source's series; `None` for a recovered alert whose source does not exist.
    pub(super) series: Option<SourceMetrics>,
}

/// The effect of a written batch.
#[derive(Default)]
pub(super) struct Written {
    /// Alerts accepted by it, in order.
    pub(super) accepted: Vec<(Arc<Alert>, Option<SourceMetrics>)>,
    pub(super) finished: Vec<Finished>,
}

pub(super) struct Ledger {
    pub(super) alerts_max: usize,
    pub(super) bytes_max: usize,
    /// Whether there is a journal.
    durable: bool,
    /// Whether all configured handlers were added; until then open alerts wait for missing handlers.
    complete: bool,
    queues: BTreeMap<Arc<str>, Queue>,
    open: HashMap<AlertId, Open>,
    /// Number of acceptances, which is the next alert's number.
    accepted: u64,
    /// Number of queues added so far.
    added: u64,
    unwritten: Unwritten,
    /// Alerts not written yet, including those in the current batch.
    writing: usize,
    writing_bytes: usize,
}

struct Queue {
    /// Written alerts, by number.
    waiting: BTreeMap<u64, Arc<Alert>>,
    /// Alerts that occupy room, queued or not written yet.
    held: usize,
    bytes: usize,
    /// Being removed: takes no new alerts.
    closing: bool,
    filter: AlertFilter,
    added: u64,
}

struct Open {
    number: u64,
    alert: Arc<Alert>,
    bytes: usize,
    handlers: Vec<Arc<str>>,
    failed: bool,
    written: bool,
    series: Option<SourceMetrics>,
}

impl Queue {
    /// Whether this alert is for its handler.
    fn wants(&self, alert: &Alert) -> bool {
        !self.closing && self.filter.passes(alert)
    }

    fn hold(&mut self, open: &Open) {
        self.held += 1;
        self.bytes += open.bytes;
        if open.written {
            self.waiting.insert(open.number, open.alert.clone());
        }
    }
}

impl Open {
    fn is_finished(&self) -> bool {
        self.written && self.handlers.is_empty()
    }

    fn finish(self) -> Finished {
        Finished { alert: self.alert, failed: self.failed, series: self.series }
    }
}

impl Ledger {
    pub(super) fn new(alerts_max: usize, bytes_max: usize, durable: bool) -> Self {
        Self {
            alerts_max,
            bytes_max,
            durable,
            complete: !durable,
            queues: BTreeMap::new(),
            open: HashMap::new(),
            accepted: 0,
            added: 0,
            unwritten: Unwritten::default(),
            writing: 0,
            writing_bytes: 0,
        }
    }

    /// Adds a handler's queue, with the open alerts for its name; `false` if it exists already.
    pub(super) fn add(&mut self, name: &Arc<str>) -> bool {
        if self.queues.contains_key(name) {
            return false;
        }
        self.added += 1;
        let (waiting, filter) = (BTreeMap::new(), AlertFilter::default());
        let mut queue = Queue { waiting, held: 0, bytes: 0, closing: false, filter, added: self.added };
        for open in self.open.values().filter(|open| open.handlers.contains(name)) {
            queue.hold(open);
        }
        self.queues.insert(name.clone(), queue);
        true
    }

    /// Names of handlers with a queue, in the order in which they were added.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.queues.iter().map(|(name, queue)| (queue.added, name.clone())).collect();
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// Sets which alerts a handler gets from now on; its queued ones stay.
    pub(super) fn set_filter(&mut self, handler: &str, filter: AlertFilter) {
        if let Some(queue) = self.queues.get_mut(handler) {
            queue.filter = filter;
        }
    }

    /// Number of handlers that want this alert.
    pub(super) fn receivers(&self, alert: &Alert) -> usize {
        self.queues.values().filter(|queue| queue.wants(alert)).count()
    }

    /// Opens an alert for every handler that wants it and has room.
    pub(super) fn offer(&mut self, alert: Arc<Alert>, series: Option<SourceMetrics>) -> Offered {
        if self.open.contains_key(&alert.id) {
            return Offered::Known;
        }
        let bytes = alert.memory_bytes();
        let behind = self.writing >= UNWRITTEN_MAX || self.writing_bytes + bytes > UNWRITTEN_BYTES_MAX;
        if self.durable && behind {
            return Offered::Refused(NoRoom::Journal { waiting: self.writing });
        }
        let fits = |queue: &Queue| queue.held < self.alerts_max && queue.bytes + bytes <= self.bytes_max;
        let receivers = self.queues.iter().filter(|(_, queue)| queue.wants(&alert));
        let (room, full): (Vec<_>, Vec<_>) = receivers.partition(|(_, queue)| fits(queue));
        let handlers: Vec<Arc<str>> = room.into_iter().map(|(name, _)| name.clone()).collect();
        let missed: Vec<Arc<str>> = full.into_iter().map(|(name, _)| name.clone()).collect();
        if handlers.is_empty() && !missed.is_empty() {
            return Offered::Refused(NoRoom::Queues { alerts: self.alerts_max, bytes: self.bytes_max });
        }
        self.journal_acceptance(&alert, &handlers, &missed);
        let written = !self.durable;
        if !written {
            self.writing += 1;
            self.writing_bytes += bytes;
        }
        let failed = !missed.is_empty();
        self.open(Open { number: 0, alert, bytes, handlers, failed, written, series }, missed)
    }

    fn journal_acceptance(&mut self, alert: &Arc<Alert>, handlers: &[Arc<str>], missed: &[Arc<str>]) {
        if !self.durable {
            return;
        }
        let all = handlers.iter().chain(missed).cloned().collect();
        self.unwritten.push(Entry::Accepted { alert: alert.clone(), handlers: all });
        for handler in missed {
            let (id, handler) = (alert.id.clone(), handler.clone());
            self.unwritten.push(Entry::Settled { id, handler, how: Settlement::QueueFull });
        }
    }

    fn open(&mut self, mut open: Open, missed: Vec<Arc<str>>) -> Offered {
        open.number = self.accepted;
        self.accepted += 1;
        for name in &open.handlers {
            if let Some(queue) = self.queues.get_mut(name) {
                queue.hold(&open);
            }
        }
        let (written, finished) = (open.written, open.is_finished());
        if !finished {
            self.open.insert(open.alert.id.clone(), open);
        }
        Offered::Taken { missed, written, finished }
    }

    /// Reopens an alert from an earlier process; `false` if it is open already or has no handlers.
    pub(super) fn recover(&mut self, pending: Pending) -> bool {
        let Pending { alert, handlers, failed } = pending;
        if handlers.is_empty() || self.open.contains_key(&alert.id) {
            return false;
        }
        let bytes = alert.memory_bytes();
        self.open(Open { number: 0, alert, bytes, handlers, failed, written: true, series: None }, Vec::new());
        true
    }

    /// Settles open alerts for handlers that do not exist. Returns the number per handler, and the alerts closed by it.
    pub(super) fn settle_absent(&mut self) -> (BTreeMap<Arc<str>, usize>, Vec<Finished>) {
        self.complete = true;
        let absent = self.open.values().flat_map(|open| &open.handlers).filter(|name| !self.queues.contains_key(*name));
        let absent: BTreeSet<Arc<str>> = absent.cloned().collect();
        let (mut missed, mut finished) = (BTreeMap::new(), Vec::new());
        for name in absent {
            let (count, settled) = self.remove(&name);
            missed.insert(name, count);
            finished.extend(settled);
        }
        (missed, finished)
    }

    /// Assigns `series` to open alerts of `source` without one. Returns those alerts.
    pub(super) fn adopt(&mut self, source: &SourceId, series: &SourceMetrics) -> Vec<Arc<Alert>> {
        let orphans = self.open.values_mut().filter(|open| open.series.is_none() && open.alert.source == *source);
        orphans
            .map(|open| {
                open.series = Some(series.clone());
                open.alert.clone()
            })
            .collect()
    }

    /// The oldest written alert that `handler` has not settled.
    pub(super) fn head(&self, handler: &str) -> Option<Arc<Alert>> {
        self.queues.get(handler)?.waiting.first_key_value().map(|(_, alert)| alert.clone())
    }

    /// Settles an alert for `handler`; `None` if it has settled it already or was not among its handlers.
    pub(super) fn settle(&mut self, handler: &str, id: &AlertId, how: Settlement) -> Option<Option<Finished>> {
        let open = self.open.get_mut(id)?;
        let at = open.handlers.iter().position(|name| **name == *handler)?;
        let handler = open.handlers.swap_remove(at);
        open.failed |= how != Settlement::Delivered;
        if let Some(queue) = self.queues.get_mut(&handler) {
            queue.waiting.remove(&open.number);
            queue.held -= 1;
            queue.bytes -= open.bytes;
        }
        let finished = open.is_finished();
        self.journal_settlement(id, &handler, how);
        Some(if finished { self.open.remove(id).map(Open::finish) } else { None })
    }

    fn journal_settlement(&mut self, id: &AlertId, handler: &Arc<str>, how: Settlement) {
        if self.durable {
            self.unwritten.push(Entry::Settled { id: id.clone(), handler: handler.clone(), how });
        }
    }

    /// Stops queueing new alerts for this handler.
    pub(super) fn close(&mut self, handler: &str) {
        if let Some(queue) = self.queues.get_mut(handler) {
            queue.closing = true;
        }
    }

    /// Removes a handler's queue and settles its alerts as `HandlerRemoved`. Returns their number, and the alerts
    /// closed by it.
    pub(super) fn remove(&mut self, handler: &str) -> (usize, Vec<Finished>) {
        if !self.complete {
            // The start failed: its alerts wait for the next start.
            self.queues.remove(handler);
            return (0, Vec::new());
        }
        let mut held: Vec<(u64, AlertId)> = self
            .open
            .values()
            .filter(|open| open.handlers.iter().any(|name| **name == *handler))
            .map(|open| (open.number, open.alert.id.clone()))
            .collect();
        held.sort_unstable();
        let settled =
            held.iter().filter_map(|(_, id)| self.settle(handler, id, Settlement::HandlerRemoved)).flatten().collect();
        self.queues.remove(handler);
        (held.len(), settled)
    }

    /// Takes the next batch of entries to write, at most `most` and the values to save.
    pub(super) fn take_unwritten(&mut self, most: usize) -> Vec<Entry> {
        self.unwritten.take(most)
    }

    /// The entries that wait for the journal, if there is one.
    pub(super) fn unwritten_mut(&mut self) -> Option<&mut Unwritten> {
        self.durable.then_some(&mut self.unwritten)
    }

    /// Marks a batch as written.
    pub(super) fn written(&mut self, batch: &[Entry]) -> Written {
        let mut written = Written::default();
        for entry in batch {
            let Entry::Accepted { alert, .. } = entry else { continue };
            let Some(open) = self.open.get_mut(&alert.id) else { continue };
            open.written = true;
            self.writing -= 1;
            self.writing_bytes -= open.bytes;
            for name in &open.handlers {
                if let Some(queue) = self.queues.get_mut(name) {
                    queue.waiting.insert(open.number, open.alert.clone());
                }
            }
            written.accepted.push((open.alert.clone(), open.series.clone()));
            if open.is_finished() {
                written.finished.extend(self.open.remove(&alert.id).map(Open::finish));
            }
        }
        written
    }

    /// The current batch is completely processed.
    pub(super) fn batch_done(&mut self) {
        self.unwritten.batch_done();
    }

    /// Written alerts in the queue of `handler`.
    pub(super) fn pending(&self, handler: &str) -> usize {
        self.queues.get(handler).map_or(0, |queue| queue.waiting.len())
    }

    /// Alerts that occupy room for `handler`, written or not.
    pub(super) fn held(&self, handler: &str) -> usize {
        self.queues.get(handler).map_or(0, |queue| queue.held)
    }

    /// Outstanding settlements, summed over the handlers.
    pub(super) fn held_in_all(&self) -> usize {
        self.queues.values().map(|queue| queue.held).sum()
    }

    /// Alerts not settled by every handler.
    pub(super) fn open_alerts(&self) -> usize {
        self.open.len()
    }

    /// Entries not written yet.
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten.len()
    }
}

#[cfg(test)]
mod tests;
