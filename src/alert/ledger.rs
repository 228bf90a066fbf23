//! The outbox's state as plain values: no locks, clocks or metrics.
//!
//! An alert is *open* from its acceptance until every handler has settled it. It is *written* once its journal entry
//! is; only then does it enter the handlers' queues. Queues are keyed by handler name and ordered by acceptance.

mod again;
mod left;
mod room;
mod routes;
mod waiting;

pub(super) use again::GIVE_HINT;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use self::left::Left;
use super::courier::{Head, Line};
use super::offer::{Finished, GivenUp, NoRoom, Offered, Written};
use super::queue::Queue;
use super::unwritten::Unwritten;
use super::{Entry, Pending, Settlement};
use crate::config::{AlertFilter, WhenFull};
use crate::telemetry::SourceMetrics;
use crate::types::{Alert, AlertId, Level, SourceId};

/// Maximum bytes of alerts queued per handler.
pub const OUTBOX_BYTES_MAX: usize = 64 << 20;
/// Maximum alerts queued for the journal; beyond it new ones are refused.
pub const UNWRITTEN_MAX: usize = 4_096;
/// Maximum bytes of alerts queued for the journal.
pub const UNWRITTEN_BYTES_MAX: usize = 16 << 20;

pub(super) struct Ledger {
    pub(super) alerts_max: usize,
    pub(super) bytes_max: usize,
    pub(super) when_full: WhenFull,
    pub(super) left: Left,
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

pub(super) struct Open {
    pub(super) number: u64,
    pub(super) alert: Arc<Alert>,
    pub(super) bytes: usize,
    handlers: Vec<Arc<str>>,
    worst: Settlement,
    pub(super) written: bool,
    /// When it was accepted, in Unix nanoseconds.
    accepted_ns: u64,
    series: Option<SourceMetrics>,
}

impl Open {
    fn is_finished(&self) -> bool {
        self.written && self.handlers.is_empty()
    }

    fn finish(self) -> Finished {
        Finished { alert: self.alert, worst: self.worst, series: self.series }
    }

    pub(super) fn line(&self) -> Line {
        Line { is_ordinary: self.alert.level < Level::Critical, source: self.alert.source.clone() }
    }
}

impl Ledger {
    pub(super) fn new(alerts_max: usize, bytes_max: usize, durable: bool) -> Self {
        Self {
            alerts_max,
            bytes_max,
            when_full: WhenFull::default(),
            left: Left::default(),
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
        let mut queue = Queue { added: self.added, ..Queue::default() };
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
            queue.senders.clear();
        }
    }

    /// Number of handlers that want this alert.
    pub(super) fn receivers(&self, alert: &Alert) -> usize {
        self.queues.values().filter(|queue| queue.wants(alert)).count()
    }

    /// Opens an alert at `now_ns` for every handler that wants it. A full queue gives up another one for it, or does not
    /// take it.
    ///
    /// With `WhenFull::Block`, the alert of a source that waits for room (`waits`) finds some in a full queue: its source
    /// waits before the next frame, see [`Ledger::has_room`].
    pub(super) fn offer(
        &mut self,
        alert: Arc<Alert>,
        series: Option<SourceMetrics>,
        waits: bool,
        now_ns: u64,
    ) -> Offered {
        if self.open.contains_key(&alert.id) {
            return Offered::Known;
        }
        let bytes = alert.memory_bytes();
        let behind = self.writing >= UNWRITTEN_MAX || self.writing_bytes + bytes > UNWRITTEN_BYTES_MAX;
        if self.durable && behind {
            return Offered::Refused(NoRoom::Journal { waiting: self.writing }, Vec::new());
        }
        let receivers = self.queues.iter().filter(|(_, queue)| queue.wants(&alert)).map(|(name, _)| name.clone());
        let receivers: Vec<Arc<str>> = receivers.collect();
        let mut given_up = Vec::new();
        let (handlers, missed): (Vec<_>, Vec<_>) = receivers
            .into_iter()
            .partition(|handler| self.make_room(handler, (alert.level, waits), bytes, &mut given_up));
        if handlers.is_empty() && !missed.is_empty() {
            let room = NoRoom::Queues { alerts: self.alerts_max, bytes: self.bytes_max };
            return Offered::Refused(room, given_up);
        }
        self.journal_acceptance(&alert, &handlers, &missed, now_ns);
        let written = !self.durable;
        if !written {
            self.writing += 1;
            self.writing_bytes += bytes;
        }
        let worst = if missed.is_empty() { Settlement::Delivered } else { Settlement::QueueFull };
        let open = Open { number: 0, alert, bytes, handlers, worst, written, accepted_ns: now_ns, series };
        let (written, finished) = self.open(open);
        Offered::Taken { missed, given_up, written, finished }
    }

