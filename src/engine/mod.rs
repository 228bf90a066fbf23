//! The owner: assembles a [`Plan`], runs it, replaces parts while it runs, and takes it down in order.
//!
//! `build` and, for scripts and components, `guests` are the only places that name adapters. A frame's way is `route`
//! (from its backend's thread), `pool` (inference), `inbox` and `lane` (tracker, each `rule`, policy). `reload` swaps
//! guests, `probation` decides whether they stay; `board` is what a source shows of itself. An engine has no globals and reads no clock but the one it is given: two run in one process.

mod board;
mod build;
mod check;
mod clock;
mod control;
mod grave;
mod guests;
mod handle;
mod handlers;
mod inbox;
mod lane;
pub mod live;
mod outside;
mod pool;
mod probation;
mod rehearse;
mod rejected;
mod reload;
mod rhythm;
mod route;
mod rule;
mod running;
mod shadow;
pub mod status;
mod strategies;
mod summary;
mod swap;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub use build::Builder;
pub use check::check_modules;
pub use clock::SystemClock;
pub use guests::{Guests, Version};
pub use handle::Handle;
pub use outside::{Applied, Board, Reloaded};
pub use summary::{SourceSummary, Summary};

use crate::alert::Delivery;
use crate::backend::Backend;
use crate::config::Plan;
use crate::error::{Code, Error};
use crate::types::{Alert, Frame};

/// Longest wait of a reload for a lane to come to the end of a frame: far above any call's wall ceiling.
const LANE_WAIT: Duration = Duration::from_secs(5);

/// Longest wait for the alert journal's last batch, where the deadline leaves less.
const LAST_WRITE: Duration = Duration::from_millis(100);

/// Sees what an engine does, from its lanes' threads: tests, recorders, embedders. Must be quick.
pub trait Observer: Send + Sync {
    /// A frame after detection and tracking, before the rules: what a trace holds.
    fn detected(&self, _frame: &Frame) {}
    /// A frame after all rules.
    fn judged(&self, _judged: &Judged<'_>) {}
    /// An accepted alert: from its lane's thread, or from the journal's where there is one.
    fn alert(&self, _alert: &Alert) {}
}

/// A frame that every rule has seen.
pub struct Judged<'a> {
    /// The frame with the rules' changes.
    pub frame: &'a Frame,
    /// Each rule's name and the generation that judged this frame.
    pub generations: &'a [(Arc<str>, u64)],
    /// From its arrival in the engine to the start of its judgement.
    pub waited_ns: u64,
    /// The judgement itself: tracker, zones, rules, policy.
    pub lane_ns: u64,
}

/// A running engine. Dropping it stops everything; [`Engine::drain`] does so in order and says what happened.
pub struct Engine {
    handle: Handle,
    backends: Vec<Box<dyn Backend>>,
    pools: Vec<pool::Pool>,
    lanes: Vec<JoinHandle<()>>,
    grave: Option<grave::Grave>,
    delivery: Delivery,
    runtime: Option<tokio::runtime::Runtime>,
    stopped: bool,
}

impl Engine {
    /// Starts to put an engine together; [`Builder::start`] runs it.
    pub fn builder(plan: Plan) -> Builder {
        Builder::new(plan)
    }

    /// What others may hold of it: its status, its reloads, its end.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The runtime of its control plane, for whoever serves beside it; `None` once it is stopped.
    pub fn runtime(&self) -> Option<&tokio::runtime::Handle> {
        self.runtime.as_ref().map(tokio::runtime::Runtime::handle)
    }

    /// What has happened so far.
    pub fn summary(&self) -> Summary {
        summary::summarise(&self.handle.0)
    }

    /// Stops in order: sources, frames in flight, deliveries; returns what happened. Bounded by `deadline`.
    pub fn drain(mut self, deadline: Duration) -> Summary {
        self.stop(deadline);
        self.summary()
    }

    fn stop(&mut self, deadline: Duration) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        let shared = Arc::clone(&self.handle.0);
        let clock = &*shared.clock;
        let until_ns = clock.monotonic_ns() + u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX / 4);
        let left = || Duration::from_nanos(until_ns.saturating_sub(clock.monotonic_ns()));
        // Lanes first: whoever waits for room is released, and no further frame is judged.
        for source in &shared.sources {
            source.route.inbox.close();
        }
        for backend in &mut self.backends {
            backend.stop(left());
        }
        self.pools.clear();
        for lane in self.lanes.drain(..) {
            // A lane that panicked has been logged by the panic hook; its source is closed either way.
            let _ = lane.join();
        }
        self.grave = None;
        if let Some(runtime) = self.runtime.take() {
            let pending = runtime.block_on(self.delivery.drain(left()));
            if pending > 0 {
                tracing::warn!(pending, "stopped before every alert was delivered");
            }
            self.delivery.stop(left().max(LAST_WRITE));
            runtime.shutdown_background();
        }
    }
}

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

/// Starts a named thread.
fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new()
        .name(name.clone())
        .spawn(run)
        .map_err(|e| Error::new(Code::Io, format!("cannot start thread {name}: {e}")))
}
