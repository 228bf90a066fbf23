//! A handle to an engine: status, changes, waiting for its end. Cheap to clone; does not keep the engine running.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use super::degrade::Degradation;
use super::lanes::ModelUnit;
use super::models;
use super::owner::{Owner, OwnerQueue};
use super::parts::Parts;
use super::source::SourceUnit;
use super::thresholds::Thresholds;
use super::versions::{Rejected, read_module};
use super::view::live::{Events, Live};
use super::view::outside::{Applied, EngineApi, Reloaded};
use super::view::status::{AlertStatus, HandlerStatus, PluginStatus, Status, StrategyStatus};
use super::view::strategy::StrategyBoard;
use crate::alert::records::Records;
use crate::alert::{Commanded, Outbox, Switches};
use crate::backend::evidence::Evidence;
use crate::backend::{Intake, Peers};
use crate::config::Plan;
use crate::error::{Code, Error};
use crate::guest::Files;
use crate::guest::StateStatus;
use crate::infer::OnDisk;
use crate::telemetry::Metrics;
use crate::telemetry::log::Figures;
use crate::types::{Clock, SourceId};

/// A snapshot of what runs. Every change of the engine publishes a new one.
pub(super) struct View {
    pub(super) plan: Arc<Plan>,
    /// In plan order.
    pub(super) sources: Vec<Arc<SourceUnit>>,
    /// Models, then the plan's other strategies in order, then the embedder's own.
    pub(super) strategies: Vec<Arc<StrategyBoard>>,
    pub(super) models: Vec<Arc<ModelUnit>>,
}

/// The state that an engine shares with its handles.
pub(super) struct Shared {
    pub(super) parts: Arc<Parts>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) started_ns: u64,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: Arc<Events>,
    pub(super) rejected: Arc<Rejected>,
    /// Number of changes.
    pub(super) count: Arc<AtomicU64>,
    pub(super) owner: OwnerQueue,
    /// The engine's own thresholds.
    pub(super) thresholds: Mutex<Thresholds>,
    /// What is given up for overload.
    pub(super) degradation: Mutex<Degradation>,
    /// The newest figures, for the log.
    pub(super) figures: Figures,
    view: ArcSwap<View>,
    /// Notes on the engine's health, by author.
    notes: Mutex<BTreeMap<String, String>>,
}

impl Shared {
    pub(super) fn new(
        parts: &Arc<Parts>,
        plan: Arc<Plan>,
        rejected: &Arc<Rejected>,
        count: &Arc<AtomicU64>,
        owner: OwnerQueue,
    ) -> Self {
        Self {
            clock: Arc::clone(&parts.clock),
            started_ns: parts.clock.monotonic_ns(),
            metrics: Arc::clone(&parts.metrics),
            events: Arc::clone(&parts.events),
            parts: Arc::clone(parts),
            rejected: Arc::clone(rejected),
            count: Arc::clone(count),
            owner,
            view: ArcSwap::from_pointee(View { plan, sources: Vec::new(), strategies: Vec::new(), models: Vec::new() }),
            thresholds: Mutex::default(),
            degradation: Mutex::default(),
            figures: Figures::default(),
            notes: Mutex::default(),
        }
    }

    /// Publishes a new snapshot.
    pub(super) fn show(&self, view: View) {
        self.view.store(Arc::new(view));
    }

    /// The current snapshot.
    pub(super) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// The current status of every handler.
    pub(super) fn handlers(&self) -> Vec<HandlerStatus> {
        let now_ns = self.clock.monotonic_ns();
        self.parts.delivery.standings().iter().map(|standing| HandlerStatus::read(standing, now_ns)).collect()
    }
}

/// See the module.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

