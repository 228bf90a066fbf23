//! How workers take frames: when batches wait, and when they do not.

use std::sync::atomic::{AtomicBool, AtomicU64};

use super::super::Stages;
use super::*;
use crate::engine::SystemClock;
use crate::infer::OnDisk;
use crate::telemetry::Metrics;

/// Far longer than any of these tests may take.
const TIMEOUT: Duration = Duration::from_secs(60);

struct Nowhere;

impl Next for Nowhere {
    fn advance(&self, _job: Job) {}
    fn lose(&self, _ticket: u64, _reason: &'static str) {}
    fn inferred(&self, _seconds: f64) {}
}

/// A source with at most three frames in flight.
struct Source {
    credit: Arc<Credit>,
    stages: Arc<Stages>,
    clock: Arc<SystemClock>,
}

/// A pool without workers, for batches of four, and a model without sessions.
fn pool() -> (Pool, Arc<ModelUnit>) {
    let clock = Arc::new(SystemClock::new());
    let pool = Pool::new(1, Arc::clone(&clock) as Arc<dyn Clock>, Arc::default());
    pool.set_batch(4, TIMEOUT);
    (pool, model(&clock, "m"))
}

fn model(clock: &Arc<SystemClock>, name: &str) -> Arc<ModelUnit> {
    let plan = crate::config::ModelPlan::new(name, "m.onnx".into());
    let metrics = Metrics::new(Arc::clone(clock) as Arc<dyn Clock>).model(name);
    let (labels, sessions, usual_ns) = (vec![], [].into(), AtomicU64::new(0));
    let (watch, off) = (Arc::default(), AtomicBool::new(false));
    Arc::new(ModelUnit {
        plan,
        labels,
        named: true,
        watch,
        loaded: OnDisk::default(),
        max_batch: 8,
        sessions,
        metrics,
        usual_ns,
        off,
    })
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

/// The number of jobs in the next batch, which must not wait for the batch timeout.
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
fn a_batch_has_frames_of_one_model_and_models_take_turns() {
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
fn a_worker_that_takes_the_last_job_wakes_those_waiting_for_it() {
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
        // Without a notification to the waiting worker.
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
fn a_slot_is_removed_with_the_last_frame_that_may_pass_it() {
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

/// How often each source is taken in so many turns while all have frames waiting.
fn taken(weights: &[u32], turns: usize) -> Vec<Vec<usize>> {
    let (pool, model) = pool();
    pool.set_batch(1, TIMEOUT);
    let sources: Vec<_> = weights.iter().map(|_| Source::new(&pool, &model, true)).collect();
    for (source, weight) in sources.iter().zip(weights) {
        source.credit.set_weight(*weight);
    }
    let job = |n: usize| Job { next: Arc::new(Nowhere), ..sources[n].job(n as u64) };
    (0..weights.len()).for_each(|n| drop(sources[n].stages.first().unwrap().offer(job(n), false)));
    let mut turns_of = vec![Vec::new(); weights.len()];
    for turn in 0..turns {
        let batch = take(&pool.shared).unwrap();
        let n = batch.jobs[0].ticket as usize;
        turns_of[n].push(turn);
        sources[n].credit.give();
        drop(sources[n].stages.first().unwrap().offer(job(n), false));
    }
    turns_of
}

#[test]
fn sources_of_the_same_priority_take_turns_and_others_by_their_weights() {
    let equal = taken(&[5, 5, 5], 9);
    assert_eq!(equal, [[0, 3, 6], [1, 4, 7], [2, 5, 8]]);
    let weighted: Vec<usize> = taken(&[1, 10, 5], 160).iter().map(Vec::len).collect();
    assert_eq!(weighted, [10, 100, 50]);
}

#[test]
fn no_source_starves() {
    let turns = taken(&[10, 10, 1, 10], 400);
    let gaps = turns[2].windows(2).map(|pair| pair[1] - pair[0]);
    assert_eq!(gaps.max(), Some(10 * 3 + 1));
}
