//! The journal's thread: writes the outbox's entries in batches.
//!
//! While a batch is being written, the next one collects (group commit). A failed batch is repeated until it succeeds;
//! meanwhile the outbox bounds its queue, and nothing in memory is lost. A medium that fails for longer does not hold
//! alerts up: they are delivered, and their entries are *owed* until it works again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, select};

use super::{Entry, Journal, JournalError, Outbox};
use crate::error::{Code, Error};
use crate::types::{AlertId, Clock};

/// Maximum entries per batch.
pub const BATCH_MAX: usize = 1_024;
/// First delay after a failed batch; doubled up to `RETRY_MAX`.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// How long decisions of the policy gather, which nobody waits for.
const GATHER: Duration = Duration::from_millis(200);
/// How long alerts wait for a medium that fails.
const PATIENCE_NS: u64 = 10_000_000_000;
/// Maximum entries owed; beyond it alerts wait for the medium.
const OWED_MAX: usize = 100_000;
/// Maximum bytes of alerts owed.
const OWED_BYTES_MAX: usize = 64 << 20;

/// A handle to the running thread. Dropping it signals the thread to end, without waiting.
pub(super) struct Writer {
    /// Dropped to signal the end.
    stop: Option<Sender<()>>,
    ended: Receiver<()>,
}

struct Worker {
    journal: Box<dyn Journal>,
    outbox: Arc<Outbox>,
    clock: Arc<dyn Clock>,
    wake: Receiver<()>,
    stop: Receiver<()>,
    stopping: bool,
    owed: Owed,
    /// When the medium began to fail.
    failing_ns: Option<u64>,
    /// Its drop shows that the thread has ended.
    _ended: Sender<()>,
}

impl Writer {
    pub(super) fn start(
        journal: Box<dyn Journal>,
        outbox: Arc<Outbox>,
        clock: Arc<dyn Clock>,
        wake: Receiver<()>,
    ) -> Result<Self, Error> {
        let (stop, stopped) = bounded(0);
        let (end, ended) = bounded(0);
        let worker = Worker {
            journal,
            outbox,
            clock,
            wake,
            stop: stopped,
            stopping: false,
            owed: Owed::default(),
            failing_ns: None,
            _ended: end,
        };
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || worker.run())
            .map_err(|e| Error::new(Code::Io, format!("cannot start thread journal: {e}")))?;
        Ok(Self { stop: Some(stop), ended })
    }

    /// Signals the thread to write what is left, once, and to end; waits at most `within`. Returns whether it has
    /// ended.
    pub(super) fn stop(&mut self, within: Duration) -> bool {
        self.stop = None;
        // Nothing is ever sent: either the channel closes or the timeout expires.
        self.ended.recv_timeout(within) != Err(crossbeam_channel::RecvTimeoutError::Timeout)
    }
}

impl Worker {
    fn run(mut self) {
        loop {
            self.gather();
            let batch = self.outbox.take_unwritten(BATCH_MAX);
            if !batch.is_empty() {
                if !self.write(batch) {
                    return self.given_up();
                }
            } else if self.stopping {
                if !self.pay() {
                    self.given_up();
                }
                return;
            } else if self.owed.is_empty() {
                self.sleep();
            } else if !self.pay() {
                self.pause(RETRY_MAX);
            }
        }
    }

    fn given_up(&self) {
        let entries = self.outbox.unwritten() + self.owed.entries;
        tracing::error!(entries, "stopped before the alert journal could be written");
    }

    /// Lets decisions of the policy gather, until something comes that does not wait.
    fn gather(&mut self) {
        if !self.outbox.gathers() {
            return;
        }
        let over = after(GATHER);
        while !self.stopping && self.outbox.gathers() {
            select! {
                recv(self.wake) -> _ => {}
                recv(self.stop) -> _ => self.stopping = true,
                recv(over) -> _ => return,
            }
        }
    }

    /// Waits for entries or for the stop signal.
    fn sleep(&mut self) {
        select! {
            recv(self.wake) -> _ => {}
            recv(self.stop) -> _ => self.stopping = true,
        }
    }