impl Handle {
    /// The plan that the engine runs.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.0.view().plan)
    }

    /// The engine's metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// The queue of the handlers' commands. Each goes to one reader.
    pub fn commands(&self) -> Receiver<Commanded> {
        self.0.parts.delivery.commands()
    }

    /// Shows the handlers what they may switch.
    pub fn show_switches(&self, switches: Switches) {
        self.0.parts.delivery.show_switches(switches);
    }

    /// The newest figures as JSON, updated every `monitoring.metrics_interval`, for log writers.
    pub fn figures(&self) -> Figures {
        Arc::clone(&self.0.figures)
    }

    /// Waits until every source has ended, at most `limit`; returns whether they have. Live sources never end. Returns
    /// false if there is no source.
    pub fn wait(&self, limit: Duration) -> bool {
        self.0.parts.unended.wait(limit)
    }

    /// Runs a closure on the owner thread and waits for its result.
    fn ask<T: Send + 'static>(&self, what: impl FnOnce(&mut Owner) -> T + Send + 'static) -> Result<T, Error> {
        self.0.owner.ask(what).ok_or_else(|| Error::new(Code::Unsupported, "the engine has stopped"))
    }

    /// Changes the engine to run `plan`, all of it or nothing. Blocks until every lane has swapped; concurrent changes
    /// are queued. Settings that need a restart keep their value and are listed in the result.
    ///
    /// # Errors
    /// When the plan cannot run, with [`Error::part`] as the path of the failing part; nothing has changed then.
    pub fn apply(&self, plan: Plan) -> Result<Applied, Error> {
        self.ask(move |owner| owner.apply(plan))?
    }

    /// The models whose files have changed since they were loaded, with the files as they are now.
    pub fn stale_models(&self) -> BTreeMap<String, OnDisk> {
        models::stale(self.0.view().models.iter())
    }

    /// Loads these models again from their files, all of them or none, while the current ones run.
    ///
    /// # Errors
    /// When one cannot be loaded, or a rule does not fit its classes; nothing has changed then.
    pub fn reload_models(&self, names: Vec<String>) -> Result<Applied, Error> {
        self.ask(move |owner| owner.reload_models(&names))?
    }

    /// Stops a source and starts it again: frame numbers and tracks start over, the state of guests for it is kept.
    ///
    /// # Errors
    /// When there is no such source, or its backend refuses it.
    pub fn restart_source(&self, source: &str) -> Result<(), Error> {
        let id = SourceId::from(source);
        self.ask(move |owner| owner.restart_source(&id))?
    }

    /// Sets a note on the engine's health in `who`'s name, replacing the former one; `None` removes it.
    pub fn set_note(&self, who: &str, note: Option<String>) {
        let mut notes = self.0.notes.lock();
        match note {
            Some(note) => drop(notes.insert(who.to_owned(), note)),
            None => drop(notes.remove(who)),
        }
    }

    /// The scripts and components in use. Waits for a change in progress; empty once the engine has stopped.
    pub fn modules(&self) -> Vec<PathBuf> {
        self.ask(|owner| owner.versions.modules()).unwrap_or_default()
    }

    /// Every file to watch, with its contents as they run now: the modules, the files that they require and read, and
    /// their plugin.toml; `None` for a file that was looked for and is not in use. Waits for a change in progress. The
    /// result changes only when [`Handle::reloads`] does.
    pub fn files(&self) -> Files {
        self.ask(|owner| {
            owner.versions.settle();
            owner.versions.files()
        })
        .unwrap_or_default()
    }

    /// The number of changes, successful or not: the result of [`Handle::files`] changes only with this number.
    pub fn reloads(&self) -> u64 {
        self.0.count.load(Ordering::Acquire)
    }

    /// Notes that a file was deleted. The running version is kept; the log and the health report it.
    pub fn gone(&self, file: &Path) {
        let file = file.to_owned();
        // A stopped engine runs nothing that could be deleted.
        let _ = self.ask(move |owner| owner.versions.gone(&file));
    }

    /// The status of every script and component.
    pub fn plugins(&self) -> Vec<PluginStatus> {
        let mut plugins = self.ask(|owner| {
            owner.versions.settle();
            owner.versions.status()
        });
        let handlers = self.0.handlers();
        for plugin in plugins.iter_mut().flatten().filter(|plugin| plugin.kind == "handler") {
            if let Some(handler) = handlers.iter().find(|handler| handler.name == plugin.name) {
                plugin.degraded = handler.degraded;
                plugin.last_error = plugin.last_error.take().or_else(|| handler.last_error.clone());
            }
        }
        let mut plugins = plugins.unwrap_or_default();
        let plan = self.plan();
        let strategy = |name: &str| plan.strategies.iter().position(|strategy| strategy.name == name);
        let handler = |name: &str| plan.handlers.iter().position(|handler| *handler.name == *name);
        plugins.sort_by_key(|p| (p.kind == "handler", strategy(&p.name).or_else(|| handler(&p.name))));
        plugins
    }

    /// Replaces a script or component with new contents, for every strategy and handler that runs it and on every
    /// source, or on none. For a file that modules require or read, or their plugin.toml, those modules are rebuilt
    /// from what is on disk.
    ///
    /// The new version is built completely, for each source, while the old one judges, and tried on the last frames;
    /// then every lane swaps between two frames. Returns once all have; for a while after that, faults roll back to the
    /// old version. Calls are serialised: each sees the result of the previous one.
    ///
    /// # Errors
    /// `Plugin`, with the location in the guest, when the new version is rejected; the old one keeps running.
    pub fn reload(&self, module: &Path, contents: &[u8]) -> Result<Reloaded, Error> {
        let (module, contents) = (module.to_owned(), contents.to_owned());
        self.ask(move |owner| owner.versions.reload(&module, &contents))?
    }

    /// Reads the file of a strategy or handler and reloads it.
    ///
    /// # Errors
    /// As [`Handle::reload`]; `Io` when the file cannot be read; `Plugin` when there is no such plugin.
    pub fn reload_named(&self, name: &str) -> Result<Reloaded, Error> {
        let path = self.path_of(name)?;
        let contents = read_module(&path).map_err(|e| Error::new(Code::Io, format!("{}: {e}", path.display())))?;
        self.reload(&path, &contents)
    }

    fn path_of(&self, name: &str) -> Result<PathBuf, Error> {
        let wanted = name.to_owned();
        self.ask(move |owner| owner.versions.path_of(&wanted))?.ok_or_else(|| {
            let known: Vec<String> = self.plugins().into_iter().map(|p| p.name).collect();
            let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
            Error::new(Code::Plugin, format!("there is no plugin '{name}'")).hint(format!("plugins: {known}"))
        })
    }

    /// Replaces a strategy with the shadow that runs alongside it, as a reload does.
    ///
    /// # Errors
    /// As [`Handle::reload`]; `Plugin` when `name` is not a shadow.
    pub fn promote(&self, name: &str) -> Result<Reloaded, Error> {
        self.path_of(name)?;
        let name = name.to_owned();
        self.ask(move |owner| owner.versions.promote(&name))?
    }
}

