//! Replacing guests while they run: new beside old, tried, swapped between frames, kept or rolled back.
//!
//! A reload compiles the new version once, lets an instance without side effects judge the frames that each lane
//! remembers, builds the real instances, and swaps them in between two frames, on every lane or on none. The old ones
//! are kept for the time of the [`Probation`]. A reload that fails changes nothing and never blocks the next.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::LANE_WAIT;
use super::guests::Guests;
use super::lane::Control;
use super::probation::Probation;
use super::rehearse::{looks, rehearse};
use super::rejected::Rejected;
use super::running::{Running, RunningHandler, Trial};
use super::shadow::Shadow;
use super::status::PluginStatus;
use crate::config::StrategyPlan;
use crate::error::{Code, Error};
use crate::guest::Fault;
use crate::strategy::Strategy;
use crate::telemetry::Metrics;
use crate::types::Clock;

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The strategies and handlers that run the file.
    pub strategies: Vec<String>,
    /// The generation that judges from now on.
    pub generation: u64,
    /// How many lanes swapped.
    pub lanes: usize,
    /// Remembered frames that the new version was tried on.
    pub tried: usize,
    /// `false` when the contents were already running and nothing was done.
    pub changed: bool,
}

/// See the module.
pub(super) struct Reloads {
    guests: Arc<Guests>,
    rejected: Arc<Rejected>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    /// Held over a whole reload, so that each save waits for the former's verdict. No frame path takes it.
    all: Mutex<All>,
}

/// Everything that can be replaced.
pub(super) struct All {
    pub(super) strategies: Vec<Running>,
    pub(super) handlers: Vec<RunningHandler>,
}

/// A new version, tried and built for each seat.
struct Ready {
    instances: Vec<Box<dyn Strategy>>,
    tried: usize,
}

impl Reloads {
    pub(super) fn new(
        guests: Arc<Guests>,
        rejected: Arc<Rejected>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        all: All,
    ) -> Self {
        Self { guests, rejected, metrics, clock, all: Mutex::new(all) }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        // A panic of a guest is caught before it gets here, and what is kept is whole between two statements.
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.strategies.iter_mut().for_each(Running::settle);
        all
    }

    /// The files in use.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let all = self.lock();
        let strategies = all.strategies.iter().filter_map(Running::path);
        let handlers = all.handlers.iter().filter_map(|h| h.module().map(|m| &*m.path));
        let mut paths: Vec<PathBuf> = strategies.chain(handlers).map(Path::to_owned).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// A file's contents as they run now.
    pub(super) fn contents(&self, path: &Path) -> Option<Arc<[u8]>> {
        let all = self.lock();
        let strategy = all.strategies.iter().find(|s| s.path() == Some(path)).map(|s| &s.bytes);
        let handler = || all.handlers.iter().find(|h| h.module().is_some_and(|m| m.path == path)).map(|h| &h.bytes);
        strategy.or_else(handler).cloned()
    }

    /// The file of a strategy or handler, by its name.
    pub(super) fn path_of(&self, name: &str) -> Option<PathBuf> {
        let all = self.lock();
        let strategy = all.strategies.iter().find(|s| s.plan.name == name).and_then(Running::path);
        let handler = || all.handlers.iter().find(|h| &*h.plan.name == name).and_then(|h| Some(&*h.module()?.path));
        strategy.or_else(handler).map(Path::to_owned)
    }

    /// Where every plugin stands.
    pub(super) fn status(&self) -> Vec<PluginStatus> {
        let all = self.lock();
        let strategies = all.strategies.iter().filter_map(|s| {
            Some(PluginStatus {
                name: s.plan.name.clone(),
                kind: "strategy",
                language: s.board.status().kind,
                module: s.path()?.display().to_string(),
                generation: s.generation,
                on_probation: s.trial.is_some(),
                shadow_of: s.plan.shadow_of.clone(),
                sources: s.seats.len(),
                degraded: s.board.degraded(),
                last_error: s.board.status().last_error,
            })
        });
        let handlers = all.handlers.iter().filter_map(|h| {
            let path = &h.module()?.path;
            Some(PluginStatus {
                name: h.plan.name.to_string(),
                kind: "handler",
                language: if path.extension().is_some_and(|e| e == "wasm") { "wasm" } else { "lua" },
                module: path.display().to_string(),
                generation: h.generation,
                on_probation: false,
                shadow_of: None,
                sources: 0,
                degraded: false,
                last_error: h.place.error(),
            })
        });
        strategies.chain(handlers).collect()
    }

