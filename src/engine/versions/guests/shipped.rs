//! Handlers that are scripts of this program: not read from a file, so neither watched nor reloaded.

use std::sync::Arc;

use super::Guests;
use crate::alert::Handler;
use crate::config::{ModulePlan, OnFailure};
use crate::error::Error;
use crate::guest::{Grants, GuestContext, Limits};
use crate::lua;

impl Guests {
    /// The handler `name` that the script `text` of this program is, with all that `plan` grants it.
    ///
    /// # Errors
    /// As [`Guests::handler`].
    pub(in crate::engine) fn shipped(
        &self,
        name: &str,
        plan: &ModulePlan,
        text: &str,
    ) -> Result<Arc<dyn Handler>, Error> {
        let ModulePlan { path, class, config, limits, grants, persist_state: _, extensions: _ } = plan;
        let (limits, grants) = (Limits::lua().with(limits), Arc::new(Grants::all(grants)));
        let (config, watchdog, meter) =
            (Arc::new(config.clone()), Arc::clone(&self.watchdog), self.metrics.meter(name, ""));
        let context = GuestContext::new(name, None, limits, &self.state, watchdog)
            .with_config(config)
            .with_grants(grants)
            .with_meter(meter);
        let script = lua::Script {
            context,
            file: path.display().to_string(),
            text: text.to_owned(),
            roots: Vec::new(),
            on_failure: OnFailure::Pass,
            class: class.clone(),
        };
        Ok(Arc::new(lua::handler(script, Arc::clone(&self.wire), self.runtime.clone())?))
    }
}
