//! Guests that come, or change, by a change of the plan: read, built, tried beside what runs.

use std::sync::Arc;

use super::owner::Owner;
use super::versions::{Contained, Contents, GuestStrategy, Origin, Ready, module};
use crate::config::diff::Changes;
use crate::config::{Plan, StrategyPlan};
use crate::error::Error;
use crate::guest::Files;

impl Owner {
    /// Builds the guests that are new, and new versions of those whose settings changed. Returns the latter; the former
    /// are among the versions, without a lane.
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

    fn build_guest(&self, plan: &StrategyPlan, name: &Arc<str>, bytes: &Arc<[u8]>) -> Result<GuestStrategy, Error> {
        let beside = Arc::default();
        let version = Arc::new(self.parts.guests.strategy(plan, bytes, &beside)?);
        let path = module(plan).unwrap_or_else(|| std::path::Path::new(""));
        // What it is built from beside its module is known once its instances are built: see `note_files`.
        let origin = Origin::new(path, Contained { module: Arc::clone(bytes), beside: Files::default() });
        Ok(GuestStrategy::new(plan.clone(), self.boards.of(name), origin, version, beside))
    }
}
