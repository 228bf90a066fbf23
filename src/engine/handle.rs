//! What others may hold of an engine: status, reloads, waiting for its end. Cheap to clone, keeps nothing running.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::live::{Events, Live};
use super::outside::{Applied, Board, Reloaded};
use super::rejected::Rejected;
use super::reload::Reloads;
use super::route::Route;
use super::status::{AlertStatus, HandlerStatus, PluginStatus, Status};
use super::strategies::StrategyBoard;
use crate::alert::Standing;
use crate::config::Plan;
use crate::error::{Code, Error};
use crate::guest::Files;
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
    pub(super) handlers: Vec<Arc<Standing>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: Arc<Events>,
    pub(super) reload: Reloads,
    pub(super) rejected: Arc<Rejected>,
    pub(super) running: Arc<Running>,
}

impl Shared {
    /// How every handler stands now.
    pub(super) fn handlers(&self) -> Vec<HandlerStatus> {
        let now_ns = self.clock.monotonic_ns();
        self.handlers.iter().map(|standing| HandlerStatus::read(standing, now_ns)).collect()
    }
}

/// See the module.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

impl Handle {
    /// The plan the engine runs.
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// Changes the engine to run `plan`: all of it, or nothing. Blocks until every lane has swapped; changes asked for
    /// meanwhile wait their turn. What needs a restart stays as it is and is named in the answer.
    ///
    /// # Errors
    /// Why the plan cannot run, with [`Error::part`] naming the part by its path; nothing has changed then.
    pub fn apply(&self, _plan: Plan) -> Result<Applied, Error> {
        Err(Error::new(Code::Unsupported, "a running engine cannot change yet"))
    }

    /// Stops a source and starts it again, its lane kept: tracks and state go on.
    ///
    /// # Errors
    /// When there is no such source, or its backend refuses it.
    pub fn restart_source(&self, _source: &str) -> Result<(), Error> {
        Err(Error::new(Code::Unsupported, "a running engine cannot change yet"))
    }

    /// Notes under a key what the health shall list as a problem; `None` takes the note back.
    pub fn set_note(&self, key: &str, problem: Option<String>) {
        self.0.rejected.set_note(key, problem);
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

    /// The scripts and components in use.
    pub fn modules(&self) -> Vec<PathBuf> {
        self.0.reload.modules()
    }

    /// Every file to be watched, with its contents as they run now: the modules, what they require and read, their
    /// plugin.toml; `None` for one that was looked for and is not in use. Waits for a reload under way, and changes
    /// with each.
    pub fn files(&self) -> Files {
        self.0.reload.files()
    }

    /// How many reloads there were, taken or not: what [`Handle::files`] gives changes with this number only.
    pub fn reloads(&self) -> u64 {
        self.0.reload.count()
    }

    /// Takes note that a file is not there any more. What runs goes on; it shows in the log and in the health.
    pub fn gone(&self, file: &Path) {
        self.0.reload.gone(file);
    }

    /// Where every script and component stands.
    pub fn plugins(&self) -> Vec<PluginStatus> {
        let mut plugins = self.0.reload.status();
        let handlers = self.0.handlers();
        for plugin in plugins.iter_mut().filter(|plugin| plugin.kind == "handler") {
            if let Some(handler) = handlers.iter().find(|handler| handler.name == plugin.name) {
                plugin.degraded = handler.degraded;
                plugin.last_error = plugin.last_error.take().or_else(|| handler.last_error.clone());
            }
        }
        plugins
    }

    /// Puts new contents of a script or component in place, for every strategy and handler that runs it and on every
    /// source, or on none. For a file that modules require or read, or their plugin.toml, those modules are built anew
    /// from what is on disk.
    ///
    /// The new version is built whole, for each source, while the old one judges, and tried on the last frames; then
    /// every lane swaps between two frames. Returns once all have; for a while after that, faults bring the old version
    /// back. Calls are serialised: each sees the former's outcome.
    ///
    /// # Errors
    /// `Plugin`, with the guest's own place, when the new version cannot be taken; the old one goes on.
    pub fn reload(&self, module: &Path, contents: &[u8]) -> Result<Reloaded, Error> {
        self.0.reload.reload(module, contents)
    }

    /// Reads the file of a strategy or handler and reloads it.
    ///
    /// # Errors
    /// As [`Handle::reload`]; `Io` when the file cannot be read; `Plugin` when there is no such plugin.
    pub fn reload_named(&self, name: &str) -> Result<Reloaded, Error> {
        let path = self.path_of(name)?;
        let contents =
            super::guests::read_module(&path).map_err(|e| Error::new(Code::Io, format!("{}: {e}", path.display())))?;
        self.reload(&path, &contents)
    }

    fn path_of(&self, name: &str) -> Result<PathBuf, Error> {
        self.0.reload.path_of(name).ok_or_else(|| {
            let known: Vec<String> = self.plugins().into_iter().map(|p| p.name).collect();
            let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
            Error::new(Code::Plugin, format!("there is no plugin '{name}'")).hint(format!("plugins: {known}"))
        })
    }

    /// Puts a shadow in the place of the strategy it runs beside, as a reload does.
    ///
    /// # Errors
    /// As [`Handle::reload`]; `Plugin` when `name` is no shadow.
    pub fn promote(&self, name: &str) -> Result<Reloaded, Error> {
        self.path_of(name)?;
        self.0.reload.promote(name)
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
        let (name, handlers) = (shared.plan.name.clone(), shared.handlers());
        Status::new(name, uptime_s, sources, strategies, handlers, alerts, shared.rejected.list())
            .with_problems(shared.rejected.notes())
    }

    fn plugins(&self) -> Vec<PluginStatus> {
        Handle::plugins(self)
    }

    fn reload(&self, plugin: &str) -> Result<Reloaded, Error> {
        self.reload_named(plugin)
    }

    fn promote(&self, plugin: &str) -> Result<Reloaded, Error> {
        Handle::promote(self, plugin)
    }

    fn metrics_text(&self) -> String {
        let problems = self.status().problems.len();
        self.0.metrics.problems.set(problems as i64);
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
