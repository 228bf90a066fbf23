//! Where lanes run: each on a thread of its own, or many on a few shared threads.
//!
//! A lane is a [`Task`]: it does one step at a time and returns what it waits for. Shared threads take ready lanes in
//! the order in which they became ready, one step each, so a lane that always has a frame waits for all others in turn.
//! One thread runs a lane at a time, so the order of its frames and changes is the same as on a thread of its own.
//!
//! A slow step keeps its thread. The thread `lanes-check` checks the shared ones every [`CHECK_EVERY`]: if the same
//! step is found for the third time while other lanes are ready and no shared thread is free, its thread runs this lane
//! alone from then on, and a new thread replaces it (as the Go scheduler replaces a thread that is in a system call). A
//! slow lane therefore delays others by [`STEP_MAX`] at most, and afterwards not at all, until it returns to the shared
//! threads after [`QUICK_STEPS`] quick steps in a row. At most [`ALONE_MAX`] lanes run alone; beyond that, the time
//! limits of their strategies bound what slow lanes cost others.

mod queue;
mod task;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use parking_lot::{Condvar, Mutex, MutexGuard};

use self::queue::{Queue, Taken};
pub(super) use self::task::{Panic, Task, Turn};
use super::lane::Lane;
use crate::error::{Code, Error};
use crate::types::Clock;

/// How often the shared threads are checked.
const CHECK_EVERY: Duration = Duration::from_millis(5);
/// Longest time for which a slow step keeps a shared thread while other lanes wait: three checks.
const STEP_MAX: Duration = Duration::from_millis(15);
/// Maximum number of shared threads. A lane needs some 50 µs for a frame with twenty objects and one script: two
/// threads judge 10,000 frames a second. More than four mainly contend for the queue.
const SHARED_MAX: usize = 4;
/// Maximum number of slow lanes on threads of their own.
const ALONE_MAX: usize = 32;
/// Quick steps in a row after which a lane that was slow returns to the shared threads.
const QUICK_STEPS: u32 = 200;

/// The kind of thread that a lane runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Place {
    /// Its own: it reads pictures, or judges as fast as it can.
    Own,
    /// A shared one.
    Shared,
}

/// A running lane.
pub(in crate::engine) struct LaneHandle(Handle);

enum Handle {
    Own(JoinHandle<()>),
    /// Disconnects when the lane has ended.
    Shared(Receiver<()>),
}

impl LaneHandle {
    /// Waits until the lane has ended.
    pub(in crate::engine) fn join(self) {
        match self.0 {
            // The panic hook has logged a lane's panic; its source is closed either way.
            Handle::Own(thread) => drop(thread.join()),
            Handle::Shared(ended) => drop(ended.recv()),
        }
    }
}

struct Shared {
    queue: Mutex<Queue>,
    /// Notified for a ready task, and when there are none to come.
    work: Condvar,
    /// Notified when checks must resume.
    check: Condvar,
    /// The threads that have run or still run tasks.
    threads: Mutex<Vec<JoinHandle<()>>>,
    clock: Arc<dyn Clock>,
}

impl Shared {
    /// Wakes the threads for a task that has become ready.
    fn notify(&self, mut queue: MutexGuard<'_, Queue>) {
        let resumes = queue.resume_checks();
        drop(queue);
        self.work.notify_one();
        if resumes {
            self.check.notify_one();
        }
    }

    /// Wakes every thread: there are no tasks to come.
    fn notify_all(&self) {
        self.work.notify_all();
        self.check.notify_all();
    }
}

/// Wakes a task for which something came.
pub(super) struct Waker {
    shared: Arc<Shared>,
    id: u64,
}

impl Waker {
    /// Makes the task ready, if it waits.
    pub(super) fn wake(&self) {
        let mut queue = self.shared.queue.lock();
        if queue.wake(self.id) {
            self.shared.notify(queue);
        }
    }
}

/// See the module. Owns the shared threads, which start with the first lane that shares them.
pub(in crate::engine) struct LaneThreads {
    shared: Arc<Shared>,
    checker: Mutex<Option<JoinHandle<()>>>,
}

impl LaneThreads {
    /// At most [`SHARED_MAX`] shared threads, on a small machine one for each core.
    pub(in crate::engine) fn new(clock: Arc<dyn Clock>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with(clock, cores.min(SHARED_MAX))
    }

    fn with(clock: Arc<dyn Clock>, workers: usize) -> Self {
        let (queue, work, check) = (Mutex::new(Queue::new(workers)), Condvar::new(), Condvar::new());
        Self {
            shared: Arc::new(Shared { queue, work, check, threads: Mutex::default(), clock }),
            checker: Mutex::default(),
        }
    }

    /// Runs a lane.
    ///
    /// # Errors
    /// When a thread cannot be started; the lane has not run then.
    pub(in crate::engine) fn run(&self, lane: Lane, place: Place) -> Result<LaneHandle, Error> {
        let (route, clock) = (Arc::clone(&lane.route), Arc::clone(&self.shared.clock));
        if place == Place::Own {
            let run = move || drop(task::run(Box::new(lane), &*clock, None));
            return Ok(LaneHandle(Handle::Own(super::spawn(format!("lane-{}", route.id), run)?)));
        }
        let ended = self.add(route.id.as_str(), Box::new(lane), |waker| route.inbox.wake_by(waker))?;
        Ok(LaneHandle(Handle::Shared(ended)))
    }

