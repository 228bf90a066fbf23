//! The journal's own thread: writes what the outbox has to say, in batches, for as long as it takes.
//!
//! While a batch is being written the next one gathers (group commit). One that fails is repeated until it succeeds;
//! meanwhile what may wait is bounded by the outbox, and nothing in memory is lost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::{Entry, Journal, JournalError, Outbox};
use crate::error::{Code, Error};
use crate::types::Clock;

/// Most entries in one batch.
pub const BATCH_MAX: usize = 1_024;
/// First pause after a batch that failed; doubled up to the longest.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The running thread. Dropping it asks it to end; it is not waited for then.
pub(super) struct Writer {
    /// Dropped to ask it to end.
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
    /// The end of the channel is the sign that the thread has ended.
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

    /// Asks it to write what is left, once, and to end; waits for that, `within` at most. Returns whether it has ended.
    pub(super) fn stop(&mut self, within: Duration) -> bool {
        self.stop = None;
        // Nothing is ever sent: the channel ends, or the time does.
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

    /// Waits for something to write, or for the end.
    fn sleep(&mut self) {
        select! {
            recv(self.wake) -> _ => {}
            recv(self.stop) -> _ => self.stopping = true,
        }
    }

    /// Writes a batch, again and again; `false` when it was given up because all ends.
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
            // The other end is only ever dropped: then one more attempt is made.
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