    /// Makes room in a handler's queue; `false` if there is none for an alert of this level and size.
    fn make_room(
        &mut self,
        handler: &Arc<str>,
        (level, waits): (Level, bool),
        bytes: usize,
        given_up: &mut Vec<GivenUp>,
    ) -> bool {
        let (spare, spare_bytes) = self.spare(waits);
        loop {
            let Some(queue) = self.queues.get(handler) else { return false };
            if queue.held.len() < self.alerts_max + spare && queue.bytes + bytes <= self.bytes_max + spare_bytes {
                return true;
            }
            let Some(id) = queue.least(level, self.when_full).filter(|_| bytes <= self.bytes_max) else { return false };
            let Some(finished) = self.settle(handler, &id, Settlement::QueueFull) else { return false };
            given_up.push(GivenUp { handler: handler.clone(), id, finished });
        }
    }

    fn journal_acceptance(&mut self, alert: &Arc<Alert>, handlers: &[Arc<str>], missed: &[Arc<str>], now_ns: u64) {
        if !self.durable {
            return;
        }
        let all = handlers.iter().chain(missed).cloned().collect();
        self.unwritten.push(Entry::Accepted { alert: alert.clone(), handlers: all, at_ms: now_ns / 1_000_000 });
        for handler in missed {
            let (id, handler) = (alert.id.clone(), handler.clone());
            self.unwritten.push(Entry::Settled { id, handler, how: Settlement::QueueFull });
        }
    }

    /// Returns whether it is written, and finished.
    fn open(&mut self, mut open: Open) -> (bool, bool) {
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
        (written, finished)
    }

    /// Reopens an alert from an earlier process; `false` if it is open already or has no handlers.
    pub(super) fn recover(&mut self, pending: Pending) -> bool {
        let Pending { alert, handlers, worst, accepted_ms } = pending;
        if handlers.is_empty() || self.open.contains_key(&alert.id) {
            return false;
        }
        let bytes = alert.memory_bytes();
        let accepted_ns = accepted_ms.saturating_mul(1_000_000);
        self.open(Open { number: 0, alert, bytes, handlers, worst, written: true, accepted_ns, series: None });
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

    /// The oldest written alert of each line that `handler` has not settled.
    pub(super) fn heads(&self, handler: &str) -> Vec<Head> {
        let lines = self.queues.get(handler).into_iter().flat_map(|queue| &queue.lines);
        let head = |(line, numbers): (&Line, &BTreeMap<u64, AlertId>)| {
            let (number, id) = numbers.first_key_value()?;
            let accepted_ns = self.open.get(id)?.accepted_ns;
            Some(Head { line: line.clone(), number: *number, id: id.clone(), accepted_ns })
        };
        lines.filter_map(head).collect()
    }

    /// The alert that `handler` tries from now on, until it tries another one or settles it.
    pub(super) fn begin(&mut self, handler: &str, head: &Head) -> Option<Arc<Alert>> {
        let alert = self.open.get(&head.id).filter(|open| open.number == head.number)?.alert.clone();
        self.queues.get_mut(handler)?.trying = Some(head.number);
        Some(alert)
    }

    /// `handler` tries no alert for now.
    pub(super) fn rest(&mut self, handler: &str) {
        if let Some(queue) = self.queues.get_mut(handler) {
            queue.trying = None;
        }
    }

    /// Settles an alert for `handler`; `None` if it has settled it already or was not among its handlers.
    pub(super) fn settle(&mut self, handler: &str, id: &AlertId, how: Settlement) -> Option<Option<Finished>> {
        let open = self.open.get_mut(id)?;
        let at = open.handlers.iter().position(|name| **name == *handler)?;
        let handler = open.handlers.swap_remove(at);
        open.worst = open.worst.max(how);
        if let Some(queue) = self.queues.get_mut(&handler) {
            queue.release(open);
        }
        let finished = open.is_finished();
        self.left.note(id, &handler, how);
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
                    queue.line_up(open);
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
    pub(super) fn batch_done(&mut self, is_owed: bool) {
        self.unwritten.batch_done(is_owed);
    }

    /// Written alerts in the queue of `handler`.
    pub(super) fn pending(&self, handler: &str) -> usize {
        self.queues.get(handler).map_or(0, |queue| queue.written)
    }

    /// Alerts that occupy room for `handler`, written or not.
    pub(super) fn held(&self, handler: &str) -> usize {
        self.queues.get(handler).map_or(0, |queue| queue.held.len())
    }

    /// Outstanding settlements, summed over the handlers.
    pub(super) fn held_in_all(&self) -> usize {
        self.queues.values().map(|queue| queue.held.len()).sum()
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
