//! Applies a plan to an engine, all of it or nothing. An engine starts the same way.
//!
//! New parts are built while the old ones run; new sources start; every lane swaps between two frames; then removed
//! parts are shut down. Until the lanes have swapped, [`Undo`] can revert everything.

mod undo;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::undo::Undo;
use super::lanes::{Arrangement, Changed, LaneChange, Route, RuleSettings, RuleSlot, change_lanes};
use super::models::{self, Models};
use super::owner::Owner;
use super::source::{Built, is_detector};
use super::strategies::Doubts;
use super::summary;
use super::versions::{LaneChanges, module};
use super::view::outside::Applied;
use crate::config::diff::{Diff, hold_back};
use crate::config::{Plan, SourcePlan, StrategyPlan};
use crate::error::Error;
use crate::types::SourceId;

/// Results that take effect once the lanes have swapped.
struct Staged {
    models: Models,
    handlers: Vec<super::handlers::Prepared>,
    lanes: Changed,
    doubts: Vec<Doubts>,
}

impl Owner {
    /// Applies `next`.
    ///
    /// # Errors
    /// When `next` cannot be applied; the engine is then unchanged.
    pub(super) fn apply(&mut self, mut next: Plan) -> Result<Applied, Error> {
        self.versions.settle();
        let waits_for_restart = hold_back(&self.plan, &mut next);
        let diff = Diff::between(&self.plan, &next);
        self.apply_diff(next, &diff, waits_for_restart)
    }

    /// Loads these models again from their files, all of them or none.
    ///
    /// # Errors
    /// When one cannot be loaded; the engine is then unchanged.
    pub(super) fn reload_models(&mut self, names: &[String]) -> Result<Applied, Error> {
        self.versions.settle();
        let plan = Plan::clone(&self.plan);
        let mut diff = Diff::between(&plan, &plan);
        diff.models.changed = names.to_vec();
        self.apply_diff(plan, &diff, Vec::new())
    }

    fn apply_diff(&mut self, next: Plan, diff: &Diff, waits_for_restart: Vec<String>) -> Result<Applied, Error> {
        let mut changes = diff.describe();
        let mut undo = Undo::new(self);
        match self.carry_out(&next, diff, &mut undo) {
            Ok(staged) => {
                changes.extend(self.finish(next, diff, undo, staged));
                Ok(Applied { changes, waits_for_restart })
            }
            Err(error) => {
                self.revert(undo);
                Err(error)
            }
        }
    }

    /// Does everything that can fail: builds, starts and swaps.
    fn carry_out(&mut self, next: &Plan, diff: &Diff, undo: &mut Undo) -> Result<Staged, Error> {
        self.boards = self.boards.for_plan(next);
        let handlers = self.prepare_handlers(next, &diff.handlers, &mut undo.handlers)?;
        let models = self.build_models(next, diff)?;
        let others = self.learn(next, &models, &mut undo.facts);
        let ready = self.prepare_strategies(next, &diff.strategies, &mut undo.replaced)?;
        let doubts = self.try_strategies(next, &diff.strategies, &ready, &others)?;
        let mut changes = LaneChanges::new();
        undo.pending = self.versions.register(ready, &mut changes);
        self.build_sources(next, diff, &models, undo)?;
        self.change_sources(next, diff, undo)?;
        self.arrange_lanes(next, diff, &mut changes)?;
        self.versions.note_files();
        changes.retain(|_, (_, change)| !change.is_empty());
        let lanes = change_lanes(changes.into_values().collect())?;
        // Last, since a source cannot be restored exactly once it has been stopped.
        self.replace_sources(undo)?;
        Ok(Staged { models, handlers, lanes, doubts })
    }

    /// Loads and warms up new and changed models while the current ones run.
    fn build_models(&self, next: &Plan, diff: &Diff) -> Result<Models, Error> {
        let mut models = Models::new();
        for plan in &next.models {
            let is_changed = diff.models.changed.contains(&plan.name);
            // Said to have changed where its plan has not: its files have.
            let is_reloaded = is_changed && self.plan.models.contains(plan);
            let running = self.models.get(&plan.name).filter(|unit| !is_reloaded && unit.plan.same_model(plan));
            let same = running.filter(|unit| unit.plan == *plan || !is_changed);
            let unit = match (same, running) {
                (Some(unit), _) => Arc::clone(unit),
                // Only the minimum score or the sources differ: the sessions are kept.
                (None, Some(unit)) => unit.with_plan(plan),
                (None, None) => {
                    let part = format!("detection.strategies[{}]", plan.name);
                    self.parts.build_model(plan).map_err(|error| error.about(part))?
                }
            };
            models.insert(plan.name.clone(), unit);
        }
        Ok(models)
    }

