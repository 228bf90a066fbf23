//! Installs versions: on every lane or on none, between two frames; the former ones are kept during a probation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::guests::Version;
use super::rehearse::{rehearse, snapshots};
use super::reload::Versions;
use super::running::{Contained, GuestStrategy, Origin, Rollback, RunningVersion, language, module};
use super::trial::try_out;
use crate::config::StrategyPlan;
use crate::engine::lanes::{Control, LaneChange, Probation, Route, Shadow, Swap};
use crate::error::{Code, Error};
use crate::guest::{BuildInputs, Doubt};
use crate::strategy::Strategy;
use crate::types::SourceId;

/// A tested new version of a strategy, with an instance for each of its lanes.
pub(in crate::engine) struct Ready {
    pub(in crate::engine) name: Arc<str>,
    pub(in crate::engine) plan: StrategyPlan,
    pub(in crate::engine) version: Arc<Version>,
    pub(in crate::engine) instances: BTreeMap<SourceId, Box<dyn Strategy>>,
    pub(in crate::engine) contents: Contained,
    pub(in crate::engine) tried: usize,
}

/// Versions that are registered and not on every lane yet.
#[derive(Default)]
pub(in crate::engine) struct PendingSwaps(Vec<PendingSwap>);

/// One of them, and the state that it replaced.
struct PendingSwap {
    name: Arc<str>,
    probation: Option<Arc<Probation>>,
    former: RunningVersion,
    /// The probation of the former version; it resumes if the new version is reverted.
    held: Option<Rollback>,
    /// The lanes that were sent the swap.
    lanes: Vec<Arc<Route>>,
    /// The error that the board showed for the former version.
    error: Option<String>,
    rejected: Option<String>,
}

/// The changes of lanes, by source.
pub(in crate::engine) type LaneChanges = BTreeMap<SourceId, (Arc<Route>, LaneChange)>;

/// The lanes of every guest: by strategy, by source.
pub(in crate::engine) type Lanes = BTreeMap<Arc<str>, BTreeMap<SourceId, Arc<Route>>>;

impl Versions {
    /// The current lanes of every guest.
    pub(in crate::engine) fn lanes(&self) -> Lanes {
        self.strategies.iter().map(|(name, strategy)| (Arc::clone(name), strategy.lanes.clone())).collect()
    }

    /// Restores the lanes of every guest; guests that are not listed are removed.
    pub(in crate::engine) fn set_lanes(&mut self, mut lanes: Lanes) {
        self.strategies.retain(|name, strategy| match lanes.remove(name) {
            Some(lanes) => {
                strategy.lanes = lanes;
                true
            }
            None => false,
        });
    }

    /// Removes a source's lane from every guest.
    pub(in crate::engine) fn leave(&mut self, source: &SourceId) {
        for strategy in self.strategies.values_mut() {
            strategy.lanes.remove(source);
        }
    }

    /// Records the files that the first instances of new guests were built from.
    pub(in crate::engine) fn note_files(&mut self) {
        for strategy in self.strategies.values_mut() {
            if let Some(inputs) = strategy.first.take() {
                strategy.running.origin.contents.inputs = inputs.files();
            }
        }
    }

    /// Builds a version of the strategy `name`, tries it on each lane's recent frames, and creates the instances that
    /// will judge.
    pub(in crate::engine) fn prepare(
        &self,
        name: &Arc<str>,
        plan: StrategyPlan,
        module: &Arc<[u8]>,
        inputs: &Arc<BuildInputs>,
    ) -> Result<Ready, Error> {
        let version = Arc::new(self.guests.strategy(&plan, module, inputs)?);
        let shadow = plan.shadow_of.is_some();
        let none = BTreeMap::new();
        let lanes = self.strategies.get(name).map_or(&none, |strategy| &strategy.lanes);
        let mut tried = 0;
        if !shadow {
            for (source, snapshot) in snapshots(name, lanes.iter())? {
                tried += rehearse(&version, source, &snapshot, &self.guests.zones_of(source))?;
            }
        }
        let make = |source: &SourceId| if shadow { version.rehearsal(source) } else { version.instance(source) };
        let instances = lanes.keys().map(|source| Ok((source.clone(), make(source)?))).collect::<Result<_, Error>>()?;
        let contents = Contained { module: Arc::clone(module), inputs: inputs.files() };
        Ok(Ready { name: Arc::clone(name), plan, version, instances, contents, tried })
    }

