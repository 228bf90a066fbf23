//! The models' workers: a fixed number of threads, shared by all models.
//!
//! Each source has a slot for each model its frames pass. A source's frames are taken only while it has credit, so a
//! slow script holds up its own camera and nobody else. A live source keeps one waiting frame, the newest; a finite
//! source's frames wait here at most `in_flight_max`, because its thread waits for room before it offers the next. A
//! worker takes frames of one model at a time, fairly over the sources; one that has nothing else to do waits a moment
//! for a live frame that is about to come (see `rhythm`). A batch that is not full waits for more only while a source may
//! bring one. The pool knows frames, credit and models, and hands each frame on by [`Next`].

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::credit::Credit;
use super::rhythm::Rhythm;
use crate::config::ModelPlan;
use crate::error::{Code, Error};
use crate::infer::{Model, Watch, Worker};
use crate::telemetry::ModelMetrics;
use crate::types::{Clock, Frame, Picture};

/// Where a frame goes on from the pool.
pub(super) trait Next: Send + Sync {
    /// A model is done with a frame.
    fn advance(&self, job: Job);
    /// A frame that a worker took is lost, for a reason that is counted.
    fn lose(&self, ticket: u64, reason: &'static str);
    /// A model took this long for a batch with a frame of this source.
    fn inferred(&self, seconds: f64);
}

/// One frame with a picture, on its way through the models of its source.
pub(super) struct Job {
    pub(super) ticket: u64,
    pub(super) frame: Box<Frame>,
    /// The models as they were when the frame came: it passes these, whatever changes meanwhile.
    pub(super) stages: Arc<super::Stages>,
    /// Which of them is next.
    pub(super) stage: usize,
    pub(super) next: Arc<dyn Next>,
}

/// A model as it runs: a session for each worker.
pub(in crate::engine) struct ModelUnit {
    pub(in crate::engine) plan: ModelPlan,
    /// What its classes are called, by number.
    pub(in crate::engine) labels: Vec<Arc<str>>,
    /// Whether somebody has named its classes.
    pub(in crate::engine) named: bool,
    /// What is wrong with its names, and with what it gives.
    watch: Arc<Watch>,
    max_batch: usize,
    /// By worker, so that a lock is never waited for.
    sessions: Arc<[Mutex<Session>]>,
    metrics: ModelMetrics,
    /// What one inference usually takes.
    usual_ns: AtomicU64,
}

struct Session {
    worker: Worker,
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

