//! The function of a handler's `picture`: the picture of the alert that is being delivered.

use std::sync::Arc;

use mlua::{Lua, Table};

use super::host::Host;
use crate::alert::{Pictures, Which};
use crate::types::Alert;

impl Host {
    /// The global `picture`. It may wait for the encoder, so a script asks for what it sends only.
    pub(super) fn delivered_picture(&self, lua: &Lua) -> mlua::Result<Table> {
        let (table, call_state) = (lua.create_table()?, Arc::clone(&self.call_state));
        let trial = self.context.trial.clone();
        table.raw_set(
            "jpeg",
            lua.create_function(move |lua, clean: Option<bool>| {
                trial.iter().for_each(|trial| trial.answers());
                // Copied, so that the call state is unlocked while the picture is waited for.
                let delivered = call_state.lock().delivered.clone();
                let which = if clean == Some(true) { Which::Clean } else { Which::Annotated };
                let jpeg = delivered.and_then(|Delivered { pictures, alert }| pictures.of(&alert, which));
                jpeg.map(|jpeg| lua.create_string(jpeg)).transpose()
            })?,
        )?;
        table.set_readonly(true);
        Ok(table)
    }
}

/// The alert that is being delivered, and where its picture is.
#[derive(Clone)]
pub(super) struct Delivered {
    pub(super) pictures: Pictures,
    pub(super) alert: Arc<Alert>,
}
