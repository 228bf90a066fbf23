//! Tasks on shared threads: their order, slow ones, waits, panics and the end.

use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_channel::Sender;

use super::super::inbox::{Inbox, Step, Wanted};
use super::*;
use crate::engine::SystemClock;

const LONG: Duration = Duration::from_secs(60);

/// A step of a [`Steps`].
type Do = Box<dyn FnOnce() + Send>;

/// Does what it is sent.
struct Steps {
    inbox: Arc<Inbox<Do>>,
    limit: Option<Duration>,
    late: Arc<AtomicU32>,
}

impl Task for Steps {
    fn turn(&mut self) -> Turn {
        match self.inbox.poll(Wanted::Any) {
            Some(Step::Control(step)) => {
                step();
                Turn::Again
            }
            Some(_) => Turn::Over(None),
            None => Turn::Wait(self.limit),
        }
    }

    fn late(&mut self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    fn wait(&self, limit: Option<Duration>) -> bool {
        self.inbox.wait(Wanted::Any, limit)
    }

    fn end(self: Box<Self>, panic: Option<Panic>) {
        self.inbox.close();
        if let Some(panic) = panic {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A running task: what sends it steps, and its end.
struct Running {
    inbox: Arc<Inbox<Do>>,
    late: Arc<AtomicU32>,
    ended: Receiver<()>,
}

impl Running {
    fn start(threads: &LaneThreads, limit: Option<Duration>) -> Self {
        let (inbox, late) = (Arc::new(Inbox::new(8)), Arc::<AtomicU32>::default());
        let steps = Steps { inbox: Arc::clone(&inbox), limit, late: Arc::clone(&late) };
        let ended = threads.add("a", Box::new(steps), |waker| inbox.wake_by(waker)).unwrap();
        Self { inbox, late, ended }
    }

    fn send(&self, step: impl FnOnce() + Send + 'static) {
        self.inbox.control(Box::new(step));
    }

    /// The thread that runs a step.
    fn thread(&self) -> String {
        let (sent, name) = bounded(1);
        self.send(move || sent.send(std::thread::current().name().unwrap().to_owned()).unwrap());
        name.recv_timeout(LONG).unwrap()
    }

    /// Holds its thread until the result is dropped.
    fn hold(&self) -> Sender<()> {
        let ((release, held), (inside, entered)) = (bounded::<()>(0), bounded(1));
        self.send(move || {
            inside.send(()).unwrap();
            let _ = held.recv();
        });
        entered.recv_timeout(LONG).unwrap();
        release
    }

    #[track_caller]
    fn end(self) {
        self.inbox.close();
        assert!(
            self.ended
                .recv_timeout(LONG)
                .is_err_and(|error| error == crossbeam_channel::RecvTimeoutError::Disconnected)
        );
    }
}

fn threads(workers: usize) -> LaneThreads {
    LaneThreads::with(Arc::new(SystemClock::new()), workers)
}

#[test]
fn the_steps_of_each_task_run_in_order_and_one_at_a_time() {
    const TASKS: usize = 50;
    const STEPS: u32 = 200;
    let threads = threads(4);
    let tasks: Vec<_> = (0..TASKS).map(|_| (Running::start(&threads, None), Arc::<AtomicU32>::default())).collect();
    for step in 0..STEPS {
        for (task, count) in &tasks {
            let count = Arc::clone(count);
            task.send(move || assert_eq!(count.fetch_add(1, Ordering::Relaxed), step));
        }
    }
    for (task, count) in tasks {
        // After all others; a step that fails ends the task.
        assert!(task.thread().starts_with("lanes-"));
        assert_eq!(count.load(Ordering::Relaxed), STEPS);
        task.end();
    }
}

#[test]
fn tasks_that_keep_every_thread_do_not_stop_the_others() {
    let threads = threads(2);
    let [slow, slower, quick] = [(); 3].map(|()| Running::start(&threads, None));
    let held = [slow.hold(), slower.hold()];
    let thread = quick.thread();
    assert!(!["lanes-1", "lanes-2"].contains(&thread.as_str()), "{thread}");
    drop(held);
    [slow, slower, quick].into_iter().for_each(Running::end);
}

#[test]
fn a_slow_task_returns_to_the_shared_threads_once_it_is_quick() {
    let threads = threads(1);
    let (slow, quick) = (Running::start(&threads, None), Running::start(&threads, None));
    let held = slow.hold();
    assert_eq!(quick.thread(), "lanes-2");
    drop(held);
    assert_eq!(slow.thread(), "lanes-1", "alone");
    let returned = (0..2 * QUICK_STEPS).any(|_| slow.thread() == "lanes-2");
    assert!(returned);
    [slow, quick].into_iter().for_each(Running::end);
}

#[test]
fn a_task_is_late_when_nothing_comes_for_as_long_as_it_waits() {
    let threads = threads(1);
    let [soon, later, never] = [Some(Duration::from_millis(1)), Some(Duration::from_millis(20)), None]
        .map(|limit| Running::start(&threads, limit));
    let end = crossbeam_channel::after(LONG);
    while [&soon, &later].iter().any(|task| task.late.load(Ordering::Relaxed) < 3) {
        assert!(end.is_empty(), "never late");
        std::thread::yield_now();
    }
    assert_eq!(never.late.load(Ordering::Relaxed), 0);
    [soon, later, never].into_iter().for_each(Running::end);
}

#[test]
fn a_panic_ends_its_task_only() {
    let threads = threads(1);
    let (panics, other) = (Running::start(&threads, None), Running::start(&threads, None));
    panics.send(|| panic!("as it should"));
    assert!(panics.ended.recv_timeout(LONG).is_err());
    assert!(other.thread().starts_with("lanes-"));
    other.end();
}

#[test]
fn threads_that_are_stopped_take_no_further_task_and_end_after_the_last() {
    let threads = threads(2);
    let task = Running::start(&threads, None);
    threads.stop();
    let inbox = Arc::new(Inbox::new(8));
    let steps = Steps { inbox: Arc::clone(&inbox), limit: None, late: Arc::default() };
    let refused = threads.add("b", Box::new(steps), |waker| inbox.wake_by(waker));
    assert!(refused.unwrap_err().message().contains("stopping"));
    assert!(task.thread().starts_with("lanes-"), "it goes on");
    task.end();
    threads.stop();
}
