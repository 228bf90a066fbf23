//! Guests as they run: which contents, which generation, where, and what is put back if a probation fails.

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

/// What a version is built from: its module, and the files beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Contained {
    pub(in crate::engine) module: Arc<[u8]>,
    pub(in crate::engine) inputs: Files,
}

impl Contained {
    /// Whether a version of this module, built now, would be the same.
    pub(super) fn matches(&self, module: &[u8]) -> bool {
        *self.module == *module && unchanged_on_disk(&self.inputs)
    }
}

/// Where the running version came from.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Origin {
    pub(in crate::engine) path: PathBuf,
    pub(in crate::engine) contents: Contained,
    /// Files that the last version that was tried looked for, taken or not, and what it found there.
    pub(super) wanted: Files,
}

impl Origin {
    pub(in crate::engine) fn new(path: &Path, contents: Contained) -> Self {
        Self { path: path.to_owned(), contents, wanted: Files::new() }
    }

    /// The files that a new version may come from, with what is known of each.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, Option<Arc<[u8]>>)> {
        let inputs =
            self.contents.inputs.iter().chain(&self.wanted).map(|(path, known)| (path.as_path(), known.clone()));
        [(&*self.path, Some(Arc::clone(&self.contents.module)))].into_iter().chain(inputs)
    }

    /// What runs of the file at `path`: nothing, of one that is only looked for.
    pub(super) fn runs(&self, path: &Path) -> Option<Arc<[u8]>> {
        if self.path == path {
            return Some(Arc::clone(&self.contents.module));
        }
        self.contents.inputs.get(path)?.clone()
    }
}

/// A version as it runs: what a rollback brings back whole.
#[derive(Clone)]
pub(in crate::engine) struct RunningVersion {
    pub(in crate::engine) plan: StrategyPlan,
    pub(in crate::engine) origin: Origin,
    pub(in crate::engine) version: Arc<Version>,
    pub(in crate::engine) generation: u64,
}

/// A strategy that is a guest, as it runs.
pub(in crate::engine) struct GuestStrategy {
    pub(in crate::engine) name: Arc<str>,
    pub(in crate::engine) board: Arc<StrategyBoard>,
    /// The lanes that run it, or that it is a shadow on.
    pub(in crate::engine) lanes: BTreeMap<SourceId, Arc<Route>>,
    pub(in crate::engine) running: RunningVersion,
    /// Highest generation ever given: numbers are not used twice.
    pub(super) highest: u64,
    pub(in crate::engine) trial: Option<Rollback>,
    /// What was rolled back, and why: not tried again until it changes.
    pub(super) bad: Option<(Contained, String)>,
    /// Of a new guest: what its version finds beside its module when its first instances are built.
    pub(super) first: Option<Arc<BuildInputs>>,
    /// Of a shadow: the probation that it is on in the place of what it runs beside.
    pub(super) promoted: Option<Arc<Probation>>,
}

/// What is put back if the probation fails.
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

    /// A lane runs it from now on.
    pub(in crate::engine) fn joined(&mut self, route: &Arc<Route>) {
        self.lanes.insert(route.id.clone(), Arc::clone(route));
    }

    /// Where the running version came from.
    pub(super) fn origin(&self) -> &Origin {
        &self.running.origin
    }

    /// Takes note of how a probation ended meanwhile.
    pub(super) fn settle(&mut self) {
        let Some(trial) = &self.trial else { return };
        if trial.probation.failed() {
            let reason = trial.probation.reason().unwrap_or_default();
            if let Some(Rollback { former, .. }) = self.trial.take() {
                let bad = std::mem::replace(&mut self.running, former).origin;
                self.board.set_kind(language(&self.running.origin.path));
                // What the bad one looked for is watched on: mending it is trying again.
                self.running.origin.wanted = bad.files().map(|(path, known)| (path.to_owned(), known)).collect();
                self.bad = Some((bad.contents, reason));
            }
        } else if trial.probation.passed() {
            self.trial = None;
        }
    }
}

/// The file of a strategy that has one.
pub(in crate::engine) fn module(plan: &StrategyPlan) -> Option<&Path> {
    match &plan.kind {
        StrategyKind::Motion => None,
        StrategyKind::Lua(path) | StrategyKind::Wasm(path) => Some(path),
    }
}

/// A handler that is a guest, as it runs.
pub(in crate::engine) struct GuestHandler {
    pub(in crate::engine) name: Arc<str>,
    pub(in crate::engine) module: ModulePlan,
    pub(in crate::engine) place: Arc<Replaceable>,
    /// How its deliveries stand.
    pub(in crate::engine) standing: Arc<Standing>,
    pub(in crate::engine) origin: Origin,
    pub(in crate::engine) generation: u64,
}

/// The language of a module, told from its ending.
pub(super) fn language(path: &Path) -> &'static str {
    if path.extension().is_some_and(|e| e == "wasm") { "wasm" } else { "lua" }
}
