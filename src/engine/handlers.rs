//! Adds, removes and replaces handlers while the engine runs. Alerts queued for a handler that stays remain queued.

use std::sync::Arc;
use std::time::Duration;

use super::keeper::has_live;
use super::owner::Owner;
use super::versions::{Contained, GuestHandler, Origin, Replaceable, read_module, warn_of};
use crate::alert::{Handler, Standing};
use crate::config::diff::Changes;
use crate::config::{HandlerKind, HandlerPlan, Plan};
use crate::error::{Code, Error};
use crate::guest::GuestKind;
use crate::handlers;

/// Longest wait for a delivery in progress when a handler is removed.
const REMOVE_WAIT: Duration = Duration::from_secs(5);

/// A handler that is built and not yet delivering.
pub(super) struct Prepared {
    name: Arc<str>,
    handler: Arc<dyn Handler>,
    /// The contents that a script or component was built from.
    contents: Option<Contained>,
}

impl Owner {
    /// Builds the new and changed handlers. New ones start to deliver immediately, so that they get every alert of a
    /// new source; their names are added to `added`.
    pub(super) fn prepare_handlers(
        &mut self,
        next: &Plan,
        changes: &Changes<Arc<str>>,
        added: &mut Vec<Arc<str>>,
    ) -> Result<Vec<Prepared>, Error> {
        let mut prepared = Vec::new();
        for plan in &next.handlers {
            let (new, changed) = (changes.added.contains(&plan.name), changes.changed.contains(&plan.name));
            // One of which only the filter changes stays.
            let stays = self.plan.handlers.iter().any(|old| old.name == plan.name && old.kind == plan.kind);
            if !new && (!changed || stays) {
                continue;
            }
            let part = format!("alerts.handlers[{}]", plan.name);
            let built = self.build_handler(plan, has_live(next)).map_err(|error| error.about(part));
            let built = built.inspect_err(|_| {
                if new {
                    // It may have got saved state.
                    self.give_back(&plan.name, GuestKind::Handler);
                }
            })?;
            if changed {
                prepared.push(built);
                continue;
            }
            let Prepared { handler, contents, .. } = built;
            self.install_handler(plan, handler, contents, false)?;
            added.push(Arc::clone(&plan.name));
        }
        Ok(prepared)
    }

    fn build_handler(&self, plan: &HandlerPlan, live: bool) -> Result<Prepared, Error> {
        let name = Arc::clone(&plan.name);
        let module = match &plan.kind {
            HandlerKind::Module(module) => module,
            HandlerKind::Shipped { module, text } => {
                let handler = self.parts.guests.shipped(&name, module, text)?;
                return Ok(Prepared { name, handler, contents: None });
            }
            _ => return Ok(Prepared { name, handler: handlers::build(plan, &self.parts.clock)?, contents: None }),
        };
        let bytes: Arc<[u8]> = read_module(&module.path)
            .map_err(|e| {
                let path = module.path.display();
                Error::new(Code::Plugin, format!("handler {name}: {path}: cannot be read: {e}"))
            })?
            .into();
        let inputs = Arc::default();
        if module.persist_state && live {
            // Otherwise once the change is made: a failed one must lose nothing.
            self.parts.guests.state().keep(&name, None, true);
        }
        let (handler, doubts) = self.parts.guests.tried_handler(&name, module, &bytes, &inputs)?;
        warn_of(&name, &doubts);
        let contents = Contained { module: bytes, inputs: inputs.files() };
        Ok(Prepared { name, handler, contents: Some(contents) })
    }

    /// Starts a handler; with `replaces`, it takes over the queue of the handler of the same name.
    fn install_handler(
        &mut self,
        plan: &HandlerPlan,
        handler: Arc<dyn Handler>,
        contents: Option<Contained>,
        replaces: bool,
    ) -> Result<(), Error> {
        let name = &plan.name;
        let (HandlerKind::Module(module), Some(contents)) = (&plan.kind, contents) else {
            self.versions.handlers.remove(name);
            return self.deliver_by(handler, plan, replaces).map(drop);
        };
        let generation = self.versions.handlers.get(name).map_or(1, |former| former.generation + 1);
        self.parts.metrics.versions(name).generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        let place = Replaceable::new(Arc::clone(name), handler);
        let standing = self.deliver_by(Arc::clone(&place) as Arc<dyn Handler>, plan, replaces)?;
        let origin = Origin::new(&module.path, contents);
        let (name, module) = (Arc::clone(name), (**module).clone());
        let guest = GuestHandler { name: Arc::clone(&name), module, place, standing, origin, generation };
        self.versions.rejected.clear(&guest.origin.path);
        self.versions.handlers.insert(name, guest);
        Ok(())
    }

    fn deliver_by(
        &self,
        handler: Arc<dyn Handler>,
        plan: &HandlerPlan,
        replaces: bool,
    ) -> Result<Arc<Standing>, Error> {
        let delivery = &self.parts.delivery;
        let standing = if replaces { delivery.replace(handler) } else { delivery.add_where(handler, &plan.filter) }?;
        delivery.set_max_age(&plan.name, plan.max_age);
        Ok(standing)
    }

    /// Installs changed handlers and removes those that are gone from the plan.
    pub(super) fn finish_handlers(&mut self, former: &Plan, changes: &Changes<Arc<str>>, prepared: Vec<Prepared>) {
        let next = Arc::clone(&self.plan);
        for Prepared { name, handler, contents } in prepared {
            let Some(plan) = next.handlers.iter().find(|plan| plan.name == name) else { continue };
            if let Err(error) = self.install_handler(plan, handler, contents, true) {
                tracing::error!(handler = %name, "it was not replaced: {error}");
            }
        }
        for plan in next.handlers.iter().filter(|plan| changes.changed.contains(&plan.name)) {
            self.parts.delivery.set_filter(&plan.name, &plan.filter);
            self.parts.delivery.set_max_age(&plan.name, plan.max_age);
        }
        if former.alerts != next.alerts {
            self.parts.delivery.set_plan(&next.alerts);
        }
        self.parts.delivery.set_pictures(&next.pictures);
        changes.removed.iter().for_each(|name| self.drop_handler(name));
    }

    /// Removes a handler. Its queued alerts are settled and counted; other handlers keep theirs.
    pub(super) fn drop_handler(&mut self, name: &Arc<str>) {
        self.versions.handlers.remove(name);
        self.parts.delivery.remove(name, REMOVE_WAIT);
    }
}
