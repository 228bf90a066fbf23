//! Replacing guests while they run: new beside old, tried, swapped between frames, kept or rolled back.
//!
//! A reload compiles the new version once, lets an instance without side effects judge the frames that each lane
//! remembers, builds the real instances, and swaps them in between two frames, on every lane or on none. The old ones
//! are kept for the time of a probation (`swap`). A reload that fails changes nothing and never blocks the next.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::control::Control;
use super::guests::{Guests, read_module};
use super::outside::Reloaded;
use super::rehearse::{looks, rehearse};
use super::rejected::Rejected;
use super::running::{Origin, Running, RunningHandler, Texts};
use super::status::PluginStatus;
use crate::config::StrategyPlan;
use crate::error::{Code, Error};
use crate::guest::{Beside, Files};
use crate::strategy::Strategy;
use crate::telemetry::Metrics;
use crate::types::Clock;

/// See the module.
pub(super) struct Reloads {
    guests: Arc<Guests>,
    pub(super) rejected: Arc<Rejected>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Arc<dyn Clock>,
    /// Held over a whole reload, so that each save waits for the former's verdict. No frame path takes it.
    all: Mutex<All>,
    pub(super) count: Arc<AtomicU64>,
}

/// Everything that can be replaced.
pub(super) struct All {
    pub(super) strategies: Vec<Running>,
    pub(super) handlers: Vec<RunningHandler>,
}

/// A new version, tried and built for each seat.
pub(super) struct Ready {
    pub(super) instances: Vec<Box<dyn Strategy>>,
    pub(super) texts: Texts,
    pub(super) tried: usize,
}

impl All {
    fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.strategies.iter().map(|s| &s.origin).chain(self.handlers.iter().map(|h| &h.origin))
    }

    /// Ends the shadows whose promotion has held.
    fn drop_promoted(&mut self) {
        self.strategies.retain_mut(|s| {
            let Some(probation) = &s.promoted else { return true };
            if probation.failed() {
                s.promoted = None;
            }
            let held = s.promoted.as_ref().is_some_and(|probation| probation.passed());
            if held {
                for seat in &s.seats {
                    seat.route.inbox.control(Control::Shadow { rule: seat.rule, shadow: None });
                }
            }
            !held
        });
    }
}