    /// Tries a version on generated frames of the sources that it judges. Returns what it requests and may never get.
    pub(in crate::engine) fn try_ready(&self, ready: &Ready) -> Result<Vec<Doubt>, Error> {
        let others = self.strategies.iter().filter(|(name, other)| {
            **name != ready.name && other.running.plan.shadow_of.is_none() && other.running.version.text().may_label()
        });
        let others: Vec<_> = others.map(|(_, other)| other).collect();
        let known = ready.instances.keys().map(|source| {
            let mut facts = self.guests.facts_of(source);
            if others.iter().any(|other| other.lanes.contains_key(source)) {
                facts.labels.others = facts.labels.others.or(Some("another rule may add others"));
            }
            (source, facts, true)
        });
        try_out(&ready.version, &*self.clock, known)
    }

    /// Registers versions and adds their swaps to the lanes' changes. They are registered first, so that a version
    /// which fails while other lanes still wait for it is rolled back here, too.
    pub(in crate::engine) fn register(&mut self, ready: Vec<Ready>, changes: &mut LaneChanges) -> PendingSwaps {
        let mut pending = PendingSwaps::default();
        for ready in ready {
            let Ready { name, plan, version, instances, contents, .. } = ready;
            let Some(strategy) = self.strategies.get_mut(&name) else { continue };
            // Only one version at a time is on probation. Once held, the former probation cannot end any more; if it
            // has failed meanwhile, the version before it is the running one.
            if let Some(trial) = &strategy.trial {
                trial.probation.hold();
            }
            strategy.settle();
            let held = strategy.trial.take();
            strategy.highest += 1;
            let generation = strategy.highest;
            let path = module(&plan).unwrap_or(&strategy.running.origin.path).to_owned();
            let shadow_of = plan.shadow_of.clone();
            let origin = Origin::new(&path, contents);
            let new = RunningVersion { plan, origin, version, generation };
            // A rollback never restores a version that has not passed.
            let back = held.as_ref().map_or(&strategy.running, |held| &held.former).clone();
            let probation =
                shadow_of.is_none().then(|| self.probation(&name, &path, generation, back.generation)).flatten();
            let Some(strategy) = self.strategies.get_mut(&name) else { continue };
            let former = std::mem::replace(&mut strategy.running, new);
            strategy.trial = probation.clone().map(|probation| Rollback { probation, former: back });
            let (error, rejected) = (strategy.board.error(), self.rejected.of(&path));
            let lanes = strategy.lanes.values().cloned().collect();
            strategy.board.reloaded(generation);
            strategy.board.set_kind(language(&path));
            self.rejected.clear(&path);
            self.metrics.versions(&name).generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
            for (source, instance) in instances {
                let Some(route) = strategy.lanes.get(&source) else { continue };
                let (_, change) =
                    changes.entry(source.clone()).or_insert_with(|| (Arc::clone(route), LaneChange::default()));
                match (&probation, &shadow_of) {
                    (Some(probation), _) => {
                        let probation = Arc::clone(probation);
                        change.swaps.push(Swap { rule: Arc::clone(&name), strategy: instance, generation, probation });
                    }
                    (None, Some(of)) => {
                        let metrics = self.metrics.strategy(&name, &source);
                        let shadow = Shadow::new(instance, Arc::clone(&strategy.board), metrics);
                        change.shadows.push((of.as_str().into(), Some(shadow)));
                    }
                    (None, None) => {}
                }
            }
            pending.0.push(PendingSwap { name, probation, former, held, lanes, error, rejected });
        }
        pending
    }