    /// Adds a task; `wake_by` gets what wakes it. The result disconnects when it has ended.
    fn add(&self, name: &str, task: Box<dyn Task>, wake_by: impl FnOnce(Waker)) -> Result<Receiver<()>, Error> {
        self.start()?;
        let id = self.shared.queue.lock().next_id();
        // First, so that it misses nothing.
        wake_by(Waker { shared: Arc::clone(&self.shared), id });
        let (running, ended) = bounded(0);
        let mut queue = self.shared.queue.lock();
        if queue.is_closed() {
            return Err(Error::new(Code::Source, "the engine is stopping"));
        }
        queue.add(id, name, task, running);
        self.shared.notify(queue);
        Ok(ended)
    }

    /// Starts the threads that are not running yet.
    fn start(&self) -> Result<(), Error> {
        let mut checker = self.checker.lock();
        if checker.is_none() {
            start_workers(&self.shared)?;
            let shared = Arc::clone(&self.shared);
            *checker = Some(super::spawn("lanes-check".into(), move || check(&shared))?);
        }
        Ok(())
    }

    /// Lanes that are ready and wait for a shared thread.
    pub(in crate::engine) fn waiting(&self) -> usize {
        self.shared.queue.lock().ready()
    }

    /// Ends the threads once every lane has ended, and waits for them if that is so.
    pub(in crate::engine) fn stop(&self) {
        let mut queue = self.shared.queue.lock();
        queue.close();
        let is_over = queue.is_over();
        drop(queue);
        self.shared.notify_all();
        let checker = self.checker.lock().take();
        let threads = std::mem::take(&mut *self.shared.threads.lock());
        for thread in threads.into_iter().chain(checker).filter(|_| is_over) {
            // Panics of tasks do not reach it.
            drop(thread.join());
        }
    }
}

impl Drop for LaneThreads {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the shared threads that are missing.
fn start_workers(shared: &Arc<Shared>) -> Result<(), Error> {
    loop {
        let Some(worker) = shared.queue.lock().new_worker() else { return Ok(()) };
        let theirs = Arc::clone(shared);
        let thread = super::spawn(format!("lanes-{worker}"), move || work(&theirs, worker));
        let thread = thread.inspect_err(|_| shared.queue.lock().remove_worker(worker))?;
        let mut threads = shared.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
    }
}

/// Runs ready tasks, one step each, until there are none to come or another thread has replaced this one.
fn work(shared: &Shared, worker: u64) {
    let mut queue = shared.queue.lock();
    while !queue.is_over() {
        let Some(Taken { id, mut task, is_late }) = queue.take(worker) else {
            queue.idle += 1;
            shared.work.wait(&mut queue);
            queue.idle -= 1;
            continue;
        };
        if queue.needs_worker() {
            shared.work.notify_one();
        }
        let turn =
            MutexGuard::unlocked(&mut queue, || if is_late { task::late(&mut *task) } else { task::turn(&mut *task) });
        match turn {
            Turn::Over(panic) => {
                MutexGuard::unlocked(&mut queue, || task::end(task, panic));
                let is_replaced = queue.is_replaced(worker);
                finish(shared, &mut queue, id);
                if is_replaced {
                    return;
                }
            }
            _ if queue.is_replaced(worker) => {
                drop(queue);
                return run_alone(shared, id, task);
            }
            Turn::Again => queue.put_ready(id, task),
            Turn::Wait(limit) => queue.put_waiting(id, task, limit, shared.clock.monotonic_ns()),
        }
        queue.release(worker);
    }
}

/// Removes a task that has ended.
fn finish(shared: &Shared, queue: &mut Queue, id: u64) {
    // This wakes the callers that wait for its end.
    drop(queue.remove(id));
    if queue.is_over() {
        shared.notify_all();
    }
}

/// Runs a slow task on this thread until it has ended or is quick again.
fn run_alone(shared: &Shared, id: u64, task: Box<dyn Task>) {
    let left = task::run(task, &*shared.clock, Some(QUICK_STEPS));
    let mut queue = shared.queue.lock();
    match left {
        Some(task) => {
            queue.give_back(id, task);
            shared.notify(queue);
        }
        None => finish(shared, &mut queue, id),
    }
}

/// Checks the shared threads: replaces those that slow tasks keep, and makes tasks ready whose wait is over.
fn check(shared: &Arc<Shared>) {
    let mut queue = shared.queue.lock();
    while !queue.is_over() {
        if queue.is_paused() {
            shared.check.wait(&mut queue);
            continue;
        }
        shared.check.wait_for(&mut queue, CHECK_EVERY);
        queue.expire(shared.clock.monotonic_ns());
        let slow = queue.replace_slow();
        if queue.needs_worker() {
            shared.work.notify_all();
        }
        if queue.lacks_workers() {
            MutexGuard::unlocked(&mut queue, || replace(shared, &slow));
        }
    }
}

/// Starts threads in place of those that run these tasks.
fn replace(shared: &Arc<Shared>, slow: &[Arc<str>]) {
    for source in slow {
        tracing::info!(%source, "a step of this source takes long: it runs on a thread of its own");
    }
    if let Err(error) = start_workers(shared) {
        // Tried again with the next check.
        tracing::debug!("slow sources delay others: {error}");
    }
}

#[cfg(test)]
mod tests;