    /// Builds and starts new sources, and builds those whose input changes. Each is built before one starts: the alerts
    /// of finite sources are merged, so the first must know of the last.
    fn build_sources(&mut self, next: &Plan, diff: &Diff, models: &Models, undo: &mut Undo) -> Result<(), Error> {
        let mut new = VecDeque::new();
        let built = self.build_each(next, diff, models, undo, &mut new);
        let started = built.and_then(|()| self.start_each(&mut new, undo));
        new.into_iter().for_each(|(_, built): (SourcePlan, Built)| built.discard());
        started
    }

    fn build_each(
        &mut self,
        next: &Plan,
        diff: &Diff,
        models: &Models,
        undo: &mut Undo,
        new: &mut VecDeque<(SourcePlan, Built)>,
    ) -> Result<(), Error> {
        for id in diff.sources.changed.iter().chain(&diff.sources.added) {
            let Some(plan) = source(next, id) else { continue };
            let old = source(&self.plan, id);
            if old.is_some_and(|old| old.same_input(plan)) {
                continue;
            }
            if old.is_some() {
                self.check_source(plan)?;
            }
            let built = self.parts.build_source(plan, next, models, &mut self.versions, &self.boards)?;
            match old {
                Some(_) => undo.built.push((plan.clone(), built)),
                None => new.push_back((plan.clone(), built)),
            }
        }
        Ok(())
    }

    fn start_each(&mut self, new: &mut VecDeque<(SourcePlan, Built)>, undo: &mut Undo) -> Result<(), Error> {
        while let Some((plan, built)) = new.pop_front() {
            let unit = built.start(&plan, &self.parts)?;
            undo.started.push(Arc::clone(&unit));
            self.units.insert(plan.id, unit);
        }
        Ok(())
    }

    /// Whether the backend would accept a source; checked before the running one is stopped.
    fn check_source(&self, plan: &SourcePlan) -> Result<(), Error> {
        self.parts.backends.check(plan).map_err(|error| error.about(format!("sources[{}]", plan.id)))
    }

    /// Starts the rebuilt sources in place of the running ones with the same names.
    fn replace_sources(&mut self, undo: &mut Undo) -> Result<(), Error> {
        // One by one: what is left when one fails to start is discarded by the undo.
        while !undo.built.is_empty() {
            let (plan, built) = undo.built.remove(0);
            if let Some(old) = self.units.remove(&plan.id) {
                old.stop(&self.parts);
                let states = self.parts.guests.state().copies(&plan.id);
                undo.stopped.push((old, states));
            }
            let unit = built.start(&plan, &self.parts)?;
            undo.started.push(Arc::clone(&unit));
            self.units.insert(plan.id.clone(), unit);
        }
        Ok(())
    }

    /// Passes settings that can change while a source runs to the backends.
    fn change_sources(&self, next: &Plan, diff: &Diff, undo: &mut Undo) -> Result<(), Error> {
        for id in &diff.sources.changed {
            let (Some(old), Some(new)) = (source(&self.plan, id), source(next, id)) else { continue };
            let of_backend = |plan: &SourcePlan| (plan.fps, plan.every, plan.retry.clone(), plan.evidence.clone());
            if old.same_input(new) && of_backend(old) != of_backend(new) {
                undo.changed.push(old.clone());
                self.parts.backends.change(new).map_err(|error| error.about(format!("sources[{id}]")))?;
            }
        }
        Ok(())
    }

    /// Collects changes of lanes that stay: zones, tracking, policy, rules.
    fn arrange_lanes(&mut self, next: &Plan, diff: &Diff, changes: &mut LaneChanges) -> Result<(), Error> {
        for new in &next.sources {
            let Some(old) = source(&self.plan, &new.id).filter(|old| old.same_input(new)) else { continue };
            let Some(unit) = self.units.get(&new.id) else { continue };
            let route = Arc::clone(&unit.route);
            let mut change = changes.remove(&new.id).map_or_else(LaneChange::default, |(_, change)| change);
            change.zones = (old.zones != new.zones).then(|| Arc::clone(&new.zones));
            change.tracking = (self.plan.tracking != next.tracking).then(|| next.tracking.clone());
            let policy = next.alerts.of_source(&new.alerts);
            change.policy = (self.plan.alerts.of_source(&old.alerts) != policy).then_some(policy);
            if diff.order || !diff.strategies.is_empty() {
                self.arrange_rules(next, &route, &mut change)?;
            }
            changes.insert(new.id.clone(), (route, change));
        }
        Ok(())
    }

