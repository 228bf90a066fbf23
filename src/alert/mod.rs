//! The Handler seam and the alert path: policy, store, delivery.
//!
//! `policy` decides on frame time what is accepted; a [`Store`] keeps what was accepted until every handler has it;
//! each [`Handler`] delivers. The three meet only here, so a database can stand behind [`Store`] without policy or
//! handlers noticing. A lane raises through its [`Gate`], the only place where all of it is put together. How each
//! handler fares is its [`Standing`].
//!
//! The sum that always holds, per source and rule: raised = accepted + suppressed + refused, and
//! accepted = delivered + failed + pending.

pub mod delivery;
pub mod gate;
pub mod policy;
pub mod standing;
pub mod store;

pub use delivery::Delivery;
pub use gate::Gate;
pub use policy::{Decision, Policy};
pub use standing::Standing;
pub use store::MemoryStore;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::types::Alert;

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
}

/// Why a delivery failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct DeliveryError {
    /// What happened, secrets redacted.
    pub message: String,
    /// Whether to try again.
    pub retry: Retry,
}

/// Delivers alerts somewhere. Called by one task, one alert at a time, in order of acceptance per source.
pub trait Handler: Send + Sync {
    /// The name from the config.
    fn name(&self) -> &str;

    /// Longest time of one delivery: one that takes longer is dropped, and counts as failed. `None` for those that end
    /// by themselves, and for those that go on when they are dropped (work on a thread that waits): the next attempt
    /// would deliver the alert once more.
    fn timeout(&self) -> Option<Duration> {
        Some(ATTEMPT_MAX)
    }

    /// Delivers one alert; returns once the receiver has it.
    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>>;
}

/// Keeps accepted alerts until every handler has dealt with them. Alerts are accepted once `append` returns `Ok`.
pub trait Store: Send + Sync {
    /// Accepts an alert for the named handlers. Names those whose own queue was full: the alert is accepted without
    /// them, so that one receiver that is down does not keep the others from hearing.
    ///
    /// # Errors
    /// When no handler has room, or the store is broken; the alert is then not accepted, and the caller counts it.
    fn append(&self, alert: Arc<Alert>, handlers: &[Arc<str>]) -> Result<Vec<Arc<str>>, StoreError>;

    /// Oldest alert that `handler` has not yet settled.
    fn head(&self, handler: &str) -> Option<Arc<Alert>>;

    /// Marks `handler`'s oldest alert as settled. Returns the alert once its last handler has settled it.
    fn settle(&self, handler: &str, how: Settlement) -> Option<Settled>;

    /// Alerts accepted and not yet settled by `handler`.
    fn pending(&self, handler: &str) -> usize;

    /// Waits until something was appended for `handler` since the last time this returned. One waiter per handler.
    fn appended<'a>(&'a self, handler: &'a str) -> BoxFuture<'a, ()>;
}

/// How a handler is done with an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The receiver has it.
    Delivered,
    /// Given up: refused for good, or out of attempts.
    GivenUp,
}

/// An alert that every handler is done with.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The alert.
    pub alert: Arc<Alert>,
    /// Whether every handler has it; else at least one gave it up.
    pub delivered: bool,
}

/// Why a store did not accept an alert; the `outcome` it is counted under is `refused`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The bound on pending alerts is reached.
    #[error("{pending} alerts are waiting for delivery, the limit is {limit}")]
    Full {
        /// Alerts waiting.
        pending: usize,
        /// The bound.
        limit: usize,
    },
    /// The medium failed.
    #[error("the alert store failed: {0}")]
    Broken(String),
}