impl EngineApi for Handle {
    fn status(&self) -> Status {
        let (shared, view) = (&self.0, self.0.view());
        let alerts = AlertStatus::read(shared.parts.delivery.outbox(), shared.clock.monotonic_ns());
        let plans: BTreeMap<_, _> = view.plan.sources.iter().map(|source| (&source.id, source)).collect();
        let status = |source: &Arc<SourceUnit>| {
            let status = match plans.get(&source.route.id) {
                Some(plan) => source.route.status().of_plan(plan.name.as_deref(), &plan.zones),
                None => source.route.status(),
            };
            status.with_evidence(source.evidence.as_deref())
        };
        let sources = view.sources.iter().map(status).collect();
        let off = |name: &str| view.models.iter().any(|model| model.plan.name == name && model.is_off());
        let strategy = |board: &Arc<StrategyBoard>| {
            let status = board.status();
            StrategyStatus { off_schedule: status.off_schedule || off(&status.name), ..status }
        };
        let strategies = view.strategies.iter().map(strategy).collect();
        let uptime_s = shared.clock.monotonic_ns().saturating_sub(shared.started_ns) as f64 / 1e9;
        let (name, handlers) = (view.plan.name.clone(), shared.handlers());
        let external: Vec<String> = shared.notes.lock().values().cloned().collect();
        let is_there = |name: &str| view.strategies.iter().any(|board| *board.name == *name);
        let of_models = view.models.iter().flat_map(|model| model.problems());
        let overload = shared.degradation.lock().problem();
        let notes = external.into_iter().chain(of_models).chain(shared.parts.guests.never(is_there));
        let notes = notes.chain(overload).collect();
        let checks = shared.thresholds.lock().checks(shared.clock.monotonic_ns());
        Status::new(name, uptime_s, sources, strategies, handlers, alerts, shared.rejected.list())
            .of(&view.plan)
            .with_silences(shared.parts.delivery.outbox().silence_count(shared.clock.unix_ns()))
            .with_checks(checks)
            .with_notes(notes)
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

    fn plugin_state(&self, plugin: &str) -> Result<Vec<StateStatus>, Error> {
        self.path_of(plugin)?;
        Ok(self.0.parts.guests.state().status(plugin))
    }

    fn clear_plugin_state(&self, plugin: &str) -> Result<usize, Error> {
        self.path_of(plugin)?;
        Ok(self.0.parts.guests.state().clear(plugin))
    }

    fn metrics_text(&self) -> String {
        let status = self.status();
        let metrics = &self.0.metrics;
        metrics.problems.set(status.problems.len() as i64);
        status.sources.iter().for_each(|source| source.export_evidence(metrics));
        metrics.queue("inference").set(self.0.parts.pool.waiting() as i64);
        metrics.queue("lanes").set(self.0.parts.threads.waiting() as i64);
        metrics.queue("changes").set(self.0.owner.queue.len() as i64);
        self.0.metrics.render()
    }

    fn peers(&self, source: &str) -> Result<Arc<dyn Peers>, Error> {
        self.0.parts.backends.peers(&SourceId::from(source))
    }

    fn evidence(&self, source: &str) -> Option<Arc<dyn Evidence>> {
        let view = self.0.view();
        view.sources.iter().find(|unit| unit.route.id.as_str() == source)?.evidence.clone()
    }

    fn count_refused(&self, reason: &'static str) {
        self.0.metrics.refused(reason);
    }

    fn intake(&self, source: &str) -> Option<Arc<dyn Intake>> {
        self.0.parts.backends.intake(source)
    }

    fn live(&self, source: &str) -> Option<Arc<Live>> {
        let view = self.0.view();
        let found = view.sources.iter().find(|s| s.route.id.as_str() == source);
        found.map(|s| Arc::clone(&s.live))
    }

    fn outbox(&self) -> Option<Arc<Outbox>> {
        Some(Arc::clone(self.0.parts.delivery.outbox()))
    }

    fn records(&self) -> Records {
        self.0.parts.delivery.outbox().recent()
    }

    fn events(&self) -> Arc<Events> {
        Arc::clone(&self.0.events)
    }

    fn pictures(&self) -> crate::alert::Pictures {
        self.0.parts.delivery.pictures().clone()
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("name", &self.0.view().plan.name).finish_non_exhaustive()
    }
}
