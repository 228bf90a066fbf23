//! Guests as they run: which contents, which generation, where, and what is put back if a probation fails.

use std::path::Path;
use std::sync::Arc;

use super::handlers::Replaceable;
use super::probation::Probation;
use super::route::Route;
use super::strategies::StrategyBoard;
use crate::config::{HandlerKind, HandlerPlan, ModulePlan, StrategyKind, StrategyPlan};
use crate::types::SourceId;

/// One place where a guest runs: a rule on a lane.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) source: SourceId,
    pub(super) route: Arc<Route>,
    pub(super) rule: usize,
}

/// A strategy as it runs.
pub(super) struct Running {
    pub(super) plan: StrategyPlan,
    pub(super) board: Arc<StrategyBoard>,
    pub(super) seats: Vec<Seat>,
    pub(super) bytes: Arc<[u8]>,
    pub(super) generation: u64,
    /// Highest generation ever given: numbers are not used twice.
    pub(super) highest: u64,
    pub(super) trial: Option<Trial>,
    /// What was rolled back, and why: not tried again until it changes.
    pub(super) bad: Option<(Arc<[u8]>, String)>,
}

/// What is put back if the probation fails.
pub(super) struct Trial {
    pub(super) probation: Arc<Probation>,
    pub(super) plan: StrategyPlan,
    pub(super) bytes: Arc<[u8]>,
    pub(super) generation: u64,
}

impl Running {
    pub(super) fn new(plan: StrategyPlan, board: Arc<StrategyBoard>, bytes: Arc<[u8]>) -> Self {
        Self { plan, board, seats: Vec::new(), bytes, generation: 1, highest: 1, trial: None, bad: None }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        module(&self.plan)
    }

    /// Takes note of how a probation ended meanwhile.
    pub(super) fn settle(&mut self) {
        let Some(trial) = &self.trial else { return };
        if trial.probation.failed() {
            let reason = trial.probation.reason().unwrap_or_default();
            if let Some(Trial { plan, bytes, generation, .. }) = self.trial.take() {
                self.bad = Some((std::mem::replace(&mut self.bytes, bytes), reason));
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
    pub(super) plan: HandlerPlan,
    pub(super) place: Arc<Replaceable>,
    pub(super) bytes: Arc<[u8]>,
    pub(super) generation: u64,
}

impl RunningHandler {
    pub(super) fn module(&self) -> Option<&ModulePlan> {
        match &self.plan.kind {
            HandlerKind::Module(module) => Some(module),
            _ => None,
        }
    }
}