    /// Puts new contents of a file in place, for everything that runs it, or for nothing.
    pub(super) fn reload(&self, path: &Path, bytes: &[u8]) -> Result<Reloaded, Error> {
        let mut all = self.lock();
        let All { strategies, handlers } = &mut *all;
        let mut concerned: Vec<&mut Running> = strategies.iter_mut().filter(|s| s.path() == Some(path)).collect();
        let mut concerned_handlers: Vec<&mut RunningHandler> =
            handlers.iter_mut().filter(|h| h.module().is_some_and(|m| m.path == path)).collect();
        if concerned.is_empty() && concerned_handlers.is_empty() {
            return Err(Error::new(Code::Plugin, format!("{}: nothing runs this file", path.display())));
        }
        let names = concerned.iter().map(|s| s.plan.name.clone());
        let names: Vec<String> = names.chain(concerned_handlers.iter().map(|h| h.plan.name.to_string())).collect();
        let mut done = Reloaded { strategies: names, generation: 0, lanes: 0, tried: 0, changed: true };
        if concerned.iter().all(|s| *s.bytes == *bytes) && concerned_handlers.iter().all(|h| *h.bytes == *bytes) {
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
        let result = self.replace(&mut concerned, &mut concerned_handlers, bytes, &mut done);
        if let Err(error) = &result {
            self.rejected.note(path, error.message());
            for running in &mut concerned {
                // On none, where not on all: those that had swapped already go back.
                if let Some(trial) = running.trial.as_ref().filter(|_| *running.bytes == *bytes) {
                    trial.probation.fail(error.message());
                    running.settle();
                }
                running.board.set_error(Some(error.message().to_owned()));
                self.metrics.versions(&running.plan.name).reload("rejected");
            }
            for handler in &concerned_handlers {
                handler.place.set_error(Some(error.message().to_owned()));
                self.metrics.versions(&handler.plan.name).reload("rejected");
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
        let mut ready = Vec::with_capacity(strategies.len());
        for running in strategies.iter() {
            if let Some((_, reason)) = running.bad.as_ref().filter(|(bad, _)| **bad == *bytes) {
                return Err(Error::new(Code::Plugin, format!("this version was rolled back before: {reason}"))
                    .hint("it is tried again once it has changed"));
            }
            ready.push(self.prepare(running, &running.plan, bytes)?);
        }
        let mut built = Vec::with_capacity(handlers.len());
        for handler in handlers.iter() {
            let Some(module) = handler.module() else { continue };
            built.push(self.guests.handler(&handler.plan.name, module, bytes)?);
        }
        for (running, ready) in strategies.iter_mut().zip(ready) {
            let plan = running.plan.clone();
            done.tried += ready.tried;
            done.lanes += self.put(running, plan, bytes, ready)?;
            done.generation = done.generation.max(running.generation);
        }
        for (handler, built) in handlers.iter_mut().zip(built) {
            handler.place.replace(built);
            handler.bytes = bytes.into();
            handler.generation += 1;
            done.generation = done.generation.max(handler.generation);
            let versions = self.metrics.versions(&handler.plan.name);
            versions.reload("ok");
            versions.generation.set(i64::try_from(handler.generation).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    /// Builds a version, tries it on what each lane remembers, and makes the instances that will judge.
    fn prepare(&self, running: &Running, plan: &StrategyPlan, bytes: &[u8]) -> Result<Ready, Error> {
        let version = self.guests.strategy(plan, bytes)?;
        if running.plan.shadow_of.is_some() {
            let instances = running.seats.iter().map(|seat| version.rehearsal(&seat.source));
            return Ok(Ready { instances: instances.collect::<Result<_, _>>()?, tried: 0 });
        }
        let mut tried = 0;
        for (seat, look) in looks(&running.seats) {
            tried += rehearse(&version, seat, look.as_ref())?;
        }
        let instances = running.seats.iter().map(|seat| version.instance(&seat.source));
        Ok(Ready { instances: instances.collect::<Result<_, _>>()?, tried })
    }

    /// Hands every lane its new instance and waits until each has taken it; returns how many have.
    fn put(&self, running: &mut Running, plan: StrategyPlan, bytes: &[u8], ready: Ready) -> Result<usize, Error> {
        let generation = running.highest + 1;
        running.highest = generation;
        if running.plan.shadow_of.is_some() {
            for (seat, strategy) in running.seats.iter().zip(ready.instances) {
                let metrics = self.metrics.strategy(&plan.name, &seat.source);
                let shadow = Some(Shadow::new(strategy, Arc::clone(&running.board), metrics));
                seat.route.inbox.control(Control::Shadow { rule: seat.rule, shadow });
            }
            let lanes = running.seats.len();
            self.took(running, plan, bytes, generation, None);
            return Ok(lanes);
        }
        let probation = self.probation(running, generation);
        let waits: Vec<_> = running
            .seats
            .iter()
            .zip(ready.instances)
            .map(|(seat, strategy)| {
                let (done, wait) = crossbeam_channel::bounded(1);
                let probation = Arc::clone(&probation);
                seat.route.inbox.control(Control::Swap { rule: seat.rule, strategy, generation, probation, done });
                wait
            })
            .collect();
        let mut lanes = 0;
        let mut refused: Option<Fault> = None;
        for wait in waits {
            match wait.recv_timeout(LANE_WAIT) {
                Ok(Ok(())) => lanes += 1,
                Ok(Err(fault)) => refused = refused.or(Some(fault)),
                // The lane has ended: it has nothing to try the version on.
                Err(_) => probation.lane_passed(),
            }
        }
        if let Some(fault) = refused {
            let message = format!("it cannot take over: {fault}");
            probation.fail(&message);
            return Err(Error::new(Code::Plugin, message));
        }
        if running.seats.is_empty() {
            probation.pass();
        }
        let trial = Trial {
            probation,
            plan: running.plan.clone(),
            bytes: Arc::clone(&running.bytes),
            generation: running.generation,
        };
        self.took(running, plan, bytes, generation, Some(trial));
        Ok(lanes)
    }

    fn took(&self, running: &mut Running, plan: StrategyPlan, bytes: &[u8], generation: u64, trial: Option<Trial>) {
        (running.plan, running.bytes) = (plan, bytes.into());
        (running.generation, running.trial, running.bad) = (generation, trial, None);
        running.board.reloaded(generation);
        let path = running.path().map(Path::to_owned).unwrap_or_default();
        self.rejected.clear(&path);
        let versions = self.metrics.versions(&running.plan.name);
        versions.reload("ok");
        versions.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        // A probation that failed before this was noted shows as it is.
        if let Some(reason) = running.trial.as_ref().filter(|t| t.probation.failed()).map(|t| t.probation.reason()) {
            self.rejected.note(&path, &reason.unwrap_or_default());
        }
    }

    /// A probation that says how it ended, in the log, on the board and in the metrics.
    fn probation(&self, running: &Running, generation: u64) -> Arc<Probation> {
        let routes = running.seats.iter().map(|seat| Arc::clone(&seat.route)).collect();
        let (board, back) = (Arc::clone(&running.board), running.generation);
        let (rejected, path) = (Arc::clone(&self.rejected), running.path().map(Path::to_owned).unwrap_or_default());
        let versions = self.metrics.versions(&running.plan.name);
        Probation::new(
            self.clock.monotonic_ns(),
            routes,
            Box::new(move |failed| {
                let strategy = &*board.name;
                match failed {
                    None => tracing::info!(strategy, generation, "the new version stays"),
                    Some(reason) => {
                        tracing::error!(strategy, generation, back, "rolled back to the former version: {reason}");
                        board.reloaded(back);
                        let told = format!("rolled back: {reason}");
                        rejected.note(&path, &told);
                        board.set_error(Some(told));
                        versions.reload("rolled_back");
                        versions.generation.set(i64::try_from(back).unwrap_or(i64::MAX));
                    }
                }
            }),
        )
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
        let bytes = Arc::clone(&all.strategies[shadow].bytes);
        let from = all.strategies[shadow].plan.clone();
        let running = &mut all.strategies[active];
        let plan = StrategyPlan {
            name: of.clone(),
            sources: running.plan.sources.clone(),
            filters: running.plan.filters,
            shadow_of: None,
            ..from
        };
        let ready = self.prepare(running, &plan, &bytes)?;
        let tried = ready.tried;
        let lanes = self.put(running, plan, &bytes, ready)?;
        let generation = running.generation;
        let gone = all.strategies.remove(shadow);
        for seat in &gone.seats {
            seat.route.inbox.control(Control::Shadow { rule: seat.rule, shadow: None });
        }
        Ok(Reloaded { strategies: vec![of], generation, lanes, tried, changed: true })
    }
}