impl Reloads {
    pub(super) fn new(
        guests: Arc<Guests>,
        rejected: Arc<Rejected>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        all: All,
    ) -> Self {
        Self { guests, rejected, metrics, clock, all: Mutex::new(all), count: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        // A panic of a guest is caught before it gets here, and what is kept is whole between two statements.
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.strategies.iter_mut().for_each(Running::settle);
        all.drop_promoted();
        all
    }

    /// The modules in use.
    pub(super) fn modules(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.lock().origins().map(|origin| origin.path.clone()).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// Every file that a new version of something may come from, with what runs of it.
    pub(super) fn files(&self) -> Files {
        let all = self.lock();
        // One may run what another has only looked at.
        all.origins().flat_map(Origin::files).fold(Files::new(), |mut files, (path, known)| {
            let runs = files.entry(path.to_owned()).or_default();
            *runs = runs.take().or(known);
            files
        })
    }

    /// How many reloads there were.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// A file that something is built from is gone.
    pub(super) fn gone(&self, path: &Path) {
        let all = self.lock();
        for origin in all.origins().filter(|origin| origin.runs(path).is_some()) {
            let what = if origin.path == path { "its file".to_owned() } else { path.display().to_string() };
            let told = format!("{what} is gone: what runs goes on, but a restart will fail");
            tracing::warn!(script = %origin.path.display(), "{told}");
            self.rejected.note(&origin.path, &told);
        }
    }

    /// The file of a strategy or handler, by its name.
    pub(super) fn path_of(&self, name: &str) -> Option<PathBuf> {
        let all = self.lock();
        let strategy = all.strategies.iter().find(|s| s.plan.name == name).map(|s| &s.origin);
        let handler = || all.handlers.iter().find(|h| &*h.name == name).map(|h| &h.origin);
        strategy.or_else(handler).map(|origin| origin.path.clone())
    }

    /// Where every plugin stands.
    pub(super) fn status(&self) -> Vec<PluginStatus> {
        let all = self.lock();
        let strategies = all.strategies.iter().map(|s| PluginStatus {
            name: s.plan.name.clone(),
            kind: "strategy",
            language: s.board.status().kind,
            module: s.origin.path.display().to_string(),
            generation: s.generation,
            on_probation: s.trial.is_some(),
            shadow_of: s.plan.shadow_of.clone(),
            sources: s.seats.len(),
            degraded: s.board.degraded(),
            last_error: s.board.status().last_error,
        });
        let handlers = all.handlers.iter().map(|h| PluginStatus {
            name: h.name.to_string(),
            kind: "handler",
            language: if h.origin.path.extension().is_some_and(|e| e == "wasm") { "wasm" } else { "lua" },
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

    /// Puts new contents of a file in place, for everything that runs it, or for nothing. Modules that are built from it
    /// are built anew, each for itself.
    pub(super) fn reload(&self, path: &Path, bytes: &[u8]) -> Result<Reloaded, Error> {
        let mut all = self.lock();
        let concerned = all.origins().filter(|origin| origin.files().any(|(file, _)| file == path));
        let modules: BTreeSet<PathBuf> = concerned.map(|origin| origin.path.clone()).collect();
        let mut done = Reloaded { strategies: Vec::new(), generation: 0, lanes: 0, tried: 0, changed: false };
        if modules.is_empty() {
            return Err(Error::new(Code::Plugin, format!("{}: nothing runs this file", path.display())));
        }
        let mut first_error = None;
        for module in modules {
            let result = if module == path {
                self.reload_module(&mut all, &module, bytes)
            } else {
                let read = read_module(&module);
                read.map_err(|e| Error::new(Code::Io, format!("{}: cannot be read: {e}", module.display())))
                    .and_then(|bytes| self.reload_module(&mut all, &module, &bytes))
            };
            match result {
                Ok(more) => done.add(more),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        self.count.fetch_add(1, Ordering::Release);
        first_error.map_or(Ok(done), Err)
    }

    fn reload_module(&self, all: &mut All, path: &Path, bytes: &[u8]) -> Result<Reloaded, Error> {
        let All { strategies, handlers } = all;
        let mut concerned: Vec<&mut Running> = strategies.iter_mut().filter(|s| s.origin.path == path).collect();
        let mut concerned_handlers: Vec<&mut RunningHandler> =
            handlers.iter_mut().filter(|h| h.origin.path == path).collect();
        let names = concerned.iter().map(|s| s.plan.name.clone());
        let names: Vec<String> = names.chain(concerned_handlers.iter().map(|h| h.name.to_string())).collect();
        let mut done = Reloaded { strategies: names, generation: 0, lanes: 0, tried: 0, changed: true };
        let mut origins = concerned.iter().map(|s| &s.origin).chain(concerned_handlers.iter().map(|h| &h.origin));
        if origins.all(|origin| origin.texts.are(bytes)) {
            // An edit that was taken back: what was wrong with it is over.
            self.rejected.clear(path);
            concerned.iter().filter(|s| s.trial.is_none()).for_each(|s| s.board.set_error(None));
            concerned_handlers.iter().for_each(|h| h.place.set_error(None));
            let generations =
                concerned.iter().map(|s| s.generation).chain(concerned_handlers.iter().map(|h| h.generation));
            done.generation = generations.max().unwrap_or(0);
            done.changed = false;
            return Ok(done);
        }
        let before: Vec<u64> = concerned.iter().map(|s| s.generation).collect();
        let result = self.replace(&mut concerned, &mut concerned_handlers, bytes, &mut done);
        if let Err(error) = &result {
            self.rejected.note(path, error.message());
            for (running, before) in concerned.iter_mut().zip(before) {
                // On none, where not on all: those that had swapped already go back.
                if let Some(trial) = running.trial.as_ref().filter(|_| running.generation != before) {
                    trial.probation.fail(error.message());
                    running.settle();
                }
                running.board.set_error(Some(error.message().to_owned()));
                self.metrics.versions(&running.plan.name).reload("rejected");
            }
            for handler in &concerned_handlers {
                handler.place.set_error(Some(error.message().to_owned()));
                self.metrics.versions(&handler.name).reload("rejected");
            }
        }
        result.map(|()| done)
    }

    fn replace(
        &self,
        strategies: &mut [&mut Running],
        handlers: &mut [&mut RunningHandler],
        bytes: &[u8],
        done: &mut Reloaded,
    ) -> Result<(), Error> {
        let module: Arc<[u8]> = bytes.into();
        let mut ready = Vec::with_capacity(strategies.len());
        for running in strategies.iter_mut() {
            if let Some((_, reason)) = running.bad.as_ref().filter(|(bad, _)| bad.are(bytes)) {
                return Err(Error::new(Code::Plugin, format!("this version was rolled back before: {reason}"))
                    .hint("it is tried again once it has changed"));
            }
            let beside = Arc::default();
            let prepared = self.prepare(running, &running.plan, &module, &beside);
            running.origin.wanted = beside.files();
            ready.push(prepared?);
        }
        let mut built = Vec::with_capacity(handlers.len());
        for handler in handlers.iter_mut() {
            let beside = Arc::default();
            let made = self.guests.handler(&handler.name, &handler.module, bytes, &beside);
            handler.origin.wanted = beside.files();
            built.push((made?, Texts { module: Arc::clone(&module), beside: beside.files() }));
        }
        for (running, ready) in strategies.iter_mut().zip(ready) {
            let plan = running.plan.clone();
            done.tried += ready.tried;
            done.lanes += self.put(running, plan, ready)?;
            done.generation = done.generation.max(running.generation);
        }
        for (handler, (built, texts)) in handlers.iter_mut().zip(built) {
            handler.place.replace(built);
            handler.standing.renew();
            handler.origin = Origin::new(&handler.module.path, texts);
            handler.generation += 1;
            done.generation = done.generation.max(handler.generation);
            let versions = self.metrics.versions(&handler.name);
            versions.reload("ok");
            versions.generation.set(i64::try_from(handler.generation).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    /// Builds a version, tries it on what each lane remembers, and makes the instances that will judge.
    fn prepare(
        &self,
        running: &Running,
        plan: &StrategyPlan,
        module: &Arc<[u8]>,
        beside: &Arc<Beside>,
    ) -> Result<Ready, Error> {
        let version = self.guests.strategy(plan, module, beside)?;
        let shadow = running.plan.shadow_of.is_some();
        let mut tried = 0;
        if !shadow {
            for (seat, look) in looks(&running.seats) {
                tried += rehearse(&version, seat, look.as_ref())?;
            }
        }
        let sources = running.seats.iter().map(|seat| &seat.source);
        let instances = sources.map(|source| if shadow { version.rehearsal(source) } else { version.instance(source) });
        let instances = instances.collect::<Result<_, _>>()?;
        Ok(Ready { instances, texts: Texts { module: Arc::clone(module), beside: beside.files() }, tried })
    }

    /// Puts a shadow in the place of the strategy it ran beside.
    pub(super) fn promote(&self, name: &str) -> Result<Reloaded, Error> {
        let mut all = self.lock();
        let wrong = |what: String| Error::new(Code::Plugin, what);
        let Some(shadow) = all.strategies.iter().position(|s| s.plan.name == name) else {
            return Err(wrong(format!("there is no strategy '{name}'")));
        };
        let Some(of) = all.strategies[shadow].plan.shadow_of.clone() else {
            return Err(wrong(format!("'{name}' is no shadow: it judges already")));
        };
        let Some(active) = all.strategies.iter().position(|s| s.plan.name == of) else {
            return Err(wrong(format!("'{of}', which '{name}' ran beside, is gone")));
        };
        // Built from what the shadow was built from, whatever was saved meanwhile.
        let Texts { module, beside } = all.strategies[shadow].origin.texts.clone();
        let from = all.strategies[shadow].plan.clone();
        if all.strategies[shadow].promoted.is_some() {
            return Err(wrong(format!("'{name}' judges in the place of '{of}' already, on probation")));
        }
        let running = &mut all.strategies[active];
        let left = running.origin.path.clone();
        let plan = StrategyPlan {
            name: of.clone(),
            sources: running.plan.sources.clone(),
            filters: running.plan.filters,
            shadow_of: None,
            ..from
        };
        let ready = self.prepare(running, &plan, &module, &Arc::new(Beside::of(beside)))?;
        let tried = ready.tried;
        let lanes = self.put(running, plan, ready)?;
        let generation = running.generation;
        let probation = running.trial.as_ref().map(|trial| Arc::clone(&trial.probation));
        // It goes once the probation is over; where that fails, it is a shadow as before.
        all.strategies[shadow].promoted = probation;
        all.drop_promoted();
        if all.origins().all(|origin| origin.path != left) {
            self.rejected.clear(&left);
        }
        self.count.fetch_add(1, Ordering::Release);
        Ok(Reloaded { strategies: vec![of], generation, lanes, tried, changed: true })
    }
}
