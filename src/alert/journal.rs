//! The journal persists the outbox across restarts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::telemetry::AlertOutcome;
use crate::types::{Alert, AlertId, SourceId};

/// How a handler is done with an alert, from best to worst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// The receiver has confirmed it.
    #[default]
    Delivered,
    /// Refused for good: a dead letter, which can be sent again.
    GivenUp,
    /// Too old before the receiver took it.
    Expired,
    /// The handler was removed with the alert in its queue.
    HandlerRemoved,
    /// The handler's queue was full.
    QueueFull,
}

impl Settlement {
    /// The settlements other than delivery.
    pub const UNDELIVERED: [Self; 4] = [Self::GivenUp, Self::Expired, Self::HandlerRemoved, Self::QueueFull];

    /// The settlement with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Delivered].into_iter().chain(Self::UNDELIVERED).find(|how| how.as_str() == word)
    }

    /// The outcome of an alert of which this is the worst settlement.
    pub fn outcome(self) -> AlertOutcome {
        match self {
            Self::Delivered => AlertOutcome::Delivered,
            Self::GivenUp => AlertOutcome::DeadLettered,
            Self::Expired => AlertOutcome::Expired,
            Self::QueueFull | Self::HandlerRemoved => AlertOutcome::Dropped,
        }
    }

    /// The word used in metrics and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::GivenUp => "given_up",
            Self::Expired => "expired",
            Self::QueueFull => "queue_full",
            Self::HandlerRemoved => "handler_removed",
        }
    }
}

/// One journal entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// An alert was accepted for these handlers.
    Accepted {
        /// The alert.
        alert: Arc<Alert>,
        /// The handlers that get it, without duplicates; may be empty.
        handlers: Vec<Arc<str>>,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// A dead letter is sent again: a handler gets an alert that it had settled, or that another one had.
    Reopened {
        /// The alert's id.
        id: AlertId,
        /// The handler.
        handler: Arc<str>,
        /// The handler that did not deliver it, if that is another one; from now on it does not count as its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Arc<str>>,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// A handler is done with an alert. Always after the alert's `Accepted`.
    Settled {
        /// The alert's id.
        id: AlertId,
        /// The handler.
        handler: Arc<str>,
        /// The outcome.
        how: Settlement,
    },
    /// A delivery failed; the history of the alert. A journal may drop it.
    Attempted {
        /// The alert's id.
        id: AlertId,
        /// The handler.
        handler: Arc<str>,
        /// When, in Unix milliseconds.
        at_ms: u64,
        /// The error, with secrets redacted.
        error: String,
    },
    /// A decision of the policy on a draft; the log behind `explain`. A journal may drop it.
    Decided(Arc<Decided>),
    /// A value for a later process.
    Saved(Saved),
}

/// What a value that survives a restart belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SavedKind {
    /// A condition of the policy, by source.
    Condition,
    /// A silence, by id.
    Silence,
    /// What people did with an alert, by its id.
    Case,
    /// The state of a strategy, by strategy and source.
    State,
}

impl SavedKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Condition, Self::Silence, Self::Case, Self::State];

    /// The word used in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Condition => "condition",
            Self::Silence => "silence",
            Self::Case => "case",
            Self::State => "state",
        }
    }
}

/// A value that survives a restart. The last one of its kind and name counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// What it belongs to.
    pub kind: SavedKind,
    /// Its name, unique in its kind.
    pub name: Arc<str>,
    /// The value; `None` removes it.
    pub contents: Option<Arc<str>>,
}

/// A decision of the policy, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// The source.
    pub source: SourceId,
    /// The rule.
    pub rule: String,
    /// Capture time of the frame, in Unix milliseconds.
    pub at_ms: u64,
    /// The alert that the draft became or would have become.
    pub id: AlertId,
    /// The stages that it passed, as JSON.
    pub contents: String,
}

/// An alert from an earlier process that at least one handler has not settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The alert.
    pub alert: Arc<Alert>,
    /// The handlers that have not settled it, in the order of its `Accepted`.
    pub handlers: Vec<Arc<str>>,
    /// The worst settlement of the others.
    pub worst: Settlement,
    /// When it was accepted, in Unix milliseconds.
    pub accepted_ms: u64,
}

/// Why the medium failed, with secrets redacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JournalError(pub String);

/// Persists the outbox across restarts. It runs on its own thread, which may block on a disk.
///
/// `recover` is called once, before the first `write`. A failed `write` is repeated with the same batch until it
/// succeeds, before the next batch: writing a batch twice in a row must have the effect of writing it once. Once
/// `write` has returned `Ok`, the batch survives a crash of the process. An alert that every handler has settled may be
/// forgotten; its id may return (a replayed recording). [`super::check::check_journal`] checks all of this.
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
///                 Entry::Accepted { alert, handlers, at_ms } => {
///                     if open.iter().all(|p| p.alert.id != alert.id) {
///                         let (alert, handlers) = (alert.clone(), handlers.clone());
///                         open.push(Pending { alert, handlers, worst: Settlement::Delivered, accepted_ms: *at_ms });
///                     }
///                 }
///                 Entry::Settled { id, handler, how } => {
///                     for p in open.iter_mut().filter(|p| p.alert.id == *id) {
///                         p.handlers.retain(|name| name != handler);
///                         p.worst = p.worst.max(*how);
///                     }
///                 }
///                 // This one forgets what is settled, the history, and values for a later process.
///                 Entry::Reopened { .. } | Entry::Attempted { .. } | Entry::Decided(_) | Entry::Saved(_) => {}
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
    /// Alerts that earlier processes accepted and not every handler has settled, in order of acceptance.
    ///
    /// # Errors
    /// When the medium cannot be read; the engine then does not start.
    fn recover(&mut self) -> Result<Vec<Pending>, JournalError>;

    /// Writes a whole batch; returns once it is durable.
    ///
    /// # Errors
    /// When the medium failed. The same batch will be written again.
    fn write(&mut self, batch: &[Entry]) -> Result<(), JournalError>;

    /// The values that earlier processes saved, in any order; called once, after `recover`. A journal that keeps none
    /// returns none.
    ///
    /// # Errors
    /// When the medium cannot be read; the engine then does not start.
    fn saved(&mut self) -> Result<Vec<Saved>, JournalError> {
        Ok(Vec::new())
    }

    /// The newest `most` alerts of earlier processes, settled or not, oldest first; called once, after `saved`. A
    /// journal that forgets an alert once it is settled returns none.
    ///
    /// # Errors
    /// When the medium cannot be read; the engine then does not start.
    fn newest(&mut self, _most: usize) -> Result<Vec<Arc<Alert>>, JournalError> {
        Ok(Vec::new())
    }

    /// Whether it persists anything. `false` starts no journal thread: the thread that raises an alert accepts it at
    /// once.
    fn is_durable(&self) -> bool {
        true
    }
}

/// Persists nothing: pending alerts are lost when the process ends.
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
