//! A model's inference pool: N workers, one session each, fed fairly from one small queue per source.
//!
//! Workers never wait for a lane: a source's frames are taken only while it has credit, so a slow script holds up
//! its own camera and nobody else. A live source keeps one waiting frame, the newest; a finite source's frames
//! wait here at most `in_flight_max`, because its thread waits for room before it offers the next. A worker that has
//! nothing else to do waits a moment for a live frame that is about to come (see `rhythm`). A batch that is not full
//! waits for more only while a source may bring one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::rhythm::Rhythm;
use super::route::Route;
use crate::config::ModelPlan;
use crate::error::{Code, Error};
use crate::infer::{Model, Worker};
use crate::telemetry::{ModelMetrics, Stage};
use crate::types::{Clock, Frame, Picture};

/// One frame with a picture, on its way through the models.
pub(super) struct Job {
    pub(super) ticket: u64,
    pub(super) frame: Box<Frame>,
}

struct Slot {
    route: Arc<Route>,
    /// Which of the route's models this pool is.
    stage: usize,
    queue: VecDeque<Job>,
    /// Of a live source's frames.
    rhythm: Rhythm,
}

impl Slot {
    /// Whether a worker may take a job of it now. Later stages already hold credit; the first takes it.
    fn ready(&self) -> bool {
        !self.queue.is_empty() && (self.stage > 0 || self.route.has_credit())
    }

    /// Whether a batch is worth holding back for a job of it. What a later stage gets comes in batches already.
    fn may_bring(&self) -> bool {
        self.stage == 0 && self.route.may_bring()
    }
}

struct State {
    slots: Vec<Slot>,
    /// Where the next search for work starts, so that every source gets its turn.
    turn: usize,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    batch: usize,
    batch_timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock, and its state is valid between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way into a pool, as routes hold it.
#[derive(Clone)]
pub(super) struct Feed(Arc<Shared>);

impl Feed {
    /// Adds a source whose `stage`-th model this is; returns its slot.
    pub(super) fn attach(&self, route: Arc<Route>, stage: usize) -> usize {
        let mut state = self.0.lock();
        state.slots.push(Slot { route, stage, queue: VecDeque::new(), rhythm: Rhythm::default() });
        state.slots.len() - 1
    }

    /// Takes a job. With `newest_only` the waiting job of this source is replaced and its ticket returned. A closed
    /// pool takes nothing and returns the job's own ticket.
    pub(super) fn offer(&self, slot: usize, job: Job, newest_only: bool) -> Option<u64> {
        let mut state = self.0.lock();
        let Some(slot) = state.slots.get_mut(slot) else { return Some(job.ticket) };
        let replaced = if newest_only { slot.queue.pop_back().map(|old| old.ticket) } else { None };
        if newest_only {
            slot.rhythm.beat(job.frame.arrived_ns);
        }
        slot.queue.push_back(job);
        drop(state);
        self.0.work.notify_one();
        replaced
    }

    /// A source got credit back: its waiting frame may be taken now.
    pub(super) fn wake(&self) {
        self.0.work.notify_one();
    }
}

/// See the module. Owns the workers: dropping it stops and joins them.
pub(super) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `workers` workers for `model`, each with a session of its own.
    pub(super) fn start(
        plan: &ModelPlan,
        model: &Model,
        workers: usize,
        batch: usize,
        batch_timeout: Duration,
        clock: Arc<dyn Clock>,
        metrics: &ModelMetrics,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { slots: Vec::new(), turn: 0, closed: false }),
            work: Condvar::new(),
            batch: batch.clamp(1, model.max_batch()),
            batch_timeout,
            clock,
        });
        let mut pool = Self { shared, workers: Vec::with_capacity(workers) };
        for index in 0..workers.max(1) {
            let worker = model.worker()?;
            let shared = Arc::clone(&pool.shared);
            let (plan, metrics) = (plan.clone(), metrics.clone());
            pool.workers.push(super::spawn(format!("infer-{index}"), move || work(&shared, worker, &plan, &metrics))?);
        }
        Ok(pool)
    }

    /// The way in.
    pub(super) fn feed(&self) -> Feed {
        Feed(Arc::clone(&self.shared))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.closed = true;
            // Routes hold the feed and the feed holds routes; letting go of them here breaks the circle.
            state.slots.clear();
        }
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            // A worker that panicked has already been logged by the panic hook; there is nothing left to save.
            let _ = worker.join();
        }
    }
}

/// A job together with where it goes next.
struct Taken {
    route: Arc<Route>,
    stage: usize,
    job: Job,
}