    /// Collects the rules and shadows of a lane that stays.
    fn arrange_rules(&mut self, next: &Plan, route: &Arc<Route>, change: &mut LaneChange) -> Result<(), Error> {
        let former = Arc::clone(&self.plan);
        let was = |name: &str| judging(&former, &route.id).find(|s| s.name == name);
        let mut arrangement = Arrangement::default();
        for strategy in judging(next, &route.id).filter(|s| s.shadow_of.is_none()) {
            let places = if is_detector(strategy) { &mut arrangement.detectors } else { &mut arrangement.rules };
            places.push(match was(&strategy.name).filter(|old| stays(old, strategy)) {
                Some(_) => RuleSlot::Keep { name: strategy.name.as_str().into(), settings: strategy.into() },
                None => {
                    let mut rule = self.parts.build_rule(strategy, route, &mut self.versions, &self.boards)?;
                    self.parts.take_over(&strategy.name, &route.id, rule.strategy());
                    RuleSlot::New(Box::new(rule))
                }
            });
        }
        let keep = |name: &Arc<str>| RuleSlot::Keep { name: Arc::clone(name), settings: RuleSettings::default() };
        let own = self.parts.own.iter().map(|own| keep(&own.board.name));
        arrangement.rules.extend(own);
        change.rules = Some(arrangement);
        // A shadow ends when it is removed or its rule is replaced; a new shadow is attached to its rule.
        let gone = judging(&former, &route.id).filter(|old| {
            old.shadow_of.is_some()
                && !judging(next, &route.id).any(|new| new.name == old.name && new.shadow_of == old.shadow_of)
        });
        change.shadows.extend(gone.filter_map(|old| Some((old.shadow_of.as_deref()?.into(), None))));
        for strategy in judging(next, &route.id) {
            let Some(of) = &strategy.shadow_of else { continue };
            let inputs = was(of).zip(judging(next, &route.id).find(|s| s.name == *of));
            // A shadow whose promotion has passed is no longer on its lanes.
            let there = self.versions.strategies.get(strategy.name.as_str());
            let kept = was(&strategy.name).is_some_and(|old| old.shadow_of == strategy.shadow_of)
                && there.is_some_and(|shadow| shadow.lanes.contains_key(&route.id))
                && inputs.is_some_and(|(old, new)| stays(old, new));
            if !kept {
                let shadow = self.parts.build_shadow(strategy, route, &mut self.versions, &self.boards)?;
                change.shadows.push((of.as_str().into(), shadow));
            }
        }
        Ok(())
    }

    /// After the lanes have swapped: shuts down removed parts and publishes the new state. Returns further changes to
    /// report.
    fn finish(&mut self, next: Plan, diff: &Diff, undo: Undo, staged: Staged) -> Vec<String> {
        let Staged { models, handlers, lanes, doubts } = staged;
        let mut more = Vec::new();
        doubts
            .into_iter()
            .for_each(|Doubts { strategy, whole, doubts }| self.parts.guests.doubt(&strategy, doubts, whole));
        // A version that has failed meanwhile is rolled back by its probation, as after a file change; the rest stays.
        if let Err(error) = self.versions.keep(undo.pending, &lanes.ended) {
            more.push(format!("rolled back at once: {}", error.message()));
        }
        lanes.keep();
        for (name, new) in &models {
            let old = self.models.get(name).filter(|old| !old.same_sessions(new));
            let Some(old) = old else { continue };
            let board = self.boards.of(name);
            board.reloaded(board.status().generation + 1);
            more.push(format!("model {name} swapped: {}", models::compare(old, new)));
        }
        self.models = models;
        let former = std::mem::replace(&mut self.plan, Arc::new(next));
        let Plan { name, version, environment, .. } = &*self.plan;
        self.parts.metrics.set_deployment(name, version.as_deref(), environment.as_str());
        self.set_stages(&former, diff);
        self.parts.pool.set_batch(self.plan.batch_size, self.plan.batch_timeout);
        self.finish_handlers(&former, &diff.handlers, handlers);
        let gone: Vec<_> = diff.sources.removed.iter().filter_map(|id| self.units.remove(id)).collect();
        self.publish();
        for unit in gone {
            unit.stop(&self.parts);
            self.parts.removed.lock().add(&summary::of_source(&unit.route));
            self.leave_source(&unit.route.id);
        }
        // One that was removed while it was disabled.
        let is_left = |id: &&SourceId| !self.plan.idle.contains(id) && source(&self.plan, id).is_none();
        let removed: Vec<_> = former.idle.iter().filter(is_left).cloned().collect();
        removed.iter().for_each(|id| self.forget_source(id));
        self.forget_strategies(&former);
        self.keep_states();
        self.versions.count.fetch_add(1, Ordering::Release);
        more
    }

