//! What the ledger answers.

use std::sync::Arc;

use super::Settlement;
use crate::telemetry::SourceMetrics;
use crate::types::{Alert, AlertId};

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
pub(super) enum Offered {
    /// The alert is open; the full queues of `missed` did not take it, and others gave up an alert for it. `finished`
    /// if no handler gets it.
    Taken { missed: Vec<Arc<str>>, given_up: Vec<GivenUp>, written: bool, finished: bool },
    /// An alert with this id is open already.
    Known,
    /// A queue is full; these were given up, and did not make enough room.
    Refused(NoRoom, Vec<GivenUp>),
}

/// An alert that lost its place in a handler's queue.
pub(super) struct GivenUp {
    pub(super) handler: Arc<str>,
    pub(super) id: AlertId,
    pub(super) finished: Option<Finished>,
}

/// An alert that has been closed.
pub(super) struct Finished {
    pub(super) alert: Arc<Alert>,
    /// How its worst handler was done with it.
    pub(super) worst: Settlement,
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
