//! Creates handlers that are guests.

use std::sync::Arc;

use super::{Guests, Requested, ask, script, script_text};
use crate::alert::Handler;
use crate::config::ModulePlan;
use crate::engine::versions::made_up::{self, Dry};
use crate::error::Error;
use crate::guest::{BuildInputs, Doubt, Fault, GuestContext, GuestKind, Limits, Trial};
use crate::types::Alert;
use crate::{lua, wasm};

/// Has an instance on trial deliver an alert.
type Deliver = Box<dyn Fn(&Alert) -> Result<(), Fault>>;

/// What a version of a handler is created from.
enum Recipe {
    Script(Box<lua::Script>),
    Component(Box<GuestContext>, wasm::Program),
}

impl Guests {
    /// A version of the handler `name` that `plan` describes, from the contents of its module.
    ///
    /// # Errors
    /// As [`Guests::strategy`].
    pub fn handler(
        self: &Arc<Self>,
        name: &str,
        plan: &ModulePlan,
        bytes: &[u8],
        inputs: &Arc<BuildInputs>,
    ) -> Result<Arc<dyn Handler>, Error> {
        let recipe = self.recipe(name, plan, bytes, inputs)?;
        self.make(recipe)
    }

    /// As [`Guests::handler`]; another instance of the version, without effects, has delivered made-up alerts. Returns
    /// also what failed there and may work with real ones.
    ///
    /// # Errors
    /// As [`Guests::handler`]; also if it breaks the contract.
    pub(in crate::engine) fn tried_handler(
        self: &Arc<Self>,
        name: &str,
        plan: &ModulePlan,
        bytes: &[u8],
        inputs: &Arc<BuildInputs>,
    ) -> Result<(Arc<dyn Handler>, Vec<Doubt>), Error> {
        let recipe = self.recipe(name, plan, bytes, inputs)?;
        let doubts = made_up::try_out(|trial| self.on_trial(&recipe, trial), &**self.metrics.clock())?;
        Ok((self.make(recipe)?, doubts))
    }

    fn recipe(
        self: &Arc<Self>,
        name: &str,
        plan: &ModulePlan,
        bytes: &[u8],
        inputs: &Arc<BuildInputs>,
    ) -> Result<Recipe, Error> {
        let ModulePlan { path, class, config, limits, grants, persist_state: _, extensions } = plan;
        let is_component = path.extension().is_some_and(|e| e == "wasm");
        let text = if is_component { None } else { Some(script_text(path, bytes)?) };
        let defaults = if is_component { Limits::wasm() } else { Limits::lua() };
        let Requested { grants, limits, version, config } =
            ask((name, config), (path, text.as_deref()), GuestKind::Handler, grants, inputs, |wanted| {
                defaults.with(limits).under(wanted)
            })?;
        let meter = self.metrics.meter(name, "");
        let watchdog = Arc::clone(&self.watchdog);
        let context = GuestContext::new(name, None, limits.clone(), &self.state, watchdog)
            .with_config(config)
            .with_grants(grants)
            .with_meter(meter)
            .with_extensions(extensions)
            .of_version(version, inputs);
        Ok(match text {
            Some(text) => {
                Recipe::Script(Box::new(lua::Script { class: class.clone(), ..script(context, path, &text) }))
            }
            None => {
                let program = self.components()?.compile(bytes, &limits, &path.display().to_string())?;
                Recipe::Component(Box::new(context), program)
            }
        })
    }

    fn make(&self, recipe: Recipe) -> Result<Arc<dyn Handler>, Error> {
        let (wire, runtime) = (Arc::clone(&self.wire), self.runtime.clone());
        Ok(match recipe {
            Recipe::Script(script) => Arc::new(lua::handler(*script, wire, runtime)?),
            Recipe::Component(context, program) => Arc::new(program.handler(*context, wire, runtime)?),
        })
    }

    /// An instance without effects.
    fn on_trial(&self, recipe: &Recipe, trial: &Arc<Trial>) -> Result<Deliver, Error> {
        let (wire, runtime) = (Arc::new(Dry::new(trial)), self.runtime.clone());
        Ok(match recipe {
            Recipe::Script(script) => {
                let context = script.context.trial(Arc::clone(trial));
                let handler = lua::handler(lua::Script { context, ..(**script).clone() }, wire, runtime)?;
                Box::new(move |alert| handler.try_out(alert))
            }
            Recipe::Component(context, program) => {
                let handler = program.handler(context.trial(Arc::clone(trial)), wire, runtime)?;
                Box::new(move |alert| handler.try_out(alert))
            }
        })
    }
}
