//! A running model.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::config::ModelPlan;
use crate::error::Error;
use crate::infer::{Model, OnDisk, Watch, Worker};
use crate::telemetry::ModelMetrics;

/// A running model with a session for each worker.
pub(in crate::engine) struct ModelUnit {
    pub(in crate::engine) plan: ModelPlan,
    /// The class names, by index.
    pub(in crate::engine) labels: Vec<Arc<str>>,
    /// Whether the class names were configured or found in the model.
    pub(in crate::engine) named: bool,
    /// Tracks problems with its class names and its outputs.
    pub(super) watch: Arc<Watch>,
    /// Its files as they were when it was loaded.
    pub(in crate::engine) loaded: OnDisk,
    pub(super) max_batch: usize,
    /// Indexed by worker, so that locks are never contended.
    pub(super) sessions: Arc<[Mutex<Session>]>,
    pub(super) metrics: ModelMetrics,
    /// A moving average of the inference time.
    pub(super) usual_ns: AtomicU64,
    /// Whether its schedule left out the newest batch.
    pub(super) off: AtomicBool,
}

/// One worker's session.
pub(super) struct Session {
    pub(super) worker: Worker,
    /// Rejected output entries already counted in the metrics.
    rejected: u64,
}

impl ModelUnit {
    /// Opens a session for each of `workers` workers.
    ///
    /// # Errors
    /// When the runtime cannot create a session.
    pub(in crate::engine) fn open(
        plan: &ModelPlan,
        model: &Model,
        loaded: OnDisk,
        workers: usize,
        metrics: ModelMetrics,
    ) -> Result<Arc<Self>, Error> {
        let session = |_| Ok(Mutex::new(Session { worker: model.worker()?, rejected: 0 }));
        let sessions: Vec<_> = (0..workers.max(1)).map(session).collect::<Result<_, Error>>()?;
        let sessions = sessions.into();
        let (labels, named, max_batch) = (model.labels().to_vec(), model.named(), model.max_batch());
        let (plan, usual_ns, watch) = (plan.clone(), AtomicU64::new(0), Arc::new(Watch::new(model)));
        let off = AtomicBool::new(false);
        Ok(Arc::new(Self { plan, labels, named, watch, loaded, max_batch, sessions, metrics, usual_ns, off }))
    }

    /// The same model with another minimum score, other sources or another schedule.
    pub(in crate::engine) fn with_plan(&self, plan: &ModelPlan) -> Arc<Self> {
        let (labels, sessions, metrics) = (self.labels.clone(), Arc::clone(&self.sessions), self.metrics.clone());
        let usual_ns = AtomicU64::new(self.usual_ns.load(Ordering::Relaxed));
        let (plan, named, watch) = (plan.clone(), self.named, Arc::clone(&self.watch));
        let (loaded, max_batch, off) = (self.loaded.clone(), self.max_batch, AtomicBool::new(false));
        Arc::new(Self { plan, labels, named, watch, loaded, max_batch, sessions, metrics, usual_ns, off })
    }

    /// Whether its schedule left out the newest batch.
    pub(in crate::engine) fn is_off(&self) -> bool {
        self.off.load(Ordering::Relaxed)
    }

    /// The model's problems, one sentence each.
    pub(in crate::engine) fn problems(&self) -> Vec<String> {
        self.watch.problems().into_iter().chain(self.loaded.problem(&self.plan.name)).collect()
    }

    /// Whether both use the same sessions.
    pub(in crate::engine) fn same_sessions(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sessions, &other.sessions)
    }

    /// Records the inference of a batch.
    pub(super) fn note(&self, frames: usize, spent_ns: u64, session: &mut Session) {
        let usual = self.usual_ns.load(Ordering::Relaxed);
        let usual = if usual == 0 { spent_ns } else { usual - usual / 8 + spent_ns / 8 };
        self.usual_ns.store(usual, Ordering::Relaxed);
        self.metrics.seconds.observe(spent_ns as f64 / 1e9);
        self.metrics.frames.inc_by(frames as u64);
        let rejected = session.worker.rejected();
        self.metrics.rejected.inc_by(rejected - session.rejected);
        session.rejected = rejected;
        self.watch.note(frames as u64, session.worker.take_seen());
    }
}
