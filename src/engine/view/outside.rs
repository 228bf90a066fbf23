//! The interface of a running engine for the page, the API and the command line.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::live::{Events, Live};
use super::status::{PluginStatus, Status};
use crate::alert::Outbox;
use crate::alert::Pictures;
use crate::alert::records::Records;
use crate::backend::evidence::Evidence;
use crate::backend::peers::no_peers;
use crate::backend::{Intake, Peers};
use crate::error::Error;
use crate::guest::StateStatus;
use crate::types::SourceId;

/// The queries and commands that a running engine offers. Does not wait for a lane or a script unless noted.
pub trait EngineApi: Send + Sync {
    /// The engine's status.
    fn status(&self) -> Status;
    /// The status of every script and component. Waits for a reload in progress.
    fn plugins(&self) -> Vec<PluginStatus>;
    /// Reads a plugin's file and reloads it. Waits for the lanes to swap: do not call it on an async thread.
    ///
    /// # Errors
    /// When the new version is rejected.
    fn reload(&self, plugin: &str) -> Result<Reloaded, Error>;
    /// Replaces a strategy with the shadow that runs alongside it. Waits as [`EngineApi::reload`] does.
    ///
    /// # Errors
    /// When it is rejected.
    fn promote(&self, plugin: &str) -> Result<Reloaded, Error>;
    /// The state that the host keeps for a plugin.
    ///
    /// # Errors
    /// When there is no such plugin.
    fn plugin_state(&self, plugin: &str) -> Result<Vec<StateStatus>, Error>;
    /// Clears the state of a plugin, for later processes, too; returns the number of values.
    ///
    /// # Errors
    /// When there is no such plugin.
    fn clear_plugin_state(&self, plugin: &str) -> Result<usize, Error>;
    /// The metrics page.
    fn metrics_text(&self) -> String;
    /// A source's live view, while the source exists.
    fn live(&self, source: &str) -> Option<Arc<Live>>;
    /// What takes messages for a source; `None` if there is no such source, or it takes none.
    fn intake(&self, _source: &str) -> Option<Arc<dyn Intake>> {
        None
    }
    /// The WebRTC side of a source.
    ///
    /// # Errors
    /// When there is no such source, or it has none.
    fn peers(&self, source: &str) -> Result<Arc<dyn Peers>, Error> {
        Err(no_peers(&SourceId::from(source)))
    }
    /// What is kept of a source's encoded stream, if anything is.
    fn evidence(&self, _source: &str) -> Option<Arc<dyn Evidence>> {
        None
    }
    /// Counts a request that was refused; `reason` is a constant word.
    fn count_refused(&self, _reason: &'static str) {}
    /// What takes the alerts and keeps their cases; `None` if there is none.
    fn outbox(&self) -> Option<Arc<Outbox>> {
        None
    }
    /// The engine's events.
    fn events(&self) -> Arc<Events>;
    /// The latest decisions on alerts, and what became of them.
    fn records(&self) -> Records {
        Records::default()
    }

    /// The alerts' pictures.
    fn pictures(&self) -> Pictures {
        Pictures::default()
    }
}

/// What a change of the plan did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Applied {
    /// What changed, one sentence each: `source yard added`.
    pub changes: Vec<String>,
    /// Keys whose new values take effect after a restart only.
    pub waits_for_restart: Vec<String>,
}

/// The result of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The strategies and handlers that run the file.
    pub strategies: Vec<String>,
    /// The generation that judges now.
    pub generation: u64,
    /// The number of swapped lanes.
    pub lanes: usize,
    /// The number of recent frames that the new version was tried on.
    pub tried: usize,
    /// `false` if the contents were already running and nothing was done.
    pub changed: bool,
}

impl Reloaded {
    /// Adds the result of another module's reload.
    pub(in crate::engine) fn add(&mut self, more: Self) {
        self.strategies.extend(more.strategies);
        self.generation = self.generation.max(more.generation);
        self.lanes += more.lanes;
        self.tried += more.tried;
        self.changed |= more.changed;
    }
}
