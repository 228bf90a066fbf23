//! Which task runs next, and which shared threads slow tasks keep. Pure: the callers lock it, wait and run the tasks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::{ALONE_MAX, CHECK_EVERY, Task};

/// A step that so many checks in a row have found is slow.
const SLOW_CHECKS: u32 = 3;
/// Checks in a row that found nothing to do, after which they pause.
const IDLE_CHECKS: u32 = 20;

/// A task to run.
pub(super) struct Taken {
    pub(super) id: u64,
    pub(super) task: Box<dyn Task>,
    /// Whether nothing came for as long as it waited.
    pub(super) is_late: bool,
}

struct Entry {
    name: Arc<str>,
    /// `None` while a thread runs it.
    task: Option<Box<dyn Task>>,
    state: State,
    /// Dropped with the entry, when the task has ended.
    running: Sender<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Until it is woken, or until this time.
    Waiting(Option<u64>),
    Ready {
        is_late: bool,
    },
    /// On a shared thread.
    Running {
        /// Whether something came meanwhile.
        is_woken: bool,
    },
    /// On a thread of its own.
    Alone,
}

/// What a shared thread does.
#[derive(Default)]
struct Worker {
    runs: Option<u64>,
    /// How many checks have found the current step.
    checks: u32,
}

/// See the module.
pub(super) struct Queue {
    tasks: BTreeMap<u64, Entry>,
    last_id: u64,
    ready: VecDeque<u64>,
    /// When waits end, in nanoseconds of the clock, by task.
    waits: BTreeSet<(u64, u64)>,
    /// The shared threads by number.
    workers: BTreeMap<u64, Worker>,
    last_worker: u64,
    /// How many shared threads there should be.
    workers_wanted: usize,
    /// Shared threads that wait for a task.
    pub(super) idle: usize,
    idle_checks: u32,
    is_closed: bool,
}

