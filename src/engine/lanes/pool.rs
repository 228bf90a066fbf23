//! The inference workers: a fixed number of threads, shared by all models.
//!
//! Each source has a slot for each model that its frames pass. Workers take a source's frames only while it has credit,
//! so a slow script delays only its own camera. A live source keeps one waiting frame, the newest; at most
//! `in_flight_max` frames of a finite source wait here, because its thread waits for room before it offers the next. A
//! worker takes frames of one model at a time, of the sources in turn by their weights; an otherwise idle worker waits briefly for a
//! live frame that is about to arrive (see `rhythm`). A partial batch waits for more frames only while a source may
//! deliver one. The pool knows frames, credit and models, and passes each frame on through [`Next`].

mod model;
mod pass;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

pub(in crate::engine) use self::model::ModelUnit;
use self::pass::{on_schedule, readable, unskipped};
use super::credit::Credit;
use super::given::Given;
use super::rhythm::Rhythm;
use crate::error::{Code, Error};
use crate::types::{Clock, Frame, Picture};

/// Where a frame goes after the pool.
pub(super) trait Next: Send + Sync {
    /// A model has processed a frame.
    fn advance(&self, job: Job);
    /// A frame that a worker took was dropped; `reason` is counted.
    fn lose(&self, ticket: u64, reason: &'static str);
    /// Inference took this long for a batch with a frame of this source.
    fn inferred(&self, seconds: f64);
}

/// One frame with a picture, on its way through its source's models.
pub(super) struct Job {
    pub(super) ticket: u64,
    pub(super) frame: Box<Frame>,
    /// The models at the time when the frame arrived: it passes these, whatever changes meanwhile.
    pub(super) stages: Arc<super::Stages>,
    /// Index of the next model.
    pub(super) stage: usize,
    pub(super) next: Arc<dyn Next>,
}

struct Slot {
    model: Arc<ModelUnit>,
    /// Whether it is the source's first model: frames of later models already hold credit.
    first: bool,
    credit: Arc<Credit>,
    queue: VecDeque<Job>,
    /// The time of its next turn in the pool's virtual time (see [`State::now`]).
    pass: u64,
    /// The rhythm of a live source's frames.
    rhythm: Rhythm,
}

impl Slot {
    /// Whether a worker may take a job from it now.
    fn ready(&self) -> bool {
        !self.queue.is_empty() && (!self.first || self.credit.left())
    }

    /// Whether a batch should wait for a job from it. Later stages get their jobs in batches already.
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
    /// The slot at which the next search for work starts: slots of the same pass take turns.
    turn: u64,
    /// Virtual time: the pass of the slot that was taken last. Stride scheduling (Waldspurger and Weihl, 1995): the
    /// slot with the least pass is taken, which then grows by [`STRIDE`] divided by the slot's weight. A slot that had
    /// no frame for a while continues from now on. So while N sources with weights of 1 to 10 have frames waiting, each
    /// gets at least one in 10 · (N - 1) + 1 turns.
    now: u64,
    /// Workers that wait to fill a batch, or for a newer frame: they may not be able to take a new job.
    holding: usize,
    batch: usize,
    batch_timeout: Duration,
    closed: bool,
}

/// By how much a slot of weight 1 falls back with each turn.
const STRIDE: u64 = 1 << 20;

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    given: Arc<Given>,
    clock: Arc<dyn Clock>,
}

impl Shared {
    /// Wakes a worker for a job. Wakes all if some wait for something else, since they could consume a single wake-up.
    fn call(&self, holding: usize) {
        if holding > 0 {
            self.work.notify_all();
        } else {
            self.work.notify_one();
        }
    }
}

/// A source's slot at a model; removed with the last frame that may pass it.
pub(super) struct Attached {
    shared: Arc<Shared>,
    slot: u64,
}