    /// Attaches the sources that stay to the current models.
    fn set_stages(&self, former: &Plan, diff: &Diff) {
        for plan in &self.plan.sources {
            let Some(unit) = self.units.get(&plan.id) else { continue };
            unit.route.change(plan);
            let old = source(former, &plan.id);
            let other = old.is_some_and(|old| old.same_input(plan) && old.confidence != plan.confidence);
            if other || old.is_some() && (diff.order || !diff.models.is_empty()) {
                unit.route.set_stages(self.parts.stages(plan, &self.plan, &self.models, &unit.route));
            }
        }
    }

    /// Removes the metrics and zones of a source that was taken down, and what was kept for it unless it is disabled
    /// only.
    fn leave_source(&mut self, id: &SourceId) {
        if self.plan.idle.contains(id) { self.park_source(id) } else { self.forget_source(id) }
    }

    /// Removes the metrics and zones of a source; its conditions and its rules' state wait for it.
    fn park_source(&mut self, id: &SourceId) {
        self.versions.leave(id);
        self.parts.guests.park(id, self.parts.clock.unix_ns() / 1_000_000);
        self.parts.metrics.remove_source(id);
    }

    /// Removes the metrics, conditions, state and zones of a removed source. Its undelivered alerts stay.
    fn forget_source(&mut self, id: &SourceId) {
        self.versions.leave(id);
        self.parts.guests.forget(id);
        self.parts.delivery.outbox().forget_conditions(id);
        self.parts.metrics.remove_source(id);
    }

    /// Removes guests that the plan no longer has, and the lanes that each no longer judges.
    fn forget_strategies(&mut self, former: &Plan) {
        let plan = Arc::clone(&self.plan);
        self.versions.strategies.retain(|name, guest| {
            let strategy = plan.strategies.iter().find(|s| *s.name == **name && module(s).is_some());
            let Some(strategy) = strategy else { return false };
            guest.lanes.retain(|source, _| strategy.judges(source));
            let running = &mut guest.running.plan;
            (running.sources, running.filters) = (strategy.sources.clone(), strategy.filters);
            running.schedule.clone_from(&strategy.schedule);
            true
        });
        for gone in former.strategies.iter().filter(|old| !plan.strategies.iter().any(|new| new.name == old.name)) {
            self.parts.metrics.remove_strategy(&gone.name);
            self.parts.guests.state().forget_strategy(&gone.name);
        }
        for gone in former.models.iter().filter(|old| !plan.models.iter().any(|new| new.name == old.name)) {
            self.parts.metrics.remove_model(&gone.name);
        }
        self.versions.forget_rejected();
    }

    /// Rebuilds and starts a source of the plan in place of the running one.
    fn start_anew(&mut self, id: &SourceId) -> Result<(), Error> {
        let plan = Arc::clone(&self.plan);
        let Some(wanted) = source(&plan, id) else { return Err(no_source(&plan, id)) };
        self.check_source(wanted)?;
        let built = self.parts.build_source(wanted, &plan, &self.models, &mut self.versions, &self.boards)?;
        if let Some(old) = self.units.get(id) {
            old.stop(&self.parts);
        }
        let unit = built.start(wanted, &self.parts)?;
        self.units.insert(id.clone(), unit);
        Ok(())
    }

    pub(super) fn restart_source(&mut self, id: &SourceId) -> Result<(), Error> {
        let started = self.start_anew(id);
        self.publish();
        started.inspect(|()| tracing::info!(source = %id, "restarted"))
    }
}

fn source<'a>(plan: &'a Plan, id: &SourceId) -> Option<&'a SourcePlan> {
    plan.sources.iter().find(|source| source.id == *id)
}

fn judging<'a>(plan: &'a Plan, source: &'a SourceId) -> impl Iterator<Item = &'a StrategyPlan> {
    plan.strategies.iter().filter(move |strategy| strategy.judges(source))
}

/// Whether a rule stays on its lane. A guest stays and swaps its version; a built-in rule with other settings is
/// rebuilt.
fn stays(old: &StrategyPlan, new: &StrategyPlan) -> bool {
    old.shadow_of.is_none() && is_detector(old) == is_detector(new) && (!is_detector(new) || old.same_version(new))
}

/// The error for an unknown source, with the known ones.
pub(super) fn no_source(plan: &Plan, id: &SourceId) -> Error {
    let known: Vec<_> = plan.sources.iter().map(|source| source.id.as_str()).collect();
    let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
    Error::new(crate::error::Code::Source, format!("there is no source '{id}'")).hint(format!("sources: {known}"))
}