    /// Confirms the versions once every lane has swapped, except for ended lanes: they start their probation.
    ///
    /// # Errors
    /// When a version has failed on the first lanes; it is rolled back.
    pub(in crate::engine) fn keep(&mut self, pending: PendingSwaps, ended: &[Arc<Route>]) -> Result<(), Error> {
        let mut failed = None;
        for PendingSwap { name, probation, former, held, lanes, .. } in pending.0 {
            if let Some(held) = &held {
                self.replaced(&name, &former, held, probation.as_ref());
            }
            let Some(strategy) = self.strategies.get_mut(&name) else { continue };
            strategy.bad = None;
            self.metrics.versions(&name).reload("ok");
            let Some(probation) = probation else { continue };
            // An ended lane cannot try the version.
            let on_ended = lanes.iter().filter(|route| ended.iter().any(|e| Arc::ptr_eq(e, route)));
            on_ended.for_each(|_| probation.lane_passed());
            probation.start();
            if strategy.lanes.is_empty() {
                probation.pass();
            }
            strategy.settle();
            failed = failed.or_else(|| probation.failed().then(|| probation.reason().unwrap_or_default()));
        }
        failed.map_or(Ok(()), |reason| Err(Error::new(Code::Plugin, reason)))
    }

    /// Handles a version that replaced `former` during its probation.
    fn replaced(&mut self, name: &str, former: &RunningVersion, held: &Rollback, by: Option<&Arc<Probation>>) {
        held.probation.replace();
        let (generation, kept) = (former.generation, held.former.generation);
        tracing::info!(strategy = name, generation, kept, "replaced on probation: what passed before it is kept");
        // A shadow that was promoted as `former` now waits for the replacing version, if that is the shadow's own next
        // version.
        let path = self.strategies.get(name).map(|strategy| strategy.running.origin.path.clone());
        for shadow in self.strategies.values_mut() {
            if shadow.promoted.as_ref().is_some_and(|promoted| Arc::ptr_eq(promoted, &held.probation)) {
                shadow.promoted = by.filter(|_| path.as_ref() == Some(&shadow.running.origin.path)).cloned();
            }
        }
    }

    /// Reverts the versions, since no lane keeps them, and restores what the board showed before.
    pub(in crate::engine) fn revert(&mut self, pending: PendingSwaps) {
        for PendingSwap { name, probation, former, held, error, rejected, .. } in pending.0 {
            if let Some(probation) = &probation {
                probation.withdraw();
            }
            let generation = i64::try_from(former.generation).unwrap_or(i64::MAX);
            self.metrics.versions(&name).generation.set(generation);
            let Some(strategy) = self.strategies.get_mut(&name) else { continue };
            let path = &strategy.running.origin.path;
            match rejected {
                Some(reason) => self.rejected.note(path, &reason),
                None => self.rejected.clear(path),
            }
            strategy.board.reloaded(former.generation);
            strategy.board.set_kind(language(&former.origin.path));
            strategy.board.set_error(error);
            strategy.running = former;
            strategy.trial = held;
            // Last: it may end at once.
            if let Some(trial) = &strategy.trial {
                trial.probation.start();
            }
        }
    }

    /// Creates a probation that reports its end to the board, the metrics and the log. `back` is the generation that it
    /// rolls back to.
    fn probation(&self, name: &str, path: &std::path::Path, generation: u64, back: u64) -> Option<Arc<Probation>> {
        let strategy: &GuestStrategy = self.strategies.get(name)?;
        let routes: Vec<_> = strategy.lanes.values().cloned().collect();
        let board = Arc::clone(&strategy.board);
        let path = path.to_owned();
        let (rejected, count) = (Arc::clone(&self.rejected), Arc::clone(&self.count));
        let versions = self.metrics.versions(name);
        Some(Probation::new(
            self.clock.monotonic_ns(),
            routes.len(),
            Box::new(move |failed| {
                let strategy = &*board.name;
                let Some(reason) = failed else {
                    tracing::info!(strategy, generation, "the new version stays");
                    return;
                };
                board.reloaded(back);
                let message = format!("rolled back: {reason}");
                rejected.note(&path, &message);
                board.set_error(Some(message));
                versions.reload("rolled_back");
                versions.generation.set(i64::try_from(back).unwrap_or(i64::MAX));
                // Idle lanes roll back immediately.
                for route in &routes {
                    route.inbox.control(Control::Settle);
                }
                // The set of files in use has changed.
                count.fetch_add(1, Ordering::Release);
                // Last, so that everything else is done when the line is logged.
                tracing::error!(strategy, generation, back, "rolled back to the former version: {reason}");
            }),
        ))
    }
}