impl Attached {
    /// Queues a job. With `newest_only`, replaces and returns the source's waiting job. A closed pool returns the job
    /// itself.
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
        // Its queue is empty: a waiting job would keep its stages, and with them this, alive. Dropped outside the lock.
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
    /// A pool of `count` workers; they start with the first model.
    pub(in crate::engine) fn new(count: usize, clock: Arc<dyn Clock>, given: Arc<Given>) -> Self {
        let state = State {
            slots: BTreeMap::new(),
            next_slot: 0,
            turn: 0,
            now: 0,
            holding: 0,
            batch: 1,
            batch_timeout: Duration::ZERO,
            closed: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), work: Condvar::new(), given, clock });
        Self { shared, count: count.max(1), workers: Mutex::default() }
    }

    /// The number of workers, started or not.
    pub(in crate::engine) fn count(&self) -> usize {
        self.count
    }

    /// Frames waiting for a worker.
    pub(in crate::engine) fn waiting(&self) -> usize {
        self.shared.state.lock().slots.values().map(|slot| slot.queue.len()).sum()
    }

    /// Sets the batch size, capped by each model's maximum, and how long a partial batch waits.
    pub(in crate::engine) fn set_batch(&self, batch: usize, timeout: Duration) {
        let mut state = self.shared.state.lock();
        (state.batch, state.batch_timeout) = (batch.max(1), timeout);
    }

    /// Starts the workers that are not running yet.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(in crate::engine) fn start(&self) -> Result<(), Error> {
        let mut workers = self.workers.lock();
        while workers.len() < self.count {
            let (index, shared) = (workers.len(), Arc::clone(&self.shared));
            workers.push(super::spawn(format!("infer-{index}"), move || work(&shared, index))?);
        }
        Ok(())
    }

    /// Adds a source's slot at a model; `first` if it is the first model that the source's frames pass.
    pub(super) fn attach(&self, model: &Arc<ModelUnit>, credit: &Arc<Credit>, first: bool) -> Attached {
        let mut state = self.shared.state.lock();
        let slot = state.next_slot;
        state.next_slot += 1;
        let (model, credit) = (Arc::clone(model), Arc::clone(credit));
        let (queue, pass, rhythm) = (VecDeque::new(), state.now, Rhythm::default());
        state.slots.insert(slot, Slot { model, first, credit, queue, pass, rhythm });
        Attached { shared: Arc::clone(&self.shared), slot }
    }

    /// Stops and joins the workers; waiting frames are dropped.
    pub(in crate::engine) fn stop(&self) {
        let waiting: Vec<_> = {
            let mut state = self.shared.state.lock();
            state.closed = true;
            state.slots.values_mut().map(|slot| std::mem::take(&mut slot.queue)).collect()
        };
        drop(waiting);
        self.shared.work.notify_all();
        for worker in self.workers.lock().drain(..) {
            // The panic hook has already logged a worker's panic.
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
    /// The next slot in turn with a job that may be taken; only slots of `model`, if given.
    fn ready(&self, model: Option<&Arc<ModelUnit>>) -> Option<u64> {
        let slots = self.slots.range(self.turn..).chain(self.slots.range(..self.turn));
        let ready = slots.filter(|(_, slot)| slot.ready() && model.is_none_or(|model| slot.runs(model)));
        ready.min_by_key(|(_, slot)| slot.pass.max(self.now)).map(|(key, _)| *key)
    }

    /// Takes jobs, one per source in turn, until the batch is full or none is ready.
    fn fill(&mut self, batch: &mut Option<Batch>) {
        while batch.as_ref().is_none_or(|batch| batch.jobs.len() < batch.most) {
            let Some(key) = self.ready(batch.as_ref().map(|batch| &batch.model)) else { return };
            self.turn = key + 1;
            let Some(slot) = self.slots.get_mut(&key) else { return };
            let Some(job) = slot.queue.pop_front() else { return };
            self.now = slot.pass.max(self.now);
            slot.pass = self.now + STRIDE.div_ceil(u64::from(slot.credit.weight()));
            if slot.first {
                slot.credit.take();
            }
            let most = self.batch.clamp(1, slot.model.max_batch.max(1));
            let batch = batch.get_or_insert_with(|| Batch { model: Arc::clone(&slot.model), jobs: Vec::new(), most });
            batch.jobs.push(job);
        }
    }

    /// How long to wait for a newer frame before taking any: only if a single live source has a frame ready, so that no
    /// other source is delayed.
    fn pause(&self, now_ns: u64) -> Option<Duration> {
        let mut ready = self.slots.values().filter(|slot| slot.ready());
        let (Some(only), None) = (ready.next(), ready.next()) else { return None };
        let usual_ns = only.model.usual_ns.load(Ordering::Relaxed);
        let wait = only.rhythm.worth_waiting(now_ns, usual_ns).filter(|_| only.first)?;
        Some(Duration::from_nanos(wait))
    }
}

/// Takes up to a batch of jobs of one model, fairly over the sources; `None` if the pool is closed.
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
            // Another worker may be waiting to fill a batch with one of these jobs.
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

fn work(shared: &Shared, index: usize) {
    while let Some(Batch { model, jobs, .. }) = take(shared) {
        let jobs = readable(on_schedule(&model, unskipped(&shared.given, &model, jobs)));
        if jobs.is_empty() {
            continue;
        }
        let pictures: Vec<Picture> = jobs.iter().filter_map(|job| job.frame.picture.clone()).collect();
        let asked: Vec<(&Picture, f32)> = pictures.iter().zip(jobs.iter().map(Job::confidence)).collect();
        let mut session = model.sessions[index % model.sessions.len()].lock();
        let started_ns = shared.clock.monotonic_ns();
        // A panic of ours costs the batch, not the worker: sources depend on it.
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
    /// The minimum score at this stage.
    fn confidence(&self) -> f32 {
        self.stages.confidence(self.stage)
    }
}

#[cfg(test)]
mod tests;
