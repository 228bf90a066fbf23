//! A source thread's stop signal, and the word that it has gone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Shared between a source's thread and its owner.
#[derive(Debug, Default)]
pub(super) struct Stop {
    requested: AtomicBool,
    finished: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Asks the thread to end; it wakes from any pause.
    pub(super) fn request(&self) {
        self.requested.store(true, Ordering::Release);
        // Taking the lock orders the store before a sleeper's check, so no wake-up is lost.
        drop(self.finished.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Whether the thread should end.
    pub(super) fn requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// The thread pauses, at most `limit`; returns early when asked to end.
    pub(super) fn pause(&self, limit: Duration) {
        let guard = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(guard, limit, |_| !self.requested()));
    }

    /// The thread says that it has gone.
    pub(super) fn finish(&self) {
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether the thread has gone.
    pub(super) fn finished(&self) -> bool {
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The owner waits for the thread, at most `limit`; whether it has gone.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let guard = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        match self.changed.wait_timeout_while(guard, limit, |finished| !*finished) {
            Ok((guard, _)) => *guard,
            Err(poisoned) => *poisoned.into_inner().0,
        }
    }
}
