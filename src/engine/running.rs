//! Guests as they run: which contents, which generation, where, and what is put back if a probation fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::handlers::Replaceable;
use super::probation::Probation;
use super::route::Route;
use super::strategies::StrategyBoard;
use crate::alert::Standing;
use crate::config::{ModulePlan, StrategyKind, StrategyPlan};
use crate::guest::{Files, stand};
use crate::types::SourceId;

/// One place where a guest runs: a rule on a lane.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) source: SourceId,
    pub(super) route: Arc<Route>,
    pub(super) rule: usize,
}

/// What a version is built from: its module, and the files beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) module: Arc<[u8]>,
    pub(super) beside: Files,
}

impl Texts {
    /// Whether a version of this module, built now, would be the same.
    pub(super) fn are(&self, module: &[u8]) -> bool {
        *self.module == *module && stand(&self.beside)
    }
}

/// Where the running version came from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) path: PathBuf,
    pub(super) texts: Texts,
    /// Files that the last version that was tried looked for, taken or not, and what it found there.
    pub(super) wanted: Files,
}

impl Origin {
    pub(super) fn new(path: &Path, texts: Texts) -> Self {
        Self { path: path.to_owned(), texts, wanted: Files::new() }
    }

    /// The files that a new version may come from, with what is known of each.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, Option<Arc<[u8]>>)> {
        let beside = self.texts.beside.iter().chain(&self.wanted).map(|(path, known)| (path.as_path(), known.clone()));
        [(&*self.path, Some(Arc::clone(&self.texts.module)))].into_iter().chain(beside)
    }

    /// What runs of the file at `path`: nothing, of one that is only looked for.
    pub(super) fn runs(&self, path: &Path) -> Option<Arc<[u8]>> {
        if self.path == path {
            return Some(Arc::clone(&self.texts.module));
        }
        self.texts.beside.get(path)?.clone()
    }
}

/// A strategy as it runs.
pub(super) struct Running {
    pub(super) plan: StrategyPlan,
    pub(super) board: Arc<StrategyBoard>,
    pub(super) seats: Vec<Seat>,
    pub(super) origin: Origin,
    pub(super) generation: u64,
    /// Highest generation ever given: numbers are not used twice.
    pub(super) highest: u64,
    pub(super) trial: Option<Trial>,
    /// What was rolled back, and why: not tried again until it changes.
    pub(super) bad: Option<(Texts, String)>,
    /// Of a shadow: the probation that it is on in the place of what it runs beside.
    pub(super) promoted: Option<Arc<Probation>>,
}

/// What is put back if the probation fails.
pub(super) struct Trial {
    pub(super) probation: Arc<Probation>,
    pub(super) plan: StrategyPlan,
    pub(super) origin: Origin,
    pub(super) generation: u64,
}

impl Running {
    pub(super) fn new(plan: StrategyPlan, board: Arc<StrategyBoard>, origin: Origin) -> Self {
        let (seats, trial, bad, promoted) = (Vec::new(), None, None, None);
        Self { plan, board, seats, origin, generation: 1, highest: 1, trial, bad, promoted }
    }

    /// Takes note of how a probation ended meanwhile.
    pub(super) fn settle(&mut self) {
        let Some(trial) = &self.trial else { return };
        if trial.probation.failed() {
            let reason = trial.probation.reason().unwrap_or_default();
            if let Some(Trial { plan, origin, generation, .. }) = self.trial.take() {
                let bad = std::mem::replace(&mut self.origin, origin);
                // What the bad one looked for is watched on: mending it is trying again.
                self.origin.wanted = bad.files().map(|(path, known)| (path.to_owned(), known)).collect();
                self.bad = Some((bad.texts, reason));
                (self.plan, self.generation) = (plan, generation);
            }
        } else if trial.probation.passed() {
            self.trial = None;
        }
    }
}

/// The file of a strategy that has one.
pub(super) fn module(plan: &StrategyPlan) -> Option<&Path> {
    match &plan.kind {
        StrategyKind::Motion => None,
        StrategyKind::Lua(path) | StrategyKind::Wasm(path) => Some(path),
    }
}

/// A handler as it runs.
pub(super) struct RunningHandler {
    pub(super) name: Arc<str>,
    pub(super) module: ModulePlan,
    pub(super) place: Arc<Replaceable>,
    /// How its deliveries stand.
    pub(super) standing: Arc<Standing>,
    pub(super) origin: Origin,
    pub(super) generation: u64,
}
