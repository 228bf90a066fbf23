//! The engine: applies a [`Plan`], changes it at run time, and shuts down in order.
//!
//! Modules, each of which uses only those below it:
//!
//! | part | what |
//! |---|---|
//! | this folder | `builder` builds what exists once (`parts`), `owner` is the thread that changes it, `apply` is how |
//! | `versions` | scripts and components: how a new version is tried, takes over, is rolled back |
//! | `lanes` | a frame's path: `route`, `pool` (inference), `inbox`, `lane` (tracker, each `rule`, policy) |
//! | `view` | what the engine reports about itself |
//!
//! Only `backends`, `builder`, `check`, `handlers` and `versions::guests` name adapters. An engine has no globals and
//! reads only the clock that it is given: several can run in one process.

mod apply;
mod backends;
mod builder;
mod check;
mod clock;
mod degrade;
mod handle;
mod handlers;
mod health;
mod keeper;
mod labels;
mod lanes;
mod losses;
mod lost;
mod models;
mod overload;
mod owner;
mod parts;
mod silences;
mod source;
mod stills;
mod strategies;
mod summary;
mod thresholds;
mod versions;
mod view;
mod wait;

use std::sync::Arc;
use std::time::Duration;

pub use builder::Builder;
pub use check::{Checked, check};
pub use clock::SystemClock;
pub use handle::Handle;
pub use lanes::{Judged, Observer};
pub use summary::{RemovedSources, SourceSummary, Summary};
pub use versions::{Guests, Version};
pub use view::outside::{Applied, EngineApi, Reloaded};
pub use view::{live, status};

use crate::config::Plan;
use crate::error::Error;

/// A running engine. Dropping it stops everything; [`Engine::drain`] does so in order and returns a summary.
pub struct Engine {
    handle: Handle,
    parts: Arc<parts::Parts>,
    owner: Option<owner::OwnerThread>,
    watch: Option<health::Watch>,
    keeper: Option<keeper::Keeper>,
    runtime: Option<tokio::runtime::Runtime>,
    stopped: bool,
}

impl Engine {
    /// Creates a builder; [`Builder::start`] runs the engine.
    pub fn builder(plan: Plan) -> Builder {
        Builder::new(plan)
    }

    /// A handle to the engine, for its status, its changes and its end.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Changes the engine to run `plan`, all of it or nothing. See [`Handle::apply`].
    ///
    /// # Errors
    /// As [`Handle::apply`].
    pub fn apply(&self, plan: Plan) -> Result<Applied, Error> {
        self.handle.apply(plan)
    }

    /// The runtime of the control plane, for servers that run with the engine; `None` once it is stopped.
    pub fn runtime(&self) -> Option<&tokio::runtime::Handle> {
        self.runtime.as_ref().map(tokio::runtime::Runtime::handle)
    }

    /// A summary so far.
    pub fn summary(&self) -> Summary {
        summary::summarise(&self.handle.0)
    }

    /// Stops sources, frames in flight and deliveries, in this order; returns a summary. Bounded by `deadline`.
    pub fn drain(mut self, deadline: Duration) -> Summary {
        self.stop(deadline);
        self.summary()
    }

    fn stop(&mut self, deadline: Duration) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        let parts = Arc::clone(&self.parts);
        let clock = &*parts.clock;
        let until_ns = clock.monotonic_ns() + u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX / 4);
        let left = || Duration::from_nanos(until_ns.saturating_sub(clock.monotonic_ns()));
        if let Some(mut watch) = self.watch.take() {
            watch.stop();
        }
        parts.guests.state().end();
        // Lanes first: this wakes sources that wait for room, and no further frame is judged.
        let view = self.handle.0.view();
        for source in &view.sources {
            source.route.inbox.close();
        }
        parts.backends.stop(left);
        // A change in progress fails now, and shuts down what it has started.
        let ended = self.owner.take().is_none_or(|mut owner| owner.stop(OWNER_WAIT.min(left())));
        if !ended {
            tracing::debug!("a change was under way; it is left behind");
        }
        parts.pool.stop();
        for source in &view.sources {
            source.end();
        }
        parts.threads.stop();
        if ended {
            parts.reaper.stop();
        }
        parts.delivery.finish();
        if let Some(keeper) = &mut self.keeper {
            keeper.stop();
        }
        if let Some(runtime) = self.runtime.take() {
            let pending = runtime.block_on(parts.delivery.drain(left()));
            if pending > 0 {
                tracing::warn!(pending, "stopped before every alert was delivered");
            }
            // Handlers have written theirs meanwhile.
            if let Some(keeper) = &self.keeper {
                keeper.save();
            }
            parts.delivery.stop(left().max(LAST_WRITE));
            runtime.shutdown_background();
        }
    }
}

/// Minimum wait for the alert journal's last batch, even if the deadline leaves less.
const LAST_WRITE: Duration = Duration::from_millis(100);
/// Longest wait for a change in progress at shutdown: a component may take a minute to compile.
const OWNER_WAIT: Duration = Duration::from_millis(500);

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(2));
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("stopped", &self.stopped).finish_non_exhaustive()
    }
}
