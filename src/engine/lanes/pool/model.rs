//! A model as the workers run it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::config::ModelPlan;
use crate::error::Error;
use crate::infer::{Model, Watch, Worker};
use crate::telemetry::ModelMetrics;

/// A model as it runs: a session for each worker.
pub(in crate::engine) struct ModelUnit {
    pub(in crate::engine) plan: ModelPlan,
    /// What its classes are called, by number.
    pub(in crate::engine) labels: Vec<Arc<str>>,
    /// Whether somebody has named its classes.
    pub(in crate::engine) named: bool,
    /// What is wrong with its names, and with what it gives.
    pub(super) watch: Arc<Watch>,
    pub(super) max_batch: usize,
    /// By worker, so that a lock is never waited for.
    pub(super) sessions: Arc<[Mutex<Session>]>,
    pub(super) metrics: ModelMetrics,
    /// What one inference usually takes.
    pub(super) usual_ns: AtomicU64,
}

/// One worker's.
pub(super) struct Session {
    pub(super) worker: Worker,
    /// Rejected places that the metrics know of.
    rejected: u64,
}

impl ModelUnit {
    /// Opens a session for each of `workers` workers.
    ///
    /// # Errors
    /// When the runtime gives none.
    pub(in crate::engine) fn open(
        plan: &ModelPlan,
        model: &Model,
        workers: usize,
        metrics: ModelMetrics,
    ) -> Result<Arc<Self>, Error> {
        let session = |_| Ok(Mutex::new(Session { worker: model.worker()?, rejected: 0 }));
        let sessions: Vec<_> = (0..workers.max(1)).map(session).collect::<Result<_, Error>>()?;
        let sessions = sessions.into();
        let (labels, named, max_batch) = (model.labels().to_vec(), model.named(), model.max_batch());
        let (plan, usual_ns, watch) = (plan.clone(), AtomicU64::new(0), Arc::new(Watch::new(model)));
        Ok(Arc::new(Self { plan, labels, named, watch, max_batch, sessions, metrics, usual_ns }))
    }

    /// The same model with another lowest score or for other sources.
    pub(in crate::engine) fn with_plan(&self, plan: &ModelPlan) -> Arc<Self> {
        let (labels, sessions, metrics) = (self.labels.clone(), Arc::clone(&self.sessions), self.metrics.clone());
        let usual_ns = AtomicU64::new(self.usual_ns.load(Ordering::Relaxed));
        let (plan, named, watch) = (plan.clone(), self.named, Arc::clone(&self.watch));
        Arc::new(Self { plan, labels, named, watch, max_batch: self.max_batch, sessions, metrics, usual_ns })
    }

    /// What is wrong with it, a sentence each.
    pub(in crate::engine) fn problems(&self) -> Vec<String> {
        self.watch.problems()
    }

    /// Whether both run in the same sessions.
    pub(in crate::engine) fn same_sessions(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sessions, &other.sessions)
    }

    /// A batch was inferred.
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