    /// Waits before the next attempt, for entries or for the stop signal.
    fn pause(&mut self, pause: Duration) {
        select! {
            recv(self.wake) -> _ => {}
            // The sender is only ever dropped; after that, one more attempt is made.
            recv(self.stop) -> _ => self.stopping = true,
            default(pause) => {}
        }
    }

    /// Writes a batch, with retries; `false` if it was given up because of the stop signal. While the medium fails for
    /// long, the batch is owed.
    fn write(&mut self, batch: Vec<Entry>) -> bool {
        let mut pause = RETRY;
        loop {
            if self.pay() && self.try_write(&batch) {
                self.outbox.written(&batch);
                return true;
            }
            if self.stopping {
                return false;
            }
            if self.fails_for_long() && self.owed.has_room(&batch) {
                self.outbox.journal.owe();
                self.outbox.owed(&batch);
                self.owed.add(batch);
                return true;
            }
            self.stopping = self.stop.recv_timeout(pause) == Err(crossbeam_channel::RecvTimeoutError::Disconnected);
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Writes what is owed; `false` while the medium fails.
    fn pay(&mut self) -> bool {
        if self.owed.is_empty() {
            return true;
        }
        while let Some(batch) = self.owed.first() {
            if !self.try_write(&batch) {
                return false;
            }
            self.owed.paid();
        }
        self.outbox.paid();
        true
    }

    fn fails_for_long(&self) -> bool {
        self.failing_ns.is_some_and(|since| self.clock.monotonic_ns().saturating_sub(since) >= PATIENCE_NS)
    }

    /// One attempt, noted for status queries.
    fn try_write(&mut self, batch: &[Entry]) -> bool {
        self.outbox.journal.attempts.begin(self.clock.monotonic_ns());
        match self.attempt(batch) {
            Ok(()) => {
                self.failing_ns = None;
                self.outbox.journal.works();
                true
            }
            Err(error) => {
                let now_ns = self.clock.monotonic_ns();
                self.failing_ns.get_or_insert(now_ns);
                self.outbox.journal.attempts.fail(&error.0, false, now_ns);
                tracing::warn!(entries = batch.len(), "alert journal not written, trying again: {error}");
                false
            }
        }
    }

    fn attempt(&mut self, batch: &[Entry]) -> Result<(), JournalError> {
        let journal = &mut self.journal;
        let written = catch_unwind(AssertUnwindSafe(|| journal.write(batch)));
        written.unwrap_or_else(|_| Err(JournalError("the journal panicked".to_owned())))
    }
}

/// Batches whose alerts were delivered before they were written, oldest first.
#[derive(Default)]
struct Owed {
    batches: VecDeque<Arc<[Entry]>>,
    entries: usize,
    bytes: usize,
}

/// Memory of the alerts in a batch.
fn bytes(batch: &[Entry]) -> usize {
    let alert = |entry: &Entry| match entry {
        Entry::Accepted { alert, .. } => alert.memory_bytes(),
        Entry::Decided(decided) => decided.contents.len(),
        Entry::Saved(saved) => saved.contents.as_ref().map_or(0, |contents| contents.len()),
        Entry::Settled { .. } | Entry::Reopened { .. } | Entry::Attempted { .. } => 0,
    };
    batch.iter().map(alert).sum()
}

impl Owed {
    fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    fn first(&self) -> Option<Arc<[Entry]>> {
        self.batches.front().cloned()
    }

    fn paid(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.entries -= batch.len();
            self.bytes -= bytes(&batch);
        }
    }

    /// Whether there is room for a batch; what is settled by now makes room.
    fn has_room(&mut self, batch: &[Entry]) -> bool {
        let fits = |owed: &Self| owed.entries + batch.len() <= OWED_MAX && owed.bytes + bytes(batch) <= OWED_BYTES_MAX;
        fits(self) || {
            self.forget_settled();
            fits(self)
        }
    }

    fn add(&mut self, batch: Vec<Entry>) {
        self.entries += batch.len();
        self.bytes += bytes(&batch);
        self.batches.push_back(batch.into());
    }

    /// Forgets alerts that were accepted and settled by every handler meanwhile. The first batch stays: its last
    /// attempt may have reached the medium, and the same batch comes next.
    fn forget_settled(&mut self) {
        let Some(first) = self.batches.pop_front() else { return };
        let rest: Vec<Entry> = self.batches.drain(..).flat_map(|batch| batch.to_vec()).collect();
        let mut waiting: HashMap<AlertId, usize> = HashMap::new();
        for entry in &rest {
            match entry {
                Entry::Accepted { alert, handlers, .. } => drop(waiting.insert(alert.id.clone(), handlers.len())),
                // From here on it is not known what becomes of it.
                Entry::Reopened { id, .. } => drop(waiting.insert(id.clone(), usize::MAX)),
                Entry::Settled { id, .. } => {
                    if let Some(left) = waiting.get_mut(id) {
                        *left = left.saturating_sub(1);
                    }
                }
                Entry::Attempted { .. } | Entry::Decided(_) | Entry::Saved(_) => {}
            }
        }
        // Of the values of a name the last one counts.
        let mut named = HashSet::new();
        let is_last = |entry: &Entry| match entry {
            Entry::Saved(saved) => named.insert((saved.kind, saved.name.clone())),
            _ => true,
        };
        let mut last: Vec<bool> = rest.iter().rev().map(is_last).collect();
        let is_open = |entry: &Entry| match entry {
            Entry::Accepted { alert, .. } => waiting.get(&alert.id) != Some(&0),
            Entry::Settled { id, .. } | Entry::Reopened { id, .. } => waiting.get(id) != Some(&0),
            // The history has a hole.
            Entry::Attempted { .. } | Entry::Decided(_) => false,
            Entry::Saved(_) => true,
        };
        let open = rest.into_iter().filter(|entry| last.pop().unwrap_or(true) && is_open(entry));
        let open: Vec<Entry> = open.collect();
        self.entries = first.len() + open.len();
        self.bytes = bytes(&first) + bytes(&open);
        self.batches = std::iter::once(first).chain(open.chunks(BATCH_MAX).map(Arc::from)).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::alert::check::alert;
    use crate::alert::{Saved, SavedKind, Settlement};

    #[test]
    fn of_the_values_of_a_name_that_are_owed_the_last_one_is_kept() {
        let mut owed = Owed::default();
        let value = |name: &str, contents: Option<&str>| {
            Entry::Saved(Saved { kind: SavedKind::State, name: name.into(), contents: contents.map(Arc::from) })
        };
        owed.add(vec![value("a", Some("1"))]);
        owed.add(vec![value("a", Some("2")), value("b", Some("3"))]);
        owed.add(vec![value("a", Some("4")), value("b", None)]);
        owed.forget_settled();
        let left: Vec<Entry> = owed.batches.iter().flat_map(|batch| batch.to_vec()).collect();
        assert_eq!(left, [value("a", Some("1")), value("a", Some("4")), value("b", None)]);
        assert_eq!((owed.entries, owed.bytes), (3, 2));
    }

    #[test]
    fn what_is_settled_makes_room_and_what_is_open_stays() {
        let mut owed = Owed::default();
        let accepted = |n| Entry::Accepted { alert: alert(n, "m"), handlers: vec!["x".into(), "y".into()], at_ms: 0 };
        let settled = |n, handler: &str| Entry::Settled {
            id: alert(n, "m").id.clone(),
            handler: Arc::from(handler),
            how: Settlement::Delivered,
        };
        owed.add(vec![accepted(0), settled(0, "x")]);
        owed.add(vec![accepted(1), accepted(2), settled(0, "y"), settled(1, "x")]);
        owed.add(vec![settled(1, "y"), settled(2, "y"), settled(9, "x")]);
        owed.forget_settled();
        let left: Vec<Entry> = std::iter::from_fn(|| {
            let batch = owed.first()?;
            owed.paid();
            Some(batch.to_vec())
        })
        .flatten()
        .collect();
        let open = [accepted(0), settled(0, "x"), accepted(2), settled(0, "y"), settled(2, "y"), settled(9, "x")];
        assert_eq!(left, open);
        assert_eq!((owed.entries, owed.bytes, owed.is_empty()), (0, 0, true));
    }
}
