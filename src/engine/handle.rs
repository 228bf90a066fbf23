//! What others may hold of an engine: status, reloads, waiting for its end. Cheap to clone, keeps nothing running.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::live::{Events, Live};
use super::reload::{Reloaded, Scripts};
use super::route::Route;
use super::status::{AlertStatus, Board, RejectedReload, Status};
use super::strategies::StrategyBoard;
use crate::config::Plan;
use crate::error::Error;
use crate::telemetry::Metrics;
use crate::types::Clock;

/// Counts the sources that still run.
pub(super) struct Running {
    count: Mutex<usize>,
    none: Condvar,
}

impl Running {
    pub(super) fn new(count: usize) -> Self {
        Self { count: Mutex::new(count), none: Condvar::new() }
    }

    /// One source is through.
    pub(super) fn finished(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.none.notify_all();
        }
    }
}

/// Scripts whose latest contents were rejected, and why: what runs is not what is in the file.
#[derive(Default)]
pub(super) struct Rejected(Mutex<BTreeMap<PathBuf, String>>);

impl Rejected {
    /// What came of a reload.
    fn note(&self, script: &Path, outcome: &Result<Reloaded, Error>) {
        let mut scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(_) => drop(scripts.remove(script)),
            Err(error) => drop(scripts.insert(script.to_owned(), error.message().to_owned())),
        }
    }

    fn list(&self) -> Vec<RejectedReload> {
        let scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let each = scripts.iter();
        each.map(|(path, error)| RejectedReload { script: path.display().to_string(), error: error.clone() }).collect()
    }
}

/// One source as it runs.
pub(super) struct Source {
    pub(super) route: Arc<Route>,
    pub(super) live: Arc<Live>,
}

/// What an engine shares with those who hold its handle.
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) started_ns: u64,
    pub(super) sources: Vec<Source>,
    pub(super) strategies: Vec<Arc<StrategyBoard>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: Arc<Events>,
    pub(super) reload: Scripts,
    pub(super) rejected: Rejected,
    pub(super) running: Arc<Running>,
}

/// See the module.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

impl Handle {
    /// The plan the engine runs.
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Waits until every source has ended, at most `limit`; returns whether they have. Live sources never end.
    pub fn wait(&self, limit: Duration) -> bool {
        let running = &self.0.running;
        let count = running.count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = running.none.wait_timeout_while(count, limit, |count| *count > 0);
        let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *count == 0
    }

    /// The script files in use, to be watched.
    pub fn scripts(&self) -> Vec<PathBuf> {
        self.0.reload.paths()
    }

    /// A script's text as it runs now.
    pub fn script(&self, path: &Path) -> Option<String> {
        self.0.reload.text(path)
    }

    /// Puts new contents of a script in place, on every source that uses it, or on none.
    ///
    /// The new version is built whole, for each source, while the old one judges; then every lane swaps between two
    /// frames. Returns once all have. Calls are serialised: each sees the former's outcome.
    ///
    /// # Errors
    /// `Plugin`, with script and line, when the new version cannot be loaded; the old one goes on.
    pub fn reload(&self, script: &Path, text: &str) -> Result<Reloaded, Error> {
        let outcome = self.0.reload.reload(script, text);
        self.0.rejected.note(script, &outcome);
        outcome
    }
}

impl Board for Handle {
    fn status(&self) -> Status {
        let shared = &self.0;
        let mut alerts = AlertStatus::default();
        let sources = shared.sources.iter().map(|source| {
            let route = &source.route;
            alerts.add(&route.metrics);
            route.status()
        });
        let sources = sources.collect();
        let strategies = shared.strategies.iter().map(|board| board.status()).collect();
        let uptime_s = shared.clock.monotonic_ns().saturating_sub(shared.started_ns) as f64 / 1e9;
        Status::new(shared.plan.name.clone(), uptime_s, sources, strategies, alerts, shared.rejected.list())
    }

    fn metrics_text(&self) -> String {
        self.0.metrics.render()
    }

    fn live(&self, source: &str) -> Option<Arc<Live>> {
        let found = self.0.sources.iter().find(|s| s.route.id.as_str() == source);
        found.map(|s| Arc::clone(&s.live))
    }

    fn events(&self) -> Arc<Events> {
        Arc::clone(&self.0.events)
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("name", &self.0.plan.name).finish_non_exhaustive()
    }
}
