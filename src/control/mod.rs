//! The configuration of a running engine: what it is made of, edits of it, and how they reach the engine.

mod edit;
mod outcome;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value as Json;

pub use edit::{Edit, Who};
pub use outcome::{Audit, Outcome, Problem, Refusal, RefusalKind, SourceEntry};

use crate::config::{Loaded, Request, Warning};
use crate::engine::Handle;
use crate::error::Code;
use crate::types::Clock;

/// See the module.
pub struct Control {
    handle: Handle,
    loaded: Loaded,
}

impl Control {
    /// The configuration of an engine that runs `loaded`, which `request` gave. Edits are saved in `state`.
    pub fn start(
        handle: Handle,
        request: Request,
        loaded: Loaded,
        state: Option<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let _ = (request, state, clock);
        Arc::new(Self { handle, loaded })
    }

    /// The engine.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What is in effect: `{config, hash, overlay, waits_for_restart, problem}`, secrets masked; `overlay` lists the
    /// paths that edits have set.
    pub fn config(&self) -> Json {
        serde_json::json!({ "config": self.loaded.effective, "hash": self.loaded.plan.hash })
    }

    /// Every configured source, those that are switched off included.
    pub fn sources(&self) -> Vec<SourceEntry> {
        Vec::new()
    }

    /// Judges a whole configuration, YAML or JSON, as if it were the file; changes nothing.
    ///
    /// # Errors
    /// Every problem, with its place.
    pub fn validate(&self, _document: &str) -> Result<Vec<Warning>, Refusal> {
        Err(unbuilt())
    }

    /// What an edit would do.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn diff(&self, _edit: &Edit) -> Result<Outcome, Refusal> {
        Err(unbuilt())
    }

    /// Carries an edit out: all of it, or nothing. Blocks until the engine has swapped.
    ///
    /// # Errors
    /// Why it was refused; everything is as it was, except with [`RefusalKind::NotSaved`].
    pub fn apply(&self, _edit: Edit, _save: bool, _who: &Who) -> Result<Outcome, Refusal> {
        Err(unbuilt())
    }

    /// Reads the files again, as after an edit of them or on SIGHUP. What needs a restart stays, and is named.
    ///
    /// # Errors
    /// Why they cannot be taken; everything is as it was.
    pub fn reread(&self, _who: &Who) -> Result<Outcome, Refusal> {
        Err(unbuilt())
    }

    /// What the health says of the configuration: why the files are not in effect, or what waits for a restart.
    pub fn problem(&self) -> Option<String> {
        None
    }

    /// The last edits that were asked for, newest first.
    pub fn audit(&self) -> Vec<Audit> {
        Vec::new()
    }
}

fn unbuilt() -> Refusal {
    Refusal {
        code: Code::Unsupported.as_str(),
        kind: RefusalKind::Engine,
        message: "a running engine cannot change yet".into(),
        place: None,
        hint: None,
        problems: Vec::new(),
    }
}
