//! Time limits for guests: one thread that ticks, one leash per instance, clocks read by the guest's own thread.
//!
//! A guest's interrupt must cost nothing, so it only reads one flag. The watchdog raises the flag of every running
//! call each millisecond; a guest that finds it raised reads its own thread's CPU clock and goes on, or stops.
//! Counting CPU and not wall time means that a busy machine convicts nobody; the wall ceiling is for a call that
//! makes no progress at all. The first flag sets the base of both clocks, so that short calls read none: a call may
//! therefore run for up to [`IDLE_TICK`] longer than its limit says.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time between looks while a call was seen running.
pub const TICK: Duration = Duration::from_millis(1);
/// Time between looks while none was: a quarter of the wake-ups, and the bound on a late first look.
pub const IDLE_TICK: Duration = Duration::from_millis(4);

/// How long one call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// CPU time of the guest's thread past which a call is counted as slow.
    pub soft_cpu: Duration,
    /// CPU time of the guest's thread past which a call is stopped.
    pub hard_cpu: Duration,
    /// Wall time past which a call is stopped whatever its CPU time.
    pub wall: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            soft_cpu: Duration::from_millis(5),
            hard_cpu: Duration::from_millis(20),
            wall: Duration::from_millis(250),
        }
    }
}

/// Which limit a call ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overrun {
    /// The CPU limit.
    Cpu,
    /// The wall ceiling.
    Wall,
}

/// What the watchdog and a guest's thread share.
#[derive(Debug, Default)]
struct Line {
    running: AtomicBool,
    due: AtomicBool,
    /// 0 = within limits, 1 = CPU, 2 = wall. Stays until the call ends: a guest that catches the error meets it
    /// again at its next step.
    over: AtomicU8,
    base_cpu_ns: AtomicU64,
    base_wall_ns: AtomicU64,
}

/// One guest instance's leash. Calls start and end from the instance's own thread.
#[derive(Debug)]
pub struct Leash {
    line: Arc<Line>,
    /// Keeps the watchdog alive as long as someone depends on it.
    _watchdog: Arc<Watchdog>,
}

/// The guest's end of a leash, for its interrupt.
#[derive(Debug, Clone)]
pub struct Collar {
    line: Arc<Line>,
    limits: TimeLimits,
}

impl Leash {
    /// The end that the guest's interrupt holds, with the limits of the calls to come.
    pub fn collar(&self, limits: TimeLimits) -> Collar {
        Collar { line: Arc::clone(&self.line), limits }
    }

    /// A call starts.
    pub fn start(&self) {
        let line = &*self.line;
        line.over.store(0, Ordering::Relaxed);
        line.base_wall_ns.store(0, Ordering::Relaxed);
        line.due.store(false, Ordering::Relaxed);
        line.running.store(true, Ordering::Release);
    }

    /// The call is over. Returns the CPU time counted, where the call was long enough for any to be, and the limit
    /// it ran into.
    pub fn end(&self) -> (Option<Duration>, Option<Overrun>) {
        let line = &*self.line;
        line.running.store(false, Ordering::Release);
        let spent = (line.base_wall_ns.load(Ordering::Relaxed) != 0)
            .then(|| Duration::from_nanos(cpu_ns().saturating_sub(line.base_cpu_ns.load(Ordering::Relaxed))));
        (spent, overrun(line.over.load(Ordering::Relaxed)))
    }
}

impl Collar {
    /// Called by the guest's interrupt: `Some` once the running call has to stop. One relaxed load when nothing is
    /// due.
    #[inline]
    pub fn check(&self) -> Option<Overrun> {
        if self.line.due.load(Ordering::Relaxed) { self.look() } else { None }
    }

    #[cold]
    fn look(&self) -> Option<Overrun> {
        let line = &*self.line;
        if let Some(over) = overrun(line.over.load(Ordering::Relaxed)) {
            return Some(over);
        }
        line.due.store(false, Ordering::Relaxed);
        let (cpu, wall) = (cpu_ns(), wall_ns());
        let base = line.base_wall_ns.load(Ordering::Relaxed);
        if base == 0 {
            line.base_cpu_ns.store(cpu, Ordering::Relaxed);
            line.base_wall_ns.store(wall.max(1), Ordering::Relaxed);
            return None;
        }
        let cpu_spent = cpu.saturating_sub(line.base_cpu_ns.load(Ordering::Relaxed));
        let over = if u128::from(cpu_spent) >= self.limits.hard_cpu.as_nanos() {
            1
        } else if u128::from(wall.saturating_sub(base)) >= self.limits.wall.as_nanos() {
            2
        } else {
            return None;
        };
        line.over.store(over, Ordering::Relaxed);
        line.due.store(true, Ordering::Relaxed);
        overrun(over)
    }
}