impl Queue {
    pub(super) fn new(workers_wanted: usize) -> Self {
        Self {
            tasks: BTreeMap::new(),
            last_id: 0,
            ready: VecDeque::new(),
            waits: BTreeSet::new(),
            workers: BTreeMap::new(),
            last_worker: 0,
            workers_wanted: workers_wanted.max(1),
            idle: 0,
            idle_checks: 0,
            is_closed: false,
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Adds a ready task. `running` is dropped when it has ended.
    pub(super) fn add(&mut self, id: u64, name: &str, task: Box<dyn Task>, running: Sender<()>) {
        let state = State::Ready { is_late: false };
        self.tasks.insert(id, Entry { name: name.into(), task: Some(task), state, running });
        self.ready.push_back(id);
    }

    /// Removes a task that has ended.
    pub(super) fn remove(&mut self, id: u64) -> Option<Sender<()>> {
        self.tasks.remove(&id).map(|entry| entry.running)
    }

    /// Number of ready tasks.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Something came for a task. Whether it has become ready.
    pub(super) fn wake(&mut self, id: u64) -> bool {
        let Some(entry) = self.tasks.get_mut(&id) else { return false };
        match &mut entry.state {
            State::Waiting(due_ns) => {
                if let Some(due_ns) = due_ns {
                    self.waits.remove(&(*due_ns, id));
                }
                entry.state = State::Ready { is_late: false };
                self.ready.push_back(id);
                true
            }
            State::Running { is_woken } => {
                *is_woken = true;
                false
            }
            State::Ready { .. } | State::Alone => false,
        }
    }

    /// The first ready task, for this shared thread.
    pub(super) fn take(&mut self, worker: u64) -> Option<Taken> {
        let id = self.ready.pop_front()?;
        let entry = self.tasks.get_mut(&id)?;
        let is_late = entry.state == State::Ready { is_late: true };
        entry.state = State::Running { is_woken: false };
        let task = entry.task.take()?;
        self.workers.insert(worker, Worker { runs: Some(id), checks: 0 });
        Some(Taken { id, task, is_late })
    }

    /// Whether a ready task waits although a shared thread is idle.
    pub(super) fn needs_worker(&self) -> bool {
        self.idle > 0 && !self.ready.is_empty()
    }

    /// Puts back a task whose next step can follow at once.
    pub(super) fn put_ready(&mut self, id: u64, task: Box<dyn Task>) {
        let Some(entry) = self.tasks.get_mut(&id) else { return };
        entry.task = Some(task);
        entry.state = State::Ready { is_late: false };
        self.ready.push_back(id);
    }

    /// Puts back a task that waits, at most `limit`.
    pub(super) fn put_waiting(&mut self, id: u64, task: Box<dyn Task>, limit: Option<Duration>, now_ns: u64) {
        let Some(entry) = self.tasks.get_mut(&id) else { return };
        if entry.state == (State::Running { is_woken: true }) {
            return self.put_ready(id, task);
        }
        // A short wait ends with the next check, whatever the clock shows.
        let due_ns = limit.map(|limit| match limit {
            limit if limit <= CHECK_EVERY => 0,
            limit => now_ns.saturating_add(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)),
        });
        entry.task = Some(task);
        entry.state = State::Waiting(due_ns);
        self.waits.extend(due_ns.map(|due_ns| (due_ns, id)));
    }

    /// A shared thread has put back its task.
    pub(super) fn release(&mut self, worker: u64) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            *worker = Worker::default();
        }
    }

    /// Makes tasks ready whose wait is over.
    pub(super) fn expire(&mut self, now_ns: u64) {
        while let Some(&(due_ns, id)) = self.waits.first().filter(|(due_ns, _)| *due_ns <= now_ns) {
            self.waits.remove(&(due_ns, id));
            if let Some(entry) = self.tasks.get_mut(&id) {
                entry.state = State::Ready { is_late: true };
                self.ready.push_back(id);
            }
        }
    }

    /// One check: the threads that slow tasks keep while others wait are shared no longer. Returns those tasks' names.
    pub(super) fn replace_slow(&mut self) -> Vec<Arc<str>> {
        let is_busy = self.workers.values().any(|worker| worker.runs.is_some());
        let has_work = is_busy || !self.ready.is_empty() || !self.waits.is_empty();
        self.idle_checks = if has_work { 0 } else { self.idle_checks + 1 };
        self.workers.values_mut().for_each(|worker| worker.checks += 1);
        let mut names = Vec::new();
        if self.ready.is_empty() || self.idle > 0 {
            return names;
        }
        let is_slow = |worker: &Worker| worker.runs.filter(|_| worker.checks >= SLOW_CHECKS);
        let room = ALONE_MAX.saturating_sub(self.alone());
        let slow: Vec<_> =
            self.workers.iter().filter_map(|(n, worker)| Some((*n, is_slow(worker)?))).take(room).collect();
        for (worker, id) in slow {
            self.workers.remove(&worker);
            if let Some(entry) = self.tasks.get_mut(&id) {
                entry.state = State::Alone;
                names.push(Arc::clone(&entry.name));
            }
        }
        names
    }

    fn alone(&self) -> usize {
        self.tasks.values().filter(|entry| entry.state == State::Alone).count()
    }

    /// Whether a shared thread runs its task alone from now on.
    pub(super) fn is_replaced(&self, worker: u64) -> bool {
        !self.workers.contains_key(&worker)
    }

    /// A task that ran alone is quick again.
    pub(super) fn give_back(&mut self, id: u64, task: Box<dyn Task>) {
        self.put_ready(id, task);
    }

    /// Whether shared threads are missing.
    pub(super) fn lacks_workers(&self) -> bool {
        !self.is_over() && self.workers.len() < self.workers_wanted
    }

    /// The number of a shared thread to start, if one is missing.
    pub(super) fn new_worker(&mut self) -> Option<u64> {
        self.lacks_workers().then(|| {
            self.last_worker += 1;
            self.workers.insert(self.last_worker, Worker::default());
            self.last_worker
        })
    }

    /// A shared thread could not be started.
    pub(super) fn remove_worker(&mut self, worker: u64) {
        self.workers.remove(&worker);
    }

    /// Whether checks pause until a task becomes ready.
    pub(super) fn is_paused(&self) -> bool {
        self.idle_checks >= IDLE_CHECKS
    }

    /// A task has become ready. Whether checks were paused.
    pub(super) fn resume_checks(&mut self) -> bool {
        let was_paused = self.is_paused();
        self.idle_checks = 0;
        was_paused
    }

    /// Whether no task may be added.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// No task may be added from now on.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.idle_checks = 0;
    }

    /// Whether nothing is left to run.
    pub(super) fn is_over(&self) -> bool {
        self.is_closed && self.tasks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::lanes::threads::{Panic, Turn};

    struct Idle;

    impl Task for Idle {
        fn turn(&mut self) -> Turn {
            Turn::Wait(None)
        }
        fn late(&mut self) {}
        fn wait(&self, _: Option<Duration>) -> bool {
            false
        }
        fn end(self: Box<Self>, _: Option<Panic>) {}
    }

    /// A queue with so many shared threads and ready tasks, and a thread's numbers.
    fn queue(workers: usize, tasks: u64) -> Queue {
        let mut queue = Queue::new(workers);
        while queue.new_worker().is_some() {}
        for _ in 0..tasks {
            let id = queue.next_id();
            queue.add(id, "a", Box::new(Idle), crossbeam_channel::bounded(0).0);
        }
        queue
    }

    #[test]
    fn ready_tasks_run_in_the_order_in_which_they_became_ready() {
        let mut queue = queue(1, 3);
        let mut order = Vec::new();
        for _ in 0..5 {
            let taken = queue.take(1).unwrap();
            order.push(taken.id);
            queue.put_ready(taken.id, taken.task);
        }
        assert_eq!(order, [1, 2, 3, 1, 2]);
    }

    #[test]
    fn a_task_that_is_woken_while_it_runs_is_ready_again() {
        let mut queue = queue(1, 1);
        let taken = queue.take(1).unwrap();
        assert!(!queue.wake(1));
        queue.put_waiting(1, taken.task, None, 0);
        let taken = queue.take(1).expect("it is ready");
        queue.put_waiting(1, taken.task, None, 0);
        assert!(queue.take(1).is_none());
        assert!(queue.wake(1) && !queue.wake(1));
        assert!(queue.take(1).is_some_and(|taken| !taken.is_late));
    }

    #[test]
    fn a_wait_ends_at_its_time_and_not_after_the_task_was_woken() {
        let mut queue = queue(1, 2);
        for id in [1, 2] {
            let taken = queue.take(1).unwrap();
            queue.put_waiting(id, taken.task, Some(Duration::from_secs(1)), 500);
        }
        queue.expire(1_000_000_499);
        assert_eq!(queue.ready(), 0);
        queue.wake(1);
        queue.expire(1_000_000_500);
        let late: Vec<_> = std::iter::from_fn(|| queue.take(1)).map(|taken| (taken.id, taken.is_late)).collect();
        assert_eq!(late, [(1, false), (2, true)]);
    }

    #[test]
    fn a_thread_is_replaced_when_a_step_takes_long_while_others_wait() {
        let mut alone = queue(1, 1);
        let mut crowded = queue(1, 2);
        let mut with_a_free_thread = queue(2, 2);
        with_a_free_thread.idle = 1;
        for queue in [&mut alone, &mut crowded, &mut with_a_free_thread] {
            queue.take(1).unwrap();
            assert_eq!((queue.replace_slow().len(), queue.replace_slow().len()), (0, 0));
        }
        assert_eq!((alone.replace_slow().len(), with_a_free_thread.replace_slow().len()), (0, 0));
        assert_eq!(crowded.replace_slow().len(), 1);
        assert!(crowded.is_replaced(1) && crowded.lacks_workers());
        assert_eq!(crowded.new_worker(), Some(2));
        assert!(!crowded.wake(1), "its own thread waits for it");
    }

    #[test]
    fn a_bounded_number_of_tasks_runs_alone() {
        let mut queue = queue(1, 2 * ALONE_MAX as u64);
        for worker in 1.. {
            queue.take(worker).unwrap();
            let replaced: usize = (0..SLOW_CHECKS).map(|_| queue.replace_slow().len()).sum();
            if replaced == 0 {
                assert_eq!(worker, ALONE_MAX as u64 + 1);
                return;
            }
            assert_eq!(queue.new_worker(), Some(worker + 1));
        }
    }

    #[test]
    fn checks_pause_while_there_is_nothing_to_do() {
        let mut queue = queue(1, 1);
        let taken = queue.take(1).unwrap();
        (0..2 * IDLE_CHECKS).for_each(|_| drop(queue.replace_slow()));
        assert!(!queue.is_paused(), "it runs");
        queue.put_waiting(1, taken.task, None, 0);
        queue.release(1);
        (0..IDLE_CHECKS).for_each(|_| drop(queue.replace_slow()));
        assert!(queue.is_paused() && queue.wake(1) && queue.resume_checks() && !queue.is_paused());
    }
}
