//! Running guests: their contents, their generation, their lanes, and what a failed probation restores.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::guests::Version;
use super::handler::Replaceable;
use crate::alert::Standing;
use crate::config::{ModulePlan, StrategyKind, StrategyPlan};
use crate::engine::lanes::{Probation, Route};
use crate::engine::view::strategy::StrategyBoard;
use crate::guest::{BuildInputs, Files, unchanged_on_disk};
use crate::types::SourceId;

/// The contents that a version is built from: its module and its other input files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Contained {
    pub(in crate::engine) module: Arc<[u8]>,
    pub(in crate::engine) inputs: Files,
}

impl Contained {
    /// Whether building this module now would give the same version.
    pub(super) fn matches(&self, module: &[u8]) -> bool {
        *self.module == *module && unchanged_on_disk(&self.inputs)
    }
}

/// The origin of the running version.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Origin {
    pub(in crate::engine) path: PathBuf,
    pub(in crate::engine) contents: Contained,
    /// Files that the last tried version looked for, accepted or not, and their contents.
    pub(super) wanted: Files,
}

impl Origin {
    pub(in crate::engine) fn new(path: &Path, contents: Contained) -> Self {
        Self { path: path.to_owned(), contents, wanted: Files::new() }
    }

    /// The files that a new version may be built from, with their known contents.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, Option<Arc<[u8]>>)> {
        let inputs =
            self.contents.inputs.iter().chain(&self.wanted).map(|(path, known)| (path.as_path(), known.clone()));
        [(&*self.path, Some(Arc::clone(&self.contents.module)))].into_iter().chain(inputs)
    }

    /// The running contents of the file at `path`; `None` for a file that was only looked for.
    pub(super) fn runs(&self, path: &Path) -> Option<Arc<[u8]>> {
        if self.path == path {
            return Some(Arc::clone(&self.contents.module));
        }
        self.contents.inputs.get(path)?.clone()
    }
}

/// A running version: all that a rollback restores.
#[derive(Clone)]
pub(in crate::engine) struct RunningVersion {
    pub(in crate::engine) plan: StrategyPlan,
    pub(in crate::engine) origin: Origin,
    pub(in crate::engine) version: Arc<Version>,
    pub(in crate::engine) generation: u64,
}

/// A running strategy that is a guest.
pub(in crate::engine) struct GuestStrategy {
    pub(in crate::engine) name: Arc<str>,
    pub(in crate::engine) board: Arc<StrategyBoard>,
    /// The lanes that run it, as a rule or as a shadow.
    pub(in crate::engine) lanes: BTreeMap<SourceId, Arc<Route>>,
    pub(in crate::engine) running: RunningVersion,
    /// Highest generation used so far: numbers are not reused.
    pub(super) highest: u64,
    pub(in crate::engine) trial: Option<Rollback>,
    /// The contents that were rolled back, and why: not tried again until they change.
    pub(super) bad: Option<(Contained, String)>,
    /// For a new guest: the inputs that its version records when its first instances are built.
    pub(super) first: Option<Arc<BuildInputs>>,
    /// For a shadow: the probation of its promotion.
    pub(super) promoted: Option<Arc<Probation>>,
}

/// What a failed probation restores.
pub(in crate::engine) struct Rollback {
    pub(in crate::engine) probation: Arc<Probation>,
    pub(in crate::engine) former: RunningVersion,
}

impl GuestStrategy {
    pub(in crate::engine) fn new(
        plan: StrategyPlan,
        board: Arc<StrategyBoard>,
        origin: Origin,
        version: Arc<Version>,
        first: Arc<BuildInputs>,
    ) -> Self {
        let running = RunningVersion { plan, origin, version, generation: 1 };
        let (lanes, trial, bad, first, promoted) = (BTreeMap::new(), None, None, Some(first), None);
        Self { name: Arc::clone(&board.name), board, lanes, running, highest: 1, trial, bad, first, promoted }
    }

    /// Registers a lane that runs it.
    pub(in crate::engine) fn joined(&mut self, route: &Arc<Route>) {
        self.lanes.insert(route.id.clone(), Arc::clone(route));
    }

    /// The origin of the running version.
    pub(super) fn origin(&self) -> &Origin {
        &self.running.origin
    }

    /// Handles a probation that has ended meanwhile.
    pub(super) fn settle(&mut self) {
        let Some(trial) = &self.trial else { return };
        if trial.probation.failed() {
            let reason = trial.probation.reason().unwrap_or_default();
            if let Some(Rollback { former, .. }) = self.trial.take() {
                let bad = std::mem::replace(&mut self.running, former).origin;
                self.board.set_kind(language(&self.running.origin.path));
                // The inputs of the failed version remain watched: fixing one triggers another try.
                self.running.origin.wanted = bad.files().map(|(path, known)| (path.to_owned(), known)).collect();
                self.bad = Some((bad.contents, reason));
            }
        } else if trial.probation.passed() {
            self.trial = None;
        }
    }
}

/// The file of a strategy that is a guest.
pub(in crate::engine) fn module(plan: &StrategyPlan) -> Option<&Path> {
    match &plan.kind {
        StrategyKind::Motion => None,
        StrategyKind::Lua(path) | StrategyKind::Wasm(path) => Some(path),
    }
}

/// A running handler that is a guest.
pub(in crate::engine) struct GuestHandler {
    pub(in crate::engine) name: Arc<str>,
    pub(in crate::engine) module: ModulePlan,
    pub(in crate::engine) place: Arc<Replaceable>,
    /// The delivery status.
    pub(in crate::engine) standing: Arc<Standing>,
    pub(in crate::engine) origin: Origin,
    pub(in crate::engine) generation: u64,
}

/// A module's language, from its file extension.
pub(super) fn language(path: &Path) -> &'static str {
    if path.extension().is_some_and(|e| e == "wasm") { "wasm" } else { "lua" }
}
