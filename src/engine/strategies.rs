//! Guests that a change of the plan adds or changes: reads, builds and tries them while the current ones run.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::labels::{Classes, facts, seen_by};
use super::models::Models;
use super::owner::Owner;
use super::versions::{Contained, Contents, Facts, GuestStrategy, Origin, Ready, Version, module, try_out};
use crate::config::diff::Changes;
use crate::config::{Plan, SourcePlan, StrategyPlan};
use crate::error::Error;
use crate::guest::{Doubt, Files};
use crate::types::SourceId;

/// What a strategy requests and may never get.
pub(super) struct Doubts {
    pub(super) strategy: String,
    /// Whether this covers every source that the strategy judges.
    pub(super) whole: bool,
    pub(super) doubts: Vec<Doubt>,
}

impl Owner {
    /// Builds new guests, and new versions of guests whose settings changed. Returns the latter; the former are added
    /// to the versions, without a lane.
    pub(super) fn prepare_strategies(
        &mut self,
        next: &Plan,
        changes: &Changes<String>,
        replaced: &mut Vec<GuestStrategy>,
    ) -> Result<Vec<Ready>, Error> {
        let mut ready = Vec::new();
        let mut contents = Contents::default();
        for plan in &next.strategies {
            let Some(path) = module(plan) else { continue };
            let (new, changed) = (changes.added.contains(&plan.name), changes.changed.contains(&plan.name));
            let former = self.plan.strategies.iter().find(|former| former.name == plan.name);
            if !new && (!changed || former.is_some_and(|former| former.same_version(plan))) {
                continue;
            }
            let part = |error: Error| error.about(format!("detection.strategies[{}]", plan.name));
            let bytes = contents.read(&format!("strategy {}", plan.name), path).map_err(part)?;
            let name: Arc<str> = plan.name.as_str().into();
            let goes_on = former.is_some_and(|former| former.shadow_of == plan.shadow_of);
            if goes_on && self.versions.strategies.contains_key(&name) {
                ready.push(self.versions.prepare(&name, plan.clone(), &bytes, &Arc::default()).map_err(part)?);
                continue;
            }
            let guest = self.build_guest(plan, &name, &bytes).map_err(part)?;
            replaced.extend(self.versions.strategies.insert(name, guest));
        }
        Ok(ready)
    }

    /// Sets the facts about each source for guests that are loaded from now on; returns the sources whose facts
    /// changed, and records the former ones in `before`.
    pub(super) fn learn(
        &self,
        next: &Plan,
        models: &Models,
        before: &mut Vec<(SourceId, Option<Facts>)>,
    ) -> BTreeSet<SourceId> {
        let classes =
            |name: &str| models.get(name).map(|model| Classes { names: model.labels.clone(), named: model.named });
        let mut changed = BTreeSet::new();
        for source in &next.sources {
            let new = facts(next, source, self.parts.backends.is_foreign(), classes);
            let old = self.parts.guests.learn(&source.id, new.clone());
            if old.as_ref() != Some(&new) {
                changed.insert(source.id.clone());
            }
            before.push((source.id.clone(), old));
        }
        changed
    }

    /// Tries guests on generated frames: new and changed guests on each source that they judge, others where the facts
    /// have changed.
    pub(super) fn try_strategies(
        &self,
        next: &Plan,
        changes: &Changes<String>,
        ready: &[Ready],
        others: &BTreeSet<SourceId>,
    ) -> Result<Vec<Doubts>, Error> {
        let version = |name: &str| -> Option<&Version> {
            let changed = ready.iter().find(|ready| *ready.name == *name).map(|ready| &*ready.version);
            changed.or_else(|| self.versions.strategies.get(name).map(|guest| &*guest.running.version))
        };
        let may_label = |name: &str| version(name).is_some_and(|version| version.text().may_label());
        let mut all = Vec::new();
        for plan in &next.strategies {
            let Some(version) = version(&plan.name) else { continue };
            let whole = changes.added.contains(&plan.name) || changes.changed.contains(&plan.name);
            // A source with the facts and strategies of an unchanged one counts as tried.
            let is_tried = |source: &SourcePlan| {
                let goes_on = |other: &&SourcePlan| plan.judges(&other.id) && !others.contains(&other.id);
                let facts = self.parts.guests.facts_of(&source.id);
                next.sources.iter().filter(goes_on).any(|other| {
                    next.strategies.iter().all(|s| s.judges(&other.id) == s.judges(&source.id))
                        && self.parts.guests.facts_of(&other.id) == facts
                })
            };
            let is_asked = |source: &SourcePlan| whole || others.contains(&source.id) && !is_tried(source);
            let judged = next.sources.iter().filter(|source| plan.judges(&source.id));
            let known = judged.map(|source| {
                let facts = self.parts.guests.facts_of(&source.id);
                (&source.id, seen_by(next, &plan.name, source, facts, may_label), is_asked(source))
            });
            let doubts = try_out(version, &*self.parts.clock, known)
                .map_err(|error| error.about(format!("detection.strategies[{}]", plan.name)))?;
            all.push(Doubts { strategy: plan.name.clone(), whole, doubts });
        }
        Ok(all)
    }

    fn build_guest(&self, plan: &StrategyPlan, name: &Arc<str>, bytes: &Arc<[u8]>) -> Result<GuestStrategy, Error> {
        let inputs = Arc::default();
        let version = Arc::new(self.parts.guests.strategy(plan, bytes, &inputs)?);
        let path = module(plan).unwrap_or_else(|| std::path::Path::new(""));
        // The other files that it is built from are known once its instances are built: see `note_files`.
        let origin = Origin::new(path, Contained { module: Arc::clone(bytes), inputs: Files::default() });
        Ok(GuestStrategy::new(plan.clone(), self.boards.of(name), origin, version, inputs))
    }
}
