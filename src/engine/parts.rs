//! The parts that an engine has once, whatever the number of sources, strategies and handlers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use super::backends::Backends;
use super::lanes::{Given, LaneThreads, ModelUnit, Observer, Pool, Reaper, in_flight_max};
use super::summary::RemovedSources;
use super::versions::Guests;
use super::view::live::Events;
use super::view::strategy::StrategyBoard;
use super::wait::Unended;
use crate::alert::Delivery;
use crate::config::{ModelPlan, Plan};
use crate::error::{Code, Error};
use crate::infer::{Choice, Model, OnDisk, Runtime, Search};
use crate::strategy::{Caught, Strategy};
use crate::telemetry::Metrics;
use crate::types::{Clock, SourceId};

/// Creates an embedder's strategy for a source.
pub(super) type Factory = Box<dyn Fn(&SourceId) -> Box<dyn Strategy> + Send + Sync>;

/// An embedder's strategy.
pub(super) struct OwnStrategy {
    pub(super) board: Arc<StrategyBoard>,
    pub(super) make: Factory,
}

impl OwnStrategy {
    /// The strategy for a source; its panics are faults.
    ///
    /// # Errors
    /// When the embedder's function panics.
    pub(super) fn instance(&self, source: &SourceId) -> Result<Box<dyn Strategy>, Error> {
        let made = catch_unwind(AssertUnwindSafe(|| (self.make)(source)));
        let made = made.map_err(|_| {
            Error::new(Code::Plugin, format!("strategy {}: it panicked when it was made for {source}", self.board.name))
        })?;
        Ok(Box::new(Caught::new(made)))
    }
}

/// See the module.
pub(super) struct Parts {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) guests: Arc<Guests>,
    pub(super) delivery: Delivery,
    pub(super) pool: Pool,
    pub(super) threads: LaneThreads,
    /// What is given up for overload.
    pub(super) given: Arc<Given>,
    pub(super) backends: Backends,
    pub(super) reaper: Reaper,
    pub(super) events: Arc<Events>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) own: Vec<OwnStrategy>,
    pub(super) unended: Arc<Unended>,
    pub(super) inference: Inference,
    /// What sources judged that are gone.
    pub(super) removed: Mutex<RemovedSources>,
    /// See [`in_flight_max`].
    pub(super) in_flight_max: u64,
}

/// The inference runtime; opened by the first model.
pub(super) struct Inference {
    pub(super) search: Search,
    pub(super) choice: Choice,
    pub(super) runtime: Mutex<Option<Runtime>>,
}

impl Inference {
    pub(super) fn new(plan: &Plan, search: &Search, choice: Choice) -> Self {
        let explicit = plan.ort_library.clone().or_else(|| search.explicit.clone());
        Self { search: Search { explicit, ..search.clone() }, choice, runtime: Mutex::default() }
    }
}

impl Parts {
    /// The number of inference workers for a plan.
    pub(super) fn workers(plan: &Plan) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        plan.workers.unwrap_or_else(cores).max(1)
    }

    /// The pool for a plan, and the maximum number of a source's frames in flight.
    pub(super) fn pool(plan: &Plan, clock: &Arc<dyn Clock>, given: &Arc<Given>) -> (Pool, u64) {
        let workers = Self::workers(plan);
        (Pool::new(workers, Arc::clone(clock), Arc::clone(given)), in_flight_max(workers))
    }

    /// Loads a model, warms it up and opens a session for each worker.
    pub(super) fn build_model(&self, plan: &ModelPlan) -> Result<Arc<ModelUnit>, Error> {
        let mut runtime = self.inference.runtime.lock();
        let runtime = match &mut *runtime {
            Some(runtime) => runtime,
            none => {
                let (opened, reason) = Runtime::open(self.inference.choice, &self.inference.search)?;
                tracing::info!("inference by {reason}");
                none.insert(opened)
            }
        };
        let loaded = OnDisk::of(plan);
        let model = Model::load(plan, runtime)?;
        if let Some(doubt) = model.doubt() {
            tracing::warn!(strategy = plan.name, "{doubt}");
        }
        tracing::info!(strategy = plan.name, model = %plan.model.display(), layout = ?model.layout(), "model loaded");
        let unit = ModelUnit::open(plan, &model, loaded, self.pool.count(), self.metrics.model(&plan.name))?;
        self.pool.start()?;
        Ok(unit)
    }
}