    fn note(&self, frames: usize, spent_ns: u64, session: &mut Session) {
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

struct Slot {
    model: Arc<ModelUnit>,
    /// It is the source's first model: frames of later ones hold credit already.
    first: bool,
    credit: Arc<Credit>,
    queue: VecDeque<Job>,
    /// Of a live source's frames.
    rhythm: Rhythm,
}

impl Slot {
    /// Whether a worker may take a job of it now.
    fn ready(&self) -> bool {
        !self.queue.is_empty() && (!self.first || self.credit.left())
    }

    /// Whether a batch is worth holding back for a job of it. What a later stage gets comes in batches already.
    fn may_bring(&self, model: &Arc<ModelUnit>) -> bool {
        self.first && self.runs(model) && self.credit.may_bring()
    }

    fn runs(&self, model: &Arc<ModelUnit>) -> bool {
        Arc::ptr_eq(&self.model, model)
    }
}

struct State {
    slots: BTreeMap<u64, Slot>,
    next_slot: u64,
    /// Where the next search for work starts, so that every source gets its turn.
    turn: u64,
    /// Workers that hold a batch back, or wait for a fresher frame: a job may not be for them.
    holding: usize,
    batch: usize,
    batch_timeout: Duration,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    clock: Arc<dyn Clock>,
}

impl Shared {
    /// Wakes a worker for a job. One that waits for something else must not eat the call.
    fn call(&self, holding: usize) {
        if holding > 0 {
            self.work.notify_all();
        } else {
            self.work.notify_one();
        }
    }
}

/// A source's place before a model; it goes when the last frame that may pass it has gone.
pub(super) struct Attached {
    shared: Arc<Shared>,
    slot: u64,
}

impl Attached {
    /// Takes a job. With `newest_only` the waiting job of this source is replaced and returned. A closed pool takes
    /// nothing and returns the job itself.
    pub(super) fn offer(&self, job: Job, newest_only: bool) -> Option<Job> {
        let mut state = self.shared.state.lock();
        let holding = state.holding;
        let slot = match state.slots.get_mut(&self.slot) {
            Some(slot) => slot,
            None => return Some(job),
        };
        let replaced = if newest_only { slot.queue.pop_back() } else { None };
        if newest_only {
            slot.rhythm.beat(job.frame.arrived_ns);
        }
        slot.queue.push_back(job);
        drop(state);
        self.shared.call(holding);
        replaced
    }

    /// The source got credit back: its waiting frame may be taken now.
    pub(super) fn wake(&self) {
        let holding = self.shared.state.lock().holding;
        self.shared.call(holding);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Its queue is empty: a waiting job keeps its stages, and with them this. Dropped outside the lock.
        let slot = self.shared.state.lock().slots.remove(&self.slot);
        drop(slot);
    }
}

/// See the module. Owns the workers.
pub(in crate::engine) struct Pool {
    shared: Arc<Shared>,
    count: usize,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// A pool that will have `count` workers; they start with the first model.
    pub(in crate::engine) fn new(count: usize, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            slots: BTreeMap::new(),
            next_slot: 0,
            turn: 0,
            holding: 0,
            batch: 1,
            batch_timeout: Duration::ZERO,
            closed: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), work: Condvar::new(), clock });
        Self { shared, count: count.max(1), workers: Mutex::default() }
    }

    /// How many workers there are, or will be.
    pub(in crate::engine) fn count(&self) -> usize {
        self.count
    }

    /// Frames that wait for a worker.
    pub(in crate::engine) fn waiting(&self) -> usize {
        self.shared.state.lock().slots.values().map(|slot| slot.queue.len()).sum()
    }

    /// Frames per batch, as far as a model takes them, and how long one waits to fill.
    pub(in crate::engine) fn set_batch(&self, batch: usize, timeout: Duration) {
        let mut state = self.shared.state.lock();
        (state.batch, state.batch_timeout) = (batch.max(1), timeout);
    }

