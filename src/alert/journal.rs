//! The seam behind the outbox: what is written there is known after a restart.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::{Alert, AlertId};

/// How a handler has finished with an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// The receiver has it.
    Delivered,
    /// Refused for good, or out of attempts.
    GivenUp,
    /// The handler's queue had no room when the alert was accepted.
    QueueFull,
    /// The handler was removed while the alert waited for it.
    HandlerRemoved,
}

impl Settlement {
    /// Every way in which an alert is not delivered.
    pub const UNDELIVERED: [Self; 3] = [Self::GivenUp, Self::QueueFull, Self::HandlerRemoved];

    /// The word used in metrics and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::GivenUp => "given_up",
            Self::QueueFull => "queue_full",
            Self::HandlerRemoved => "handler_removed",
        }
    }
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// An alert for these handlers.
    Accepted {
        /// The alert.
        alert: Arc<Alert>,
        /// The handlers it goes to, none of them twice; may be empty.
        handlers: Vec<Arc<str>>,
    },
    /// A handler has finished with an alert. Always after the alert's `Accepted`.
    Settled {
        /// The alert's id.
        id: AlertId,
        /// The handler.
        handler: Arc<str>,
        /// How.
        how: Settlement,
    },
}

/// An alert of a former process that at least one handler has not settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The alert.
    pub alert: Arc<Alert>,
    /// The handlers that have not settled it, in the order of its `Accepted`.
    pub handlers: Vec<Arc<str>>,
    /// Whether a handler has settled it other than by delivering it.
    pub failed: bool,
}

/// Why the medium failed, secrets redacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JournalError(pub String);

/// Keeps what the outbox holds over restarts. It lives on a thread of its own, which may wait for a disk.
///
/// `recover` is called once, before the first `write`. A `write` that fails is repeated with the same batch until it
/// succeeds, and the next batch waits for it: a batch that is written twice in a row leaves what one leaves. Once `write`
/// has returned `Ok`, the batch survives an end of the process at any moment. An alert that every handler has settled may
/// be forgotten; its id may come again (a recording that is played once more). [`super::check::check_journal`] checks all
/// of this.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use dsengine::alert::check::check_journal;
/// use dsengine::alert::{Entry, Journal, JournalError, Pending, Settlement};
///
/// /// Over a list that outlives the journals.
/// struct InList(Arc<Mutex<Vec<Pending>>>);
///
/// impl Journal for InList {
///     fn recover(&mut self) -> Result<Vec<Pending>, JournalError> {
///         Ok(self.0.lock().map_err(|e| JournalError(e.to_string()))?.clone())
///     }
///
///     fn write(&mut self, batch: &[Entry]) -> Result<(), JournalError> {
///         let mut open = self.0.lock().map_err(|e| JournalError(e.to_string()))?;
///         for entry in batch {
///             match entry {
///                 Entry::Accepted { alert, handlers } => {
///                     if open.iter().all(|p| p.alert.id != alert.id) {
///                         open.push(Pending { alert: alert.clone(), handlers: handlers.clone(), failed: false });
///                     }
///                 }
///                 Entry::Settled { id, handler, how } => {
///                     for p in open.iter_mut().filter(|p| p.alert.id == *id) {
///                         p.handlers.retain(|name| name != handler);
///                         p.failed |= *how != Settlement::Delivered;
///                     }
///                 }
///             }
///             open.retain(|p| !p.handlers.is_empty());
///         }
///         Ok(())
///     }
/// }
///
/// check_journal(|| {
///     let list = Arc::default();
///     move || Ok(InList(Arc::clone(&list)))
/// })
/// .unwrap();
/// ```
pub trait Journal: Send {
    /// What former processes accepted and not every handler has settled, in order of acceptance.
    ///
    /// # Errors
    /// When the medium cannot be read; the engine does not start then.
    fn recover(&mut self) -> Result<Vec<Pending>, JournalError>;

    /// Writes a batch, all of it; returns once it is durable.
    ///
    /// # Errors
    /// When the medium failed. The same batch is written again later.
    fn write(&mut self, batch: &[Entry]) -> Result<(), JournalError>;

    /// Whether anything is kept. `false` spares the thread: alerts are then accepted at once, by whoever raises them.
    fn is_durable(&self) -> bool {
        true
    }
}

/// Keeps nothing: what is pending when the process ends is lost.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn recover(&mut self) -> Result<Vec<Pending>, JournalError> {
        Ok(Vec::new())
    }

    fn write(&mut self, _batch: &[Entry]) -> Result<(), JournalError> {
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }
}
