//! The alert path: policy, outbox, delivery, and the Handler and Journal traits.
//!
//! A lane raises alerts through its [`Gate`]: `policy` decides on frame time (`conditions`, `places`, `burst`), and
//! `sequencer` limits the rate of all sources; what they hold back becomes a `digest`. A [`silence`] holds alerts back
//! before that. The [`Outbox`] holds accepted
//! alerts in memory until every handler is done with them. [`Delivery`] runs one task per [`Handler`]; handlers can be
//! added and removed by name at run time. A [`Journal`], on its own thread, persists the outbox across restarts;
//! [`NoJournal`] persists nothing. A [`Case`] is what people and rules did about an alert (`cases`). [`Standing`] is a
//! handler's state; a [`Command`] is a handler's request to the engine; [`Pictures`] has the alerts' pictures. [`chain`] is
//! how a draft was decided on; [`records`] reads the log of these. Embedders check their implementations with [`check`].
//! Read `outbox` next, then `ledger`, its state.
//!
//! Invariant, per source and rule, with each alert counted once, by its worst handler: raised + recovered = delivered +
//! dead-lettered + expired + dropped + suppressed + digested + refused + pending.

pub mod again;
mod attempts;
mod backlog;
mod burst;
mod case;
mod cases;
pub mod chain;
pub mod check;
mod command;
mod conditions;
mod counts;
mod courier;
mod decisions;
mod deliverer;
mod delivery;
mod digest;
mod gate;
mod journal;
mod ledger;
mod offer;
mod outbox;
mod pictures;
mod places;
mod policy;
mod queue;
mod recent;
pub mod records;
mod saved;
pub mod seen;
mod sequencer;
mod settings;
pub mod silence;
mod silenced;
#[cfg(test)]
mod simulation;
mod site;
mod standing;
mod tally;
mod unwritten;
mod waiting;
mod window;
mod writer;
mod written;

pub use attempts::Trouble;
pub use case::{By, CASE_CHANGES_MAX, Case, CaseChange, CaseRefused, CaseState, CaseStep, CaseVerdict, NOTE_BYTES_MAX};
pub use cases::{CASES_BYTES_MAX, CASES_MAX, CaseQuery, Cased, OnCase};
pub use command::{
    COMMAND_BYTES_MAX, COMMANDS_MAX, Command, CommandRefused, Commanded, Commands, ShownSwitches, Switches,
};
pub use delivery::Delivery;
pub use digest::DigestAlert;
pub use gate::{Gate, Raiser};
pub use journal::{Decided, Entry, Journal, JournalError, NoJournal, Pending, Saved, SavedKind, Settlement};
pub use ledger::{OUTBOX_BYTES_MAX, UNWRITTEN_BYTES_MAX, UNWRITTEN_MAX};
pub use offer::NoRoom;
pub use outbox::{Acceptance, OnAccepted, Outbox};
pub use pictures::{PICTURE_WAIT, PICTURES_BYTES_MAX, PICTURES_MAX, Pictures, Stills, Which};
pub use policy::{Decision, KEYS_BYTES_MAX, KEYS_MAX, Policy, Refusal};
pub use recent::{RECENT_BYTES_MAX, RECENT_MAX};
pub use sequencer::Order;
pub use standing::Standing;
pub use tally::Totals;
pub use writer::BATCH_MAX;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::types::{Alert, one_line};

/// Default time limit of one delivery.
pub const ATTEMPT_MAX: Duration = Duration::from_secs(60);

/// A boxed future, so that handlers can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whether to retry a failed delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The receiver refused it, and will do so again as far as one can tell (a bad request, a wrong address). It is tried
    /// `alerts.retry_attempts` times, and others go on meanwhile.
    Never,
    /// The handler itself failed, and will do so again as far as one can tell (a script's error, a trap). It is tried
    /// like one that the receiver refused.
    Fault,
    /// Some of the receivers have it, and the others refused it, and will do so again. This alert is given up, and the
    /// handler goes on: something gets through.
    Partly,
    /// The receiver refused the login. This alert is given up; after a few such refusals in a row the handler pauses
    /// between alerts, because receivers lock an account after a few wrong passwords.
    Login,
    /// A network or server failure: the handler pauses, and tries again until the alert is too old.
    Later,
    /// The receiver requested a delay (`Retry-After`): the handler waits that long, up to five minutes.
    After(Duration),
}

impl Retry {
    /// Whether waiting does not help: the alert is given up, at once or after a few attempts.
    pub fn gives_up(self) -> bool {
        !matches!(self, Self::Later | Self::After(_))
    }

    /// Whether another attempt fails, too, as far as one can tell.
    pub(crate) fn is_permanent(self) -> bool {
        matches!(self, Self::Never | Self::Fault)
    }
}

/// Why a delivery failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", one_line(message))]
pub struct DeliveryError {
    /// The reason, with secrets redacted.
    pub message: String,
    /// Whether to retry.
    pub retry: Retry,
}

/// Resource usage of a handler's instance, and counts of exceeded limits since its creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory in bytes.
    pub memory_bytes: usize,
    /// State that the host keeps for it, in bytes.
    pub state_bytes: usize,
    /// Deliveries that exceeded the soft time limit.
    pub slow: u64,
    /// Log lines dropped by the rate limit.
    pub log_lines_dropped: u64,
}

/// Delivers alerts to a receiver. Called by one task, one alert at a time, in order of acceptance per source.
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

    /// Time limit of one delivery: a longer one is dropped and counts as failed. `None` for deliveries that end by
    /// themselves, and for those that continue when dropped (blocking work on a thread): the next attempt would deliver
    /// the alert twice.
    fn timeout(&self) -> Option<Duration> {
        Some(ATTEMPT_MAX)
    }

    /// Attempts per alert after answers that look permanent; `None` for as many as the alert policy says.
    fn attempts(&self) -> Option<u32> {
        None
    }

    /// Called once, before the first delivery, in the context of the runtime that delivers. A handler whose receivers
    /// respond keeps `commands` to forward their requests.
    fn attach(&self, _commands: Commands) {}

    /// Resource usage after the last delivery; `None` if it is not measured.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// How long an alert that is next waits for later ones, so that they are delivered together; `None` for none. The
    /// wait ends early for a critical alert, and when the handler is replaced, removed or drained. Read again whenever
    /// an alert is queued; [`Commands::waiting`] has those that wait.
    fn collects(&self, _alert: &Alert) -> Option<Duration> {
        None
    }

    /// Delivers one alert; returns once the receiver has confirmed it.
    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>>;
}