    /// Starts the workers, where they do not run yet.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(in crate::engine) fn start(&self) -> Result<(), Error> {
        let mut workers = self.workers.lock();
        while workers.len() < self.count {
            let (index, shared) = (workers.len(), Arc::clone(&self.shared));
            workers.push(super::spawn(format!("infer-{index}"), move || work(&shared, index))?);
        }
        Ok(())
    }

    /// Adds a source before a model; `first` where it is the first that its frames pass.
    pub(super) fn attach(&self, model: &Arc<ModelUnit>, credit: &Arc<Credit>, first: bool) -> Attached {
        let mut state = self.shared.state.lock();
        let slot = state.next_slot;
        state.next_slot += 1;
        let (model, credit) = (Arc::clone(model), Arc::clone(credit));
        state.slots.insert(slot, Slot { model, first, credit, queue: VecDeque::new(), rhythm: Rhythm::default() });
        Attached { shared: Arc::clone(&self.shared), slot }
    }

    /// Stops and joins the workers; frames that wait are not judged any more.
    pub(in crate::engine) fn stop(&self) {
        let waiting: Vec<_> = {
            let mut state = self.shared.state.lock();
            state.closed = true;
            state.slots.values_mut().map(|slot| std::mem::take(&mut slot.queue)).collect()
        };
        drop(waiting);
        self.shared.work.notify_all();
        for worker in self.workers.lock().drain(..) {
            // A worker that panicked has already been logged by the panic hook; there is nothing left to save.
            let _ = worker.join();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Jobs of one model.
struct Batch {
    model: Arc<ModelUnit>,
    jobs: Vec<Job>,
    most: usize,
}

impl State {
    /// The next slot in turn of which a job may be taken, of `model` where one is chosen.
    fn ready(&self, model: Option<&Arc<ModelUnit>>) -> Option<u64> {
        let mut slots = self.slots.range(self.turn..).chain(self.slots.range(..self.turn));
        slots.find(|(_, slot)| slot.ready() && model.is_none_or(|model| slot.runs(model))).map(|(key, _)| *key)
    }

    /// Takes jobs, one per source in turn, until the batch is full or none is ready.
    fn fill(&mut self, batch: &mut Option<Batch>) {
        while batch.as_ref().is_none_or(|batch| batch.jobs.len() < batch.most) {
            let Some(key) = self.ready(batch.as_ref().map(|batch| &batch.model)) else { return };
            self.turn = key + 1;
            let Some(slot) = self.slots.get_mut(&key) else { return };
            let Some(job) = slot.queue.pop_front() else { return };
            if slot.first {
                slot.credit.take();
            }
            let most = self.batch.clamp(1, slot.model.max_batch.max(1));
            let batch = batch.get_or_insert_with(|| Batch { model: Arc::clone(&slot.model), jobs: Vec::new(), most });
            batch.jobs.push(job);
        }
    }

    /// How long to wait for a fresher frame before taking any: only where a single live source has one to take, so
    /// that nobody else is held up.
    fn pause(&self, now_ns: u64) -> Option<Duration> {
        let mut ready = self.slots.values().filter(|slot| slot.ready());
        let (Some(only), None) = (ready.next(), ready.next()) else { return None };
        let usual_ns = only.model.usual_ns.load(Ordering::Relaxed);
        let wait = only.rhythm.worth_waiting(now_ns, usual_ns).filter(|_| only.first)?;
        Some(Duration::from_nanos(wait))
    }
}

/// Takes up to a batch of jobs of one model, fairly over the sources; `None` when the pool is closed.
fn take(shared: &Shared) -> Option<Batch> {
    let mut batch: Option<Batch> = None;
    let mut state = shared.state.lock();
    let mut deadline_ns = None;
    loop {
        if state.closed {
            return None;
        }
        if batch.is_none()
            && let Some(wait) = state.pause(shared.clock.monotonic_ns())
        {
            state.holding += 1;
            shared.work.wait_for(&mut state, wait);
            state.holding -= 1;
            continue;
        }
        state.fill(&mut batch);
        let Some(filled) = &batch else {
            shared.work.wait(&mut state);
            continue;
        };
        if filled.jobs.len() == filled.most {
            return batch;
        }
        if !state.slots.values().any(|slot| slot.may_bring(&filled.model)) {
            // Another worker may hold a batch back for what is in this one.
            shared.work.notify_all();
            return batch;
        }
        let now_ns = shared.clock.monotonic_ns();
        let timeout_ns = u64::try_from(state.batch_timeout.as_nanos()).unwrap_or(0);
        let deadline_ns = *deadline_ns.get_or_insert(now_ns + timeout_ns);
        if now_ns >= deadline_ns {
            return batch;
        }
        state.holding += 1;
        shared.work.wait_for(&mut state, Duration::from_nanos(deadline_ns - now_ns));
        state.holding -= 1;
    }
}

/// Maps the pictures. A frame whose picture cannot be read is lost to its own source alone.
fn readable(jobs: Vec<Job>) -> Vec<Job> {
    let can_be_read = |job: &Job| job.frame.picture.as_ref().is_none_or(|picture| picture.planes().is_ok());
    let (readable, unreadable): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(can_be_read);
    for job in unreadable {
        job.next.lose(job.ticket, "unreadable");
    }
    readable
}

fn work(shared: &Shared, index: usize) {
    while let Some(Batch { model, jobs, .. }) = take(shared) {
        let jobs = readable(jobs);
        if jobs.is_empty() {
            continue;
        }
        let pictures: Vec<Picture> = jobs.iter().filter_map(|job| job.frame.picture.clone()).collect();
        let asked: Vec<(&Picture, f32)> = pictures.iter().zip(jobs.iter().map(Job::confidence)).collect();
        let mut session = model.sessions[index % model.sessions.len()].lock();
        let started_ns = shared.clock.monotonic_ns();
        // A fault of ours costs its batch and not the worker: sources wait for it.
        let result = catch_unwind(AssertUnwindSafe(|| session.worker.detect_above(&asked)))
            .unwrap_or_else(|_| Err(Error::new(Code::Model, "an internal error; please report it")));
        let spent_ns = shared.clock.monotonic_ns().saturating_sub(started_ns);
        drop(asked);
        drop(pictures);
        model.note(jobs.len(), spent_ns, &mut session);
        drop(session);
        for job in &jobs {
            job.next.inferred(spent_ns as f64 / 1e9);
        }
        match result {
            Ok(found) => {
                for (mut job, detections) in jobs.into_iter().zip(found) {
                    job.frame.detections.extend(detections);
                    job.stage += 1;
                    Arc::clone(&job.next).advance(job);
                }
            }
            Err(error) => {
                tracing::error!(strategy = model.plan.name, %error, "inference failed");
                for job in jobs {
                    job.next.lose(job.ticket, "inference_error");
                }
            }
        }
    }
}

impl Job {
    /// The lowest score that counts at this stage.
    fn confidence(&self) -> f32 {
        self.stages.confidence(self.stage)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stages;
    use super::*;
    use crate::engine::SystemClock;
    use crate::telemetry::Metrics;

    /// Far longer than any of these tests may take.
    const TIMEOUT: Duration = Duration::from_secs(60);

    struct Nowhere;

    impl Next for Nowhere {
        fn advance(&self, _job: Job) {}
        fn lose(&self, _ticket: u64, _reason: &'static str) {}
        fn inferred(&self, _seconds: f64) {}
    }

    /// A source of which three frames may be under way.
    struct Source {
        credit: Arc<Credit>,
        stages: Arc<Stages>,
        clock: Arc<SystemClock>,
    }

    /// A pool without workers, for batches of four, and a model without sessions.
    fn pool() -> (Pool, Arc<ModelUnit>) {
        let clock = Arc::new(SystemClock::new());
        let pool = Pool::new(1, Arc::clone(&clock) as Arc<dyn Clock>);
        pool.set_batch(4, TIMEOUT);
        (pool, model(&clock, "m"))
    }

    fn model(clock: &Arc<SystemClock>, name: &str) -> Arc<ModelUnit> {
        let plan = crate::config::ModelPlan {
            name: name.to_owned(),
            model: "m.onnx".into(),
            labels: None,
            confidence: 0.5,
            nms: 0.5,
            max_objects: 10,
            input_shape: None,
            output_layers: vec![],
            layout: None,
            interval: 1,
            sources: vec![],
            precision: None,
        };
        let metrics = Metrics::new(Arc::clone(clock) as Arc<dyn Clock>).model(name);
        let (labels, sessions, usual_ns) = (vec![], [].into(), AtomicU64::new(0));
        let watch = Arc::default();
        Arc::new(ModelUnit { plan, labels, named: true, watch, max_batch: 8, sessions, metrics, usual_ns })
    }

    impl Source {
        fn new(pool: &Pool, model: &Arc<ModelUnit>, live: bool) -> Self {
            let credit = Arc::new(Credit::new(live, 3));
            credit.set_up(true);
            let stages = Arc::new(Stages::attach(pool, &[Arc::clone(model)], &credit, None));
            Self { credit, stages, clock: Arc::new(SystemClock::new()) }
        }

        fn job(&self, ticket: u64) -> Job {
            let frame = Box::new(Frame { arrived_ns: self.clock.monotonic_ns(), ..Frame::empty("a", ticket) });
            Job { ticket, frame, stages: Arc::clone(&self.stages), stage: 0, next: Arc::new(Nowhere) }
        }

        fn offer(&self) {
            assert!(self.stages.first().unwrap().offer(self.job(0), false).is_none());
        }
    }

    /// How many jobs the next batch has, which must not wait for its time.
    #[track_caller]
    fn batch(pool: &Pool) -> usize {
        let started_ns = pool.shared.clock.monotonic_ns();
        let taken = take(&pool.shared).map_or(0, |batch| batch.jobs.len());
        let spent = Duration::from_nanos(pool.shared.clock.monotonic_ns() - started_ns);
        assert!(spent < TIMEOUT / 2, "{taken} jobs after {spent:?}");
        taken
    }

    #[test]
    fn a_batch_does_not_wait_for_frames_that_cannot_come() {
        let (one, model) = pool();
        let finite = Source::new(&one, &model, false);
        (0..3).for_each(|_| finite.offer());
        assert_eq!(batch(&one), 3, "no more may be in flight");
        let (one, model) = pool();
        let live = Source::new(&one, &model, true);
        live.offer();
        assert_eq!(batch(&one), 1, "a live source's next frame is a whole frame's time away");
        let (one, model) = pool();
        let [finite, ended, stalled] = [false, false, true].map(|live| Source::new(&one, &model, live));
        ended.credit.set_up(false);
        stalled.credit.set_up(false);
        (0..3).for_each(|_| finite.offer());
        assert_eq!(batch(&one), 3, "nothing comes from a source that has ended or stands still");
    }

    #[test]
    fn a_batch_waits_for_frames_that_may_come() {
        for (live, sources) in [(false, 1), (true, 3)] {
            let (pool, model) = pool();
            let sources: Vec<_> = (0..sources).map(|_| Source::new(&pool, &model, live)).collect();
            std::thread::scope(|scope| {
                let taken = scope.spawn(|| batch(&pool));
                (0..3).for_each(|n| sources[n % sources.len()].offer());
                assert_eq!(taken.join().unwrap(), 3, "live: {live}");
            });
        }
    }

    #[test]
    fn a_batch_holds_frames_of_one_model_and_every_model_has_its_turn() {
        let (pool, first) = pool();
        let second = model(&Arc::new(SystemClock::new()), "n");
        let (a, b) = (Source::new(&pool, &first, false), Source::new(&pool, &second, false));
        for source in [&a, &b] {
            (0..3).for_each(|_| source.offer());
        }
        let taken = [take(&pool.shared).unwrap(), take(&pool.shared).unwrap()];
        let names = taken.map(|batch| (batch.model.plan.name.clone(), batch.jobs.len()));
        assert_eq!(names, [("m".to_owned(), 3), ("n".to_owned(), 3)]);
    }

    #[test]
    fn a_worker_that_takes_the_last_lets_go_those_who_wait_for_it() {
        let (pool, model) = pool();
        let finite = Source::new(&pool, &model, false);
        let jobs = [finite.job(1), finite.job(2)];
        finite.offer();
        let empty = || pool.shared.state.lock().slots.values().all(|slot| slot.queue.is_empty());
        std::thread::scope(|scope| {
            let first = scope.spawn(|| batch(&pool));
            while !empty() {
                std::thread::yield_now();
            }
            // Without a word to the one that waits.
            pool.shared
                .state
                .lock()
                .slots
                .values_mut()
                .take(1)
                .zip([jobs])
                .for_each(|(slot, jobs)| slot.queue.extend(jobs));
            assert_eq!((batch(&pool), first.join().unwrap()), (2, 1));
        });
    }

    #[test]
    fn a_slot_goes_with_the_last_frame_that_may_pass_it() {
        let (pool, model) = pool();
        let source = Source::new(&pool, &model, false);
        source.offer();
        source.credit.set_up(false);
        let slots = || pool.shared.state.lock().slots.len();
        let Source { stages, .. } = source;
        drop(stages);
        assert_eq!(slots(), 1, "a frame still waits");
        drop(take(&pool.shared));
        assert_eq!(slots(), 0);
    }
}
