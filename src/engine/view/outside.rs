//! What the outside may ask of a running engine: the seam of the page, the API and the command line.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::live::{Events, Live};
use super::status::{PluginStatus, Status};
use crate::error::Error;

/// What the outside may ask of a running engine. Nothing here waits for a lane or a script.
pub trait EngineApi: Send + Sync {
    /// Where everything stands.
    fn status(&self) -> Status;
    /// Where every script and component stands. Waits for a reload under way.
    fn plugins(&self) -> Vec<PluginStatus>;
    /// Reads a plugin's file and reloads it. Waits for the lanes to swap: not from a thread that may not wait.
    ///
    /// # Errors
    /// Why the new version is not taken.
    fn reload(&self, plugin: &str) -> Result<Reloaded, Error>;
    /// Puts a shadow in the place of the strategy it runs beside. Waits as [`EngineApi::reload`] does.
    ///
    /// # Errors
    /// Why it is not taken.
    fn promote(&self, plugin: &str) -> Result<Reloaded, Error>;
    /// The metrics page.
    fn metrics_text(&self) -> String;
    /// A source's window, while the source is there.
    fn live(&self, source: &str) -> Option<Arc<Live>>;
    /// What happens.
    fn events(&self) -> Arc<Events>;
}

/// What a change of the plan did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Applied {
    /// What changed, one sentence each: `source yard added`.
    pub changes: Vec<String>,
    /// Keys whose new values take effect after a restart only.
    pub waits_for_restart: Vec<String>,
}

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

impl Reloaded {
    /// Takes in what the reload of another module did.
    pub(in crate::engine) fn add(&mut self, more: Self) {
        self.strategies.extend(more.strategies);
        self.generation = self.generation.max(more.generation);
        self.lanes += more.lanes;
        self.tried += more.tried;
        self.changed |= more.changed;
    }
}