fn overrun(code: u8) -> Option<Overrun> {
    match code {
        1 => Some(Overrun::Cpu),
        2 => Some(Overrun::Wall),
        _ => None,
    }
}

/// CPU time of the calling thread. Read here and not through `types::Clock`: a budget is about this machine's real
/// work, in a simulation too.
fn cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// Wall time for the ceiling; for the same reason not `types::Clock`.
fn wall_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

fn nanoseconds(time: rustix::time::Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[derive(Debug, Default)]
struct Shared {
    /// Every instance's line; those whose instance is gone are swept out on the next look.
    lines: Mutex<Vec<Weak<Line>>>,
    /// Raised, with `bell` rung, when the watchdog is dropped or the first instance joins.
    stop: AtomicBool,
    bell: Condvar,
}

/// The thread that ticks. One per engine; stops when dropped.
#[derive(Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the thread. It sleeps while no instance exists.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start() -> std::io::Result<Arc<Self>> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || tick(&theirs))?;
        Ok(Arc::new(Self { shared, thread: Some(thread) }))
    }

    /// A leash for a new guest instance.
    pub fn leash(self: &Arc<Self>) -> Leash {
        let line = Arc::new(Line::default());
        self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&line));
        self.shared.bell.notify_all();
        Leash { line, _watchdog: Arc::clone(self) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Under the lock, so that the thread cannot miss the bell between its check and its wait.
        let lines = self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.stop.store(true, Ordering::Relaxed);
        drop(lines);
        self.shared.bell.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has nothing to hand on; the thread is over either way.
            let _ = thread.join();
        }
    }
}

fn tick(shared: &Shared) {
    let mut lines = shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
    while !shared.stop.load(Ordering::Relaxed) {
        let mut busy = false;
        lines.retain(|line| {
            let Some(line) = line.upgrade() else { return false };
            if line.running.load(Ordering::Acquire) {
                line.due.store(true, Ordering::Relaxed);
                busy = true;
            }
            true
        });
        lines = if lines.is_empty() {
            shared.bell.wait(lines).unwrap_or_else(PoisonError::into_inner)
        } else {
            let nap = if busy { TICK } else { IDLE_TICK };
            shared.bell.wait_timeout(lines, nap).unwrap_or_else(PoisonError::into_inner).0
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spinning_call_is_stopped_by_its_own_cpu_time() {
        let watchdog = Watchdog::start().unwrap();
        let leash = watchdog.leash();
        let limits = TimeLimits { wall: Duration::from_secs(60), ..TimeLimits::default() };
        let collar = leash.collar(limits);
        let before = cpu_ns();
        leash.start();
        while collar.check().is_none() {
            std::hint::spin_loop();
        }
        assert_eq!(collar.check(), Some(Overrun::Cpu), "and stays stopped");
        let (spent, over) = leash.end();
        assert_eq!(over, Some(Overrun::Cpu));
        assert!(spent.unwrap() >= limits.hard_cpu);
        let real = Duration::from_nanos(cpu_ns() - before);
        assert!(real < limits.hard_cpu + Duration::from_millis(60), "{real:?}");
        leash.start();
        assert_eq!(collar.check(), None, "the next call starts afresh");
        leash.end();
    }

    #[test]
    fn a_call_that_waits_is_stopped_by_the_wall_ceiling() {
        let watchdog = Watchdog::start().unwrap();
        let leash = watchdog.leash();
        let wall = Duration::from_millis(30);
        let collar = leash.collar(TimeLimits { wall, hard_cpu: Duration::from_secs(9), ..TimeLimits::default() });
        leash.start();
        let over = loop {
            std::thread::park_timeout(Duration::from_millis(1));
            if let Some(over) = collar.check() {
                break over;
            }
        };
        assert_eq!(over, Overrun::Wall);
        leash.end();
    }

    #[test]
    fn dropping_the_last_owner_ends_the_thread() {
        let watchdog = Watchdog::start().unwrap();
        let leash = watchdog.leash();
        let shared = Arc::downgrade(&watchdog.shared);
        drop(watchdog);
        assert!(shared.upgrade().is_some(), "a leash keeps it");
        drop(leash);
        assert!(shared.upgrade().is_none());
    }
}
