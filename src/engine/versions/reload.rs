//! Replaces guests while they run: builds and tries the new version, swaps between frames, then keeps it or rolls back.
//!
//! A reload compiles the new version once, lets an instance without side effects judge each lane's recent frames,
//! builds the real instances, and swaps them in between two frames, on every lane or on none. The old ones are kept
//! during a probation (`swap`). A reload that fails changes nothing and never blocks the next.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::guests::{Guests, read_module};
use super::rejected::Rejected;
use super::running::{Contained, GuestHandler, GuestStrategy, Origin, language};
use super::swap::Ready;
use crate::config::StrategyPlan;
use crate::engine::lanes::{LaneChange, change_lanes};
use crate::engine::view::outside::Reloaded;
use crate::engine::view::status::{GONE, PluginStatus};
use crate::error::{Code, Error};
use crate::guest::{BuildInputs, Doubt, Files};
use crate::telemetry::Metrics;
use crate::types::Clock;

/// Every guest of an engine, by name; held by the engine's owner.
pub(in crate::engine) struct Versions {
    pub(in crate::engine) guests: Arc<Guests>,
    pub(in crate::engine) rejected: Arc<Rejected>,
    pub(in crate::engine) metrics: Arc<Metrics>,
    pub(in crate::engine) clock: Arc<dyn Clock>,
    pub(in crate::engine) strategies: BTreeMap<Arc<str>, GuestStrategy>,
    pub(in crate::engine) handlers: BTreeMap<Arc<str>, GuestHandler>,
    /// Number of changes: the result of [`Versions::files`] changes only with this number.
    pub(in crate::engine) count: Arc<AtomicU64>,
}

impl Versions {
    pub(in crate::engine) fn new(
        guests: Arc<Guests>,
        rejected: Arc<Rejected>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        count: Arc<AtomicU64>,
    ) -> Self {
        let (strategies, handlers) = (BTreeMap::new(), BTreeMap::new());
        Self { guests, rejected, metrics, clock, strategies, handlers, count }
    }

    fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.strategies.values().map(GuestStrategy::origin).chain(self.handlers.values().map(|h| &h.origin))
    }

    /// Handles probations that have ended, and ends the shadows whose promotion has passed.
    pub(in crate::engine) fn settle(&mut self) {
        let now_ns = self.clock.monotonic_ns();
        self.strategies.values_mut().for_each(|strategy| {
            // A lane without frames does not notice the timeout itself.
            if let Some(trial) = &strategy.trial {
                trial.probation.expire(now_ns);
            }
            strategy.settle();
        });
        self.strategies.retain(|_, strategy| {
            let Some(probation) = &strategy.promoted else { return true };
            if probation.failed() {
                strategy.promoted = None;
                return true;
            }
            if probation.passed() {
                end_shadow(strategy);
            }
            !probation.passed()
        });
    }

    /// The modules in use.
    pub(in crate::engine) fn modules(&self) -> Vec<PathBuf> {
        let paths: BTreeSet<PathBuf> = self.origins().map(|origin| origin.path.clone()).collect();
        paths.into_iter().collect()
    }

    /// Every file that a new version may be built from, with its running contents.
    pub(in crate::engine) fn files(&self) -> Files {
        // One plugin may run a file that another has only looked for.
        self.origins().flat_map(Origin::files).fold(Files::new(), |mut files, (path, known)| {
            let runs = files.entry(path.to_owned()).or_default();
            *runs = runs.take().or(known);
            files
        })
    }

    /// Records that an input file was deleted.
    pub(in crate::engine) fn gone(&self, path: &Path) {
        for origin in self.origins().filter(|origin| origin.runs(path).is_some()) {
            let what = if origin.path == path { "its file".to_owned() } else { path.display().to_string() };
            let message = format!("{what}{GONE}");
            tracing::warn!(script = %origin.path.display(), "{message}");
            self.rejected.note(&origin.path, &message);
        }
    }

    /// Forgets the records of files that nothing runs any more.
    pub(in crate::engine) fn forget_rejected(&self) {
        self.rejected.retain(|path| self.origins().any(|origin| origin.path == path));
    }

    /// The file of a strategy or handler, by name.
    pub(in crate::engine) fn path_of(&self, name: &str) -> Option<PathBuf> {
        let strategy = self.strategies.get(name).map(GuestStrategy::origin);
        let origin = strategy.or_else(|| self.handlers.get(name).map(|handler| &handler.origin));
        origin.map(|origin| origin.path.clone())
    }

    /// The status of every plugin.
    pub(in crate::engine) fn status(&self) -> Vec<PluginStatus> {
        let strategies = self.strategies.values().map(|s| PluginStatus {
            name: s.name.to_string(),
            kind: "strategy",
            language: language(&s.origin().path),
            module: s.origin().path.display().to_string(),
            generation: s.running.generation,
            on_probation: s.trial.is_some(),
            shadow_of: s.running.plan.shadow_of.clone(),
            sources: s.lanes.len(),
            degraded: s.board.degraded(),
            last_error: s.board.status().last_error,
        });
        let handlers = self.handlers.values().map(|h| PluginStatus {
            name: h.name.to_string(),
            kind: "handler",
            language: language(&h.origin.path),
            module: h.origin.path.display().to_string(),
            generation: h.generation,
            on_probation: false,
            shadow_of: None,
            sources: 0,
            degraded: false,
            last_error: h.place.error(),
        });
        strategies.chain(handlers).collect()
    }

    /// Replaces a file's contents for everything that runs it, or for nothing. Modules that are built from it are
    /// rebuilt one by one.
    pub(in crate::engine) fn reload(&mut self, path: &Path, bytes: &[u8]) -> Result<Reloaded, Error> {
        self.settle();
        let concerned = self.origins().filter(|origin| origin.files().any(|(file, _)| file == path));
        let modules: BTreeSet<PathBuf> = concerned.map(|origin| origin.path.clone()).collect();
        let mut done = Reloaded { strategies: Vec::new(), generation: 0, lanes: 0, tried: 0, changed: false };
        if modules.is_empty() {
            return Err(Error::new(Code::Plugin, format!("{}: nothing runs this file", path.display())));
        }
        let mut first_error = None;
        for module in modules {
            let result = if module == path {
                self.reload_module(&module, bytes)
            } else {
                let read = read_module(&module);
                read.map_err(|e| Error::new(Code::Io, format!("{}: cannot be read: {e}", module.display())))
                    .and_then(|bytes| self.reload_module(&module, &bytes))
            };
            match result {
                Ok(more) => done.add(more),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        self.count.fetch_add(1, Ordering::Release);
        first_error.map_or(Ok(done), Err)
    }

    fn reload_module(&mut self, path: &Path, bytes: &[u8]) -> Result<Reloaded, Error> {
        let run = |origin: &Origin| origin.path == path;
        let of = |(name, origin): (&Arc<str>, &Origin)| run(origin).then(|| Arc::clone(name));
        let strategies: Vec<_> =
            self.strategies.iter().filter_map(|(name, strategy)| of((name, strategy.origin()))).collect();
        let handlers: Vec<_> = self.handlers.iter().filter_map(|(name, handler)| of((name, &handler.origin))).collect();
        let names = strategies.iter().chain(&handlers).map(ToString::to_string).collect();
        let mut done = Reloaded { strategies: names, generation: 0, lanes: 0, tried: 0, changed: true };
        if self.origins().filter(|origin| run(origin)).all(|origin| origin.contents.matches(bytes)) {
            done.generation = self.edit_reverted(path, &strategies, &handlers);
            done.changed = false;
            return Ok(done);
        }
        let result = self.replace(&strategies, &handlers, bytes, &mut done);
        // A swap of strategies has cleared it, unless they were rolled back meanwhile.
        if result.is_ok() && strategies.is_empty() {
            self.rejected.clear(path);
        }
        if let Err(error) = &result {
            self.rejected.note(path, error.message());
            for name in &strategies {
                if let Some(strategy) = self.strategies.get(name) {
                    strategy.board.set_error(Some(error.message().to_owned()));
                }
                self.metrics.versions(name).reload("rejected");
            }
            for name in &handlers {
                if let Some(handler) = self.handlers.get(name) {
                    handler.place.set_error(Some(error.message().to_owned()));
                }
                self.metrics.versions(name).reload("rejected");
            }
        }
        result.map(|()| done)
    }

    /// Handles an edit that was reverted: clears its errors. Returns the highest running generation.
    fn edit_reverted(&self, path: &Path, strategies: &[Arc<str>], handlers: &[Arc<str>]) -> u64 {
        self.rejected.clear(path);
        let strategies = strategies.iter().filter_map(|name| self.strategies.get(name)).map(|strategy| {
            if strategy.trial.is_none() {
                strategy.board.set_error(None);
            }
            strategy.running.generation
        });
        let handlers = handlers.iter().filter_map(|name| self.handlers.get(name)).map(|handler| {
            handler.place.set_error(None);
            handler.generation
        });
        strategies.chain(handlers).max().unwrap_or(0)
    }

    fn replace(
        &mut self,
        strategies: &[Arc<str>],
        handlers: &[Arc<str>],
        bytes: &[u8],
        done: &mut Reloaded,
    ) -> Result<(), Error> {
        let module: Arc<[u8]> = bytes.into();
        let (mut ready, mut doubts) = (Vec::with_capacity(strategies.len()), Vec::new());
        for name in strategies {
            let Some(strategy) = self.strategies.get(name) else { continue };
            if let Some((_, reason)) = strategy.bad.as_ref().filter(|(bad, _)| bad.matches(bytes)) {
                return Err(Error::new(Code::Plugin, format!("this version was rolled back before: {reason}"))
                    .hint("it is tried again once it has changed"));
            }
            let plan = strategy.running.plan.clone();
            let inputs = Arc::default();
            let prepared = self.prepare(name, plan, &module, &inputs);
            if let Some(strategy) = self.strategies.get_mut(name) {
                strategy.running.origin.wanted = inputs.files();
            }
            let prepared = prepared?;
            doubts.push((Arc::clone(name), self.try_ready(&prepared)?));
            ready.push(prepared);
        }
        let built = self.build_handlers(handlers, bytes, &module)?;
        done.tried += ready.iter().map(|ready| ready.tried).sum::<usize>();
        done.lanes += self.put(ready)?;
        doubts.into_iter().for_each(|(name, doubts)| self.guests.doubt(&name, doubts, true));
        let generations = strategies.iter().filter_map(|name| self.strategies.get(name));
        done.generation = generations.map(|s| s.running.generation).max().unwrap_or(0).max(done.generation);
        for (name, (built, contents)) in built {
            done.generation = done.generation.max(self.replace_handler(&name, built, contents));
        }
        Ok(())
    }

    /// Builds new versions of handlers from new contents of their module.
    #[allow(clippy::type_complexity, reason = "a list of what was built, used once")]
    fn build_handlers(
        &mut self,
        handlers: &[Arc<str>],
        bytes: &[u8],
        module: &Arc<[u8]>,
    ) -> Result<Vec<(Arc<str>, (Arc<dyn crate::alert::Handler>, Contained))>, Error> {
        let mut built = Vec::with_capacity(handlers.len());
        for name in handlers {
            let Some(handler) = self.handlers.get_mut(name) else { continue };
            let inputs = Arc::default();
            let made = self.guests.tried_handler(&handler.name, &handler.module, bytes, &inputs);
            handler.origin.wanted = inputs.files();
            let (made, doubts) = made?;
            warn_of(name, &doubts);
            built.push((Arc::clone(name), (made, Contained { module: Arc::clone(module), inputs: inputs.files() })));
        }
        Ok(built)
    }

    /// Installs a new version of a handler; returns its generation.
    fn replace_handler(&mut self, name: &str, built: Arc<dyn crate::alert::Handler>, contents: Contained) -> u64 {
        let Some(handler) = self.handlers.get_mut(name) else { return 0 };
        handler.place.replace(built);
        handler.standing.renew();
        handler.origin = Origin::new(&handler.module.path, contents);
        handler.generation += 1;
        let versions = self.metrics.versions(name);
        versions.reload("ok");
        versions.generation.set(i64::try_from(handler.generation).unwrap_or(i64::MAX));
        handler.generation
    }

    /// Replaces a strategy with the shadow that runs alongside it.
    pub(in crate::engine) fn promote(&mut self, name: &str) -> Result<Reloaded, Error> {
        self.settle();
        let wrong = |what: String| Error::new(Code::Plugin, what);
        let Some(shadow) = self.strategies.get(name) else {
            return Err(wrong(format!("there is no strategy '{name}'")));
        };
        let Some(of) = shadow.running.plan.shadow_of.clone() else {
            return Err(wrong(format!("'{name}' is no shadow: it judges already")));
        };
        let Some(active) = self.strategies.get(of.as_str()) else {
            return Err(wrong(format!("'{of}', which '{name}' ran beside, is gone")));
        };
        if shadow.promoted.is_some() {
            return Err(wrong(format!("'{name}' judges in the place of '{of}' already, on probation")));
        }
        // Built from the shadow's own inputs, whatever was saved meanwhile.
        let Contained { module, inputs } = shadow.origin().contents.clone();
        let left = active.origin().path.clone();
        let plan = StrategyPlan {
            name: of.clone(),
            sources: active.running.plan.sources.clone(),
            filters: active.running.plan.filters,
            schedule: active.running.plan.schedule.clone(),
            optional: active.running.plan.optional,
            tags: active.running.plan.tags.clone(),
            shadow_of: None,
            ..shadow.running.plan.clone()
        };
        let ready = self.prepare(&of.as_str().into(), plan, &module, &Arc::new(BuildInputs::of(inputs)))?;
        let (tried, doubts) = (ready.tried, self.try_ready(&ready)?);
        let lanes = self.put(vec![ready])?;
        self.guests.doubt(&of, doubts, true);
        let active = self.strategies.get(of.as_str());
        let generation = active.map_or(0, |active| active.running.generation);
        let probation = active.and_then(|active| active.trial.as_ref()).map(|trial| Arc::clone(&trial.probation));
        // The shadow ends with the probation; if that fails, it remains a shadow.
        if let Some(shadow) = self.strategies.get_mut(name) {
            shadow.promoted = probation;
        }
        self.settle();
        if self.origins().all(|origin| origin.path != left) {
            self.rejected.clear(&left);
        }
        self.count.fetch_add(1, Ordering::Release);
        Ok(Reloaded { strategies: vec![of], generation, lanes, tried, changed: true })
    }

    /// Swaps prepared versions in on every lane, or on none; returns the number of swapped lanes.
    fn put(&mut self, ready: Vec<Ready>) -> Result<usize, Error> {
        let mut changes = BTreeMap::new();
        let pending = self.register(ready, &mut changes);
        let changes = changes.into_values().collect();
        match change_lanes(changes) {
            Ok(changed) => {
                let lanes = changed.lanes();
                // A version that has failed meanwhile has been rolled back on every lane; the others stay.
                let kept = self.keep(pending, &changed.ended);
                changed.keep();
                kept.map(|()| lanes)
            }
            Err(error) => {
                self.revert(pending);
                Err(error)
            }
        }
    }
}

/// Logs what a handler may not be able to do.
pub(in crate::engine) fn warn_of(handler: &str, doubts: &[Doubt]) {
    doubts.iter().for_each(|Doubt { what, .. }| tracing::warn!(handler, "{what}"));
}

/// Removes a shadow from its lanes.
fn end_shadow(strategy: &GuestStrategy) {
    let Some(of) = &strategy.running.plan.shadow_of else { return };
    let change = || LaneChange { shadows: vec![(of.as_str().into(), None)], ..LaneChange::default() };
    // A busy lane keeps it, which is harmless: a shadow has no effects.
    if let Ok(changed) = change_lanes(strategy.lanes.values().map(|route| (Arc::clone(route), change())).collect()) {
        changed.keep();
    }
}
