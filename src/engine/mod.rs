//! The owner: assembles a [`Plan`], runs it, replaces parts while it runs, and takes it down in order.
//!
//! `build` is the only place that names adapters. A frame's way is `route` (from its backend's thread), `pool`
//! (inference), `inbox` and `lane` (tracker, strategies, policy). `reload` swaps scripts; `board` is what a source
//! shows of itself. An engine has no globals and reads no clock but the one it is given: two run in one process.

mod board;
mod build;
mod clock;
mod faults;
mod inbox;
mod lane;
pub mod live;
mod pool;
mod reload;
mod route;
pub mod status;
mod summary;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use build::Builder;
pub use clock::SystemClock;
pub use reload::Reloaded;
pub use summary::{SourceSummary, Summary};

use crate::alert::Delivery;
use crate::backend::Backend;
use crate::config::Plan;
use crate::error::{Code, Error};
use crate::telemetry::Metrics;
use crate::types::{Alert, Clock, Frame};

/// Sees what an engine does, from its lanes' threads: tests, recorders, embedders. Must be quick.
pub trait Observer: Send + Sync {
    /// A frame after detection and tracking, before the rules: what a trace holds.
    fn detected(&self, _frame: &Frame) {}
    /// A frame after all rules.
    fn judged(&self, _judged: &Judged<'_>) {}
    /// An accepted alert.
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

/// Counts the sources that still run; `wait` returns when none does.
struct Running {
    count: Mutex<usize>,
    none: Condvar,
}

impl Running {
    fn finished(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.none.notify_all();
        }
    }
}

/// A running engine. Dropping it stops everything; [`Engine::drain`] does so in order and says what happened.
pub struct Engine {
    plan: Plan,
    clock: Arc<dyn Clock>,
    started_ns: u64,
    backends: Vec<Box<dyn Backend>>,
    sources: Vec<build::Source>,
    pools: Vec<pool::Pool>,
    lanes: Vec<JoinHandle<()>>,
    delivery: Delivery,
    metrics: Arc<Metrics>,
    reload: reload::Scripts,
    running: Arc<Running>,
    runtime: Option<tokio::runtime::Runtime>,
    stopped: bool,
}

impl Engine {
    /// Starts to put an engine together; [`Builder::start`] runs it.
    pub fn builder(plan: Plan) -> Builder {
        Builder::new(plan)
    }

    /// The plan it runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The runtime of its control plane, for whoever serves beside it; `None` once it is stopped.
    pub fn runtime(&self) -> Option<&tokio::runtime::Handle> {
        self.runtime.as_ref().map(tokio::runtime::Runtime::handle)
    }

    /// Waits until every source has ended, at most `limit`; returns whether they have. Live sources never end.
    pub fn wait(&self, limit: Duration) -> bool {
        let count = self.running.count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.running.none.wait_timeout_while(count, limit, |count| *count > 0);
        let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *count == 0
    }

    /// The script files in use, to be watched.
    pub fn scripts(&self) -> Vec<PathBuf> {
        self.reload.paths()
    }

    /// Puts new contents of a script in place, on every source that uses it, or on none.
    ///
    /// The new version is built whole, for each source, while the old one judges; then every lane swaps between
    /// two frames. Returns once all have. Calls are serialised: each sees the former's outcome.
    ///
    /// # Errors
    /// `Plugin`, with script and line, when the new version cannot be loaded; the old one goes on.
    pub fn reload(&self, script: &Path, text: &str) -> Result<Reloaded, Error> {
        self.reload.reload(script, text)
    }

    /// What has happened so far.
    pub fn summary(&self) -> Summary {
        summary::summarise(self)
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
        let until_ns = self.clock.monotonic_ns() + u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX / 4);
        let left = |clock: &dyn Clock| Duration::from_nanos(until_ns.saturating_sub(clock.monotonic_ns()));
        // Lanes first: whoever waits for room is released, and no further frame is judged.
        for source in &self.sources {
            source.route.inbox.close();
        }
        for backend in &mut self.backends {
            backend.stop(left(&*self.clock));
        }
        self.pools.clear();
        for lane in self.lanes.drain(..) {
            // A lane that panicked has been logged by the panic hook; its source is closed either way.
            let _ = lane.join();
        }
        if let Some(runtime) = self.runtime.take() {
            let pending = runtime.block_on(self.delivery.drain(left(&*self.clock)));
            if pending > 0 {
                tracing::warn!(pending, "stopped before every alert was delivered");
            }
            runtime.shutdown_background();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(2));
    }
}

/// Starts a named thread.
fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new()
        .name(name.clone())
        .spawn(run)
        .map_err(|e| Error::new(Code::Io, format!("cannot start thread {name}: {e}")))
}