/// How long to wait for a fresher frame before taking any: only where a single live source has one to take, so that
/// nobody else is held up.
fn pause(state: &State, now_ns: u64, inference_ns: u64) -> Option<Duration> {
    let mut ready = state.slots.iter().filter(|slot| slot.ready());
    let (Some(only), None) = (ready.next(), ready.next()) else { return None };
    let wait = only.rhythm.worth_waiting(now_ns, inference_ns).filter(|_| only.stage == 0)?;
    Some(Duration::from_nanos(wait))
}

/// Takes up to a batch of jobs, fairly over the sources; empty when the pool is closed. `inference_ns` is what one
/// inference usually takes.
fn take(shared: &Shared, inference_ns: u64) -> Vec<Taken> {
    let mut taken = Vec::with_capacity(shared.batch);
    let mut state = shared.lock();
    let mut deadline = None;
    loop {
        if state.closed {
            return Vec::new();
        }
        if taken.is_empty()
            && let Some(wait) = pause(&state, shared.clock.monotonic_ns(), inference_ns)
        {
            state = shared.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let slots = state.slots.len();
        let mut idle = 0;
        while taken.len() < shared.batch && idle < slots {
            let index = state.turn % slots;
            state.turn = state.turn.wrapping_add(1);
            let slot = &mut state.slots[index];
            match slot.ready().then(|| slot.queue.pop_front()).flatten() {
                Some(job) => {
                    idle = 0;
                    if slot.stage == 0 {
                        slot.route.take_credit();
                    }
                    taken.push(Taken { route: Arc::clone(&slot.route), stage: slot.stage, job });
                }
                None => idle += 1,
            }
        }
        if taken.len() == shared.batch {
            return taken;
        }
        if taken.is_empty() {
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        if !state.slots.iter().any(Slot::may_bring) {
            // Another worker may hold a batch back for what is in this one.
            shared.work.notify_all();
            return taken;
        }
        let now = shared.clock.monotonic_ns();
        let deadline = *deadline.get_or_insert(now + u64::try_from(shared.batch_timeout.as_nanos()).unwrap_or(0));
        if now >= deadline {
            return taken;
        }
        let wait = Duration::from_nanos(deadline - now);
        state = shared.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Maps the pictures, and counts the frames of those that cannot be read: their sources' fault alone.
fn readable(batch: Vec<Taken>) -> Vec<Taken> {
    let can_be_read = |taken: &Taken| taken.job.frame.picture.as_ref().is_some_and(|picture| picture.planes().is_ok());
    let (readable, unreadable) = batch.into_iter().partition(can_be_read);
    for Taken { route, job, .. } in Vec::from(unreadable) {
        route.drop_frame(job.ticket, "unreadable");
    }
    readable
}

fn work(shared: &Shared, mut worker: Worker, plan: &ModelPlan, metrics: &ModelMetrics) {
    let mut seen_rejected = 0;
    let mut usual_ns = 0;
    loop {
        let batch = take(shared, usual_ns);
        if batch.is_empty() {
            return;
        }
        let batch = readable(batch);
        let pictures: Vec<Picture> = batch.iter().filter_map(|t| t.job.frame.picture.clone()).collect();
        let started = shared.clock.monotonic_ns();
        let confidence = |t: &Taken| t.route.confidence.unwrap_or(plan.confidence);
        let jobs: Vec<(&Picture, f32)> = pictures.iter().zip(batch.iter().map(confidence)).collect();
        // A fault of ours costs its batch and not the worker: sources wait for it.
        let result = catch_unwind(AssertUnwindSafe(|| worker.detect_above(&jobs)))
            .unwrap_or_else(|_| Err(Error::new(Code::Model, "an internal error; please report it")));
        drop(jobs);
        drop(pictures);
        let spent_ns = shared.clock.monotonic_ns().saturating_sub(started);
        usual_ns = if usual_ns == 0 { spent_ns } else { usual_ns - usual_ns / 8 + spent_ns / 8 };
        metrics.seconds.observe(spent_ns as f64 / 1e9);
        metrics.frames.inc_by(batch.len() as u64);
        for taken in &batch {
            taken.route.metrics.latency(Stage::Infer).observe(spent_ns as f64 / 1e9);
        }
        metrics.rejected.inc_by(worker.rejected() - seen_rejected);
        seen_rejected = worker.rejected();
        match result {
            Ok(found) => {
                for (taken, detections) in batch.into_iter().zip(found) {
                    let Taken { route, stage, mut job } = taken;
                    job.frame.detections.extend(detections);
                    route.advance(stage, job);
                }
            }
            Err(error) => {
                tracing::error!(strategy = plan.name, %error, "inference failed");
                for taken in batch {
                    taken.route.drop_frame(taken.job.ticket, "inference_error");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SystemClock;
    use super::super::live::Events;
    use super::super::route::{Common, Inlet};
    use super::*;
    use crate::backend::{Sink, SourceEvent, SourceState};
    use crate::config::{self, Request};
    use crate::telemetry::Metrics;

    /// Far longer than any of these tests may take.
    const TIMEOUT: Duration = Duration::from_secs(60);

    /// A pool without workers, for batches of four.
    fn feed() -> Feed {
        let state = Mutex::new(State { slots: Vec::new(), turn: 0, closed: false });
        let clock = Arc::new(SystemClock::new());
        Feed(Arc::new(Shared { state, work: Condvar::new(), batch: 4, batch_timeout: TIMEOUT, clock }))
    }

    /// A running source that may have three frames in flight, and its slot.
    fn source(feed: &Feed, uri: &str) -> (Inlet, usize) {
        let request = Request {
            source_uri: Some(uri.to_owned()),
            working_dir: env!("CARGO_MANIFEST_DIR").into(),
            ..Request::default()
        };
        let plan = config::load(&request).unwrap().plan;
        let clock = Arc::clone(&feed.0.clock);
        let metrics = Metrics::new(Arc::clone(&clock)).source(&plan.sources[0].id);
        let common = Common { in_flight_max: 3, merge_iou: 0.5, clock, events: Events::new() };
        let route = Arc::new(Route::new(&plan.sources[0], &common, metrics, Box::new(|| ())));
        let slot = feed.attach(Arc::clone(&route), 0);
        let inlet = Inlet(route);
        inlet.event(&inlet.0.id, SourceEvent::State(SourceState::Running));
        (inlet, slot)
    }

    fn job(feed: &Feed, inlet: &Inlet) -> Job {
        let frame = Box::new(Frame {
            arrived_ns: feed.0.clock.monotonic_ns(),
            width: 1,
            height: 1,
            ..Frame::empty(inlet.0.id.clone(), 0)
        });
        Job { ticket: inlet.0.inbox.ticket().unwrap(), frame }
    }

    fn offer(feed: &Feed, (inlet, slot): &(Inlet, usize)) {
        assert!(feed.offer(*slot, job(feed, inlet), false).is_none());
    }

    /// How many jobs the next batch has, which must not wait for its time.
    #[track_caller]
    fn batch(feed: &Feed) -> usize {
        let started_ns = feed.0.clock.monotonic_ns();
        let taken = take(&feed.0, 0).len();
        let spent = Duration::from_nanos(feed.0.clock.monotonic_ns() - started_ns);
        assert!(spent < TIMEOUT / 2, "{taken} jobs after {spent:?}");
        taken
    }

    const FINITE: &str = "scene:street";
    const LIVE: &str = "scene:street?live=true";

    #[test]
    fn a_batch_does_not_wait_for_frames_that_cannot_come() {
        let pool = feed();
        let finite = source(&pool, FINITE);
        (0..3).for_each(|_| offer(&pool, &finite));
        assert_eq!(batch(&pool), 3, "no more may be in flight");
        let pool = feed();
        let live = source(&pool, LIVE);
        offer(&pool, &live);
        assert_eq!(batch(&pool), 1, "a live source's next frame is a whole frame's time away");
        let pool = feed();
        let (finite, ended, stalled) = (source(&pool, FINITE), source(&pool, FINITE), source(&pool, LIVE));
        ended.0.event(&ended.0.0.id, SourceEvent::Ended);
        stalled.0.event(&stalled.0.0.id, SourceEvent::State(SourceState::Stalled));
        (0..3).for_each(|_| offer(&pool, &finite));
        assert_eq!(batch(&pool), 3, "nothing comes from a source that has ended or stands still");
    }

    #[test]
    fn a_batch_waits_for_frames_that_may_come() {
        for (uri, sources) in [(FINITE, 1), (LIVE, 3)] {
            let pool = feed();
            let sources: Vec<_> = (0..sources).map(|_| source(&pool, uri)).collect();
            std::thread::scope(|scope| {
                let taken = scope.spawn(|| batch(&pool));
                (0..3).for_each(|n| offer(&pool, &sources[n % sources.len()]));
                assert_eq!(taken.join().unwrap(), 3, "{uri}");
            });
        }
    }

    #[test]
    fn a_worker_that_takes_the_last_lets_go_those_who_wait_for_it() {
        let pool = feed();
        let (finite, slot) = source(&pool, FINITE);
        let jobs = [job(&pool, &finite), job(&pool, &finite)];
        offer(&pool, &(finite, slot));
        std::thread::scope(|scope| {
            let first = scope.spawn(|| batch(&pool));
            while !pool.0.lock().slots[slot].queue.is_empty() {
                std::thread::yield_now();
            }
            // Without a word to the one that waits.
            pool.0.lock().slots[slot].queue.extend(jobs);
            assert_eq!((batch(&pool), first.join().unwrap()), (2, 1));
        });
    }
}
