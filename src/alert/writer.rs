//! The journal's thread: writes the outbox's entries in batches.
//!
//! While a batch is being written, the next one collects (group commit). A failed batch is repeated until it succeeds;
//! meanwhile the outbox bounds its queue, and nothing in memory is lost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::{Entry, Journal, JournalError, Outbox};
use crate::error::{Code, Error};
use crate::types::Clock;

/// Maximum entries per batch.
pub const BATCH_MAX: usize = 1_024;
/// First delay after a failed batch; doubled up to `RETRY_MAX`.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

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
        let worker = Worker { journal, outbox, clock, wake, stop: stopped, stopping: false, _ended: end };
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
            let batch = self.outbox.take_unwritten(BATCH_MAX);
            if !batch.is_empty() {
                if !self.write(&batch) {
                    tracing::error!(
                        entries = self.outbox.unwritten(),
                        "stopped before the alert journal could be written"
                    );
                    return;
                }
            } else if self.stopping {
                return;
            } else {
                self.sleep();
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

    /// Writes a batch, with retries; `false` if it was given up because of the stop signal.
    fn write(&mut self, batch: &[Entry]) -> bool {
        let mut pause = RETRY;
        loop {
            self.outbox.journal.begin(self.clock.monotonic_ns());
            let Err(error) = self.attempt(batch) else {
                self.outbox.journal.succeed();
                self.outbox.written(batch);
                return true;
            };
            self.outbox.journal.fail(&error.0, false, self.clock.monotonic_ns());
            if self.stopping {
                return false;
            }
            tracing::warn!(entries = batch.len(), "alert journal not written, trying again: {error}");
            // The sender is only ever dropped; after that, one more attempt is made.
            self.stopping = self.stop.recv_timeout(pause) == Err(crossbeam_channel::RecvTimeoutError::Disconnected);
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    fn attempt(&mut self, batch: &[Entry]) -> Result<(), JournalError> {
        let journal = &mut self.journal;
        let written = catch_unwind(AssertUnwindSafe(|| journal.write(batch)));
        written.unwrap_or_else(|_| Err(JournalError("the journal panicked".to_owned())))
    }
}
