//! The Handler and Journal seams, and the alert path between them: policy, outbox, delivery.
//!
//! A lane raises through its [`Gate`]: `policy` decides on frame time, the [`Outbox`] keeps what is accepted, in memory,
//! until every handler has finished with it. [`Delivery`] runs one task per [`Handler`]; handlers come and go by name
//! while it runs. A [`Journal`] behind the outbox, on a thread of its own, is the truth over restarts; [`NoJournal`]
//! keeps nothing. How each handler fares is its [`Standing`]; what handlers ask of the engine is a [`Command`].
//! Embedders check theirs with [`check`]. Look next at `outbox`, then `ledger`, the values behind it.
//!
//! The sum that always holds, per source and rule, each alert once, by its worst handler:
//! raised + recovered = delivered + failed + suppressed + refused + pending.

mod attempts;
pub mod check;
mod command;
mod conditions;
mod deliverer;
mod delivery;
mod gate;
mod journal;
mod ledger;
mod outbox;
mod policy;
mod standing;
mod tally;
mod writer;

pub use attempts::Trouble;
pub use command::{COMMAND_BYTES_MAX, COMMANDS_MAX, Command, CommandRefused, Commanded, Commands};
pub use delivery::Delivery;
pub use gate::Gate;
pub use journal::{Entry, Journal, JournalError, NoJournal, Pending, Settlement};
pub use ledger::{NoRoom, OUTBOX_BYTES_MAX, UNWRITTEN_BYTES_MAX, UNWRITTEN_MAX};
pub use outbox::{Acceptance, OnAccepted, Outbox};
pub use policy::{Decision, KEYS_BYTES_MAX, KEYS_MAX, Policy, Refusal};
pub use standing::Standing;
pub use tally::Totals;
pub use writer::BATCH_MAX;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::types::{Alert, one_line};

/// Longest time of one delivery by a handler that does not say otherwise.
pub const ATTEMPT_MAX: Duration = Duration::from_secs(60);

/// A boxed future, so that handlers can stand behind one object type.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whether a failed delivery is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The receiver refused it for good (a bad request, a wrong address).
    Never,
    /// Trouble on the way or at the peer; try again after the configured delay.
    Later,
    /// The receiver said when to try again (`Retry-After`). The next try waits that long, up to a limit, and does not count
    /// as one of the alert's attempts.
    After(Duration),
}

/// Why a delivery failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", one_line(message))]
pub struct DeliveryError {
    /// What happened, secrets redacted.
    pub message: String,
    /// Whether to try again.
    pub retry: Retry,
}

/// What a handler's own instance holds, and what went over a limit since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of its memory.
    pub memory_bytes: usize,
    /// Bytes of state that the host keeps for it.
    pub state_bytes: usize,
    /// Deliveries past the soft time limit.
    pub slow: u64,
    /// Log lines over the rate, left out.
    pub log_lines_dropped: u64,
}

/// Delivers alerts somewhere. Called by one task, one alert at a time, in order of acceptance per source.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use dsengine::alert::check::check_handler;
/// use dsengine::alert::{BoxFuture, DeliveryError, Handler, Retry};
/// use dsengine::types::Alert;
///
/// struct Remember(Mutex<Vec<String>>);
///
/// impl Handler for Remember {
///     fn name(&self) -> &str {
///         "remember"
///     }
///
///     fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
///         Box::pin(async move {
///             let failed = |e: &dyn ToString| DeliveryError { message: e.to_string(), retry: Retry::Later };
///             self.0.lock().map_err(|e| failed(&e))?.push(alert.message.clone());
///             Ok(())
///         })
///     }
/// }
///
/// check_handler(|| Arc::new(Remember(Mutex::default()))).unwrap();
/// ```
pub trait Handler: Send + Sync {
    /// The name from the config.
    fn name(&self) -> &str;

    /// Longest time of one delivery: one that takes longer is dropped, and counts as failed. `None` for those that end
    /// by themselves, and for those that go on when they are dropped (work on a thread that waits): the next attempt
    /// would deliver the alert once more.
    fn timeout(&self) -> Option<Duration> {
        Some(ATTEMPT_MAX)
    }

    /// Called once, before the first delivery. One whose receivers answer keeps `commands` to pass on what they ask.
    fn attach(&self, _commands: Commands) {}

    /// What it uses, as of its last delivery; `None` for one that is not measured.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Delivers one alert; returns once the receiver has it.
    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>>;
}
