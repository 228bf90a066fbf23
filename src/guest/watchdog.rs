//! Time limits for guests: one ticking thread, a time budget per instance, and clocks read on the guest's own thread.
//!
//! A guest's interrupt must be cheap, so it only reads one flag. The watchdog sets the flag of every running call each
//! millisecond; a guest that finds it set reads its own thread's CPU clock and continues, or stops. Limiting CPU
//! instead of wall time means that a busy machine causes no faults; the wall limit is for a call that makes no progress
//! at all. Both count from the first flag, so that short calls read no clock: a call may therefore run for up to
//! [`IDLE_TICK`] longer than its limit.
//!
//! The watchdog accumulates wall time in bounded steps: a pause of the machine adds at most one step. The CPU time
//! charged to a call is capped by that wall time, so that a pause which the CPU clock counts causes no fault
//! either. A call that spends its time where nothing interrupts it is detected when it ends.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::time::{ClockId, clock_gettime};

use crate::own::{Stop, Thread};

/// Tick while a call is running.
pub const TICK: Duration = Duration::from_millis(1);
/// Tick while no call is running: a quarter of the wake-ups, and the bound on a late first tick.
pub const IDLE_TICK: Duration = Duration::from_millis(4);

/// The time limits of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// CPU time of the guest's thread after which a call is counted as slow.
    pub soft_cpu: Duration,
    /// CPU time of the guest's thread after which a call is stopped.
    pub hard_cpu: Duration,
    /// Wall time after which a call is stopped, whatever its CPU time.
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

/// The limit that a call exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overrun {
    /// The CPU limit.
    Cpu,
    /// The wall limit.
    Wall,
}

/// The state shared by the watchdog and a guest's thread.
#[derive(Debug, Default)]
struct CallClock {
    running: AtomicBool,
    due: AtomicBool,
    /// 0 = within limits, 1 = CPU, 2 = wall. Stays set until the call ends: a guest that catches the error gets it
    /// again at its next step.
    over: AtomicU8,
    /// The time for which the watchdog saw the call running; 1 after its first tick.
    seen_ns: AtomicU64,
    /// The guest's clocks at its first check; the CPU clock is 0 before that.
    base_cpu_ns: AtomicU64,
    base_seen_ns: AtomicU64,
    /// The wall limit of subsequent calls.
    wall_ns: AtomicU64,
}

/// One guest instance's time budget. The instance's own thread starts and ends calls.
#[derive(Debug)]
pub struct Budget {
    clock: Arc<CallClock>,
    /// Keeps the watchdog alive while a budget exists.
    _watchdog: Arc<Watchdog>,
}

/// The guest's handle to a time budget, for its interrupt.
#[derive(Debug, Clone)]
pub struct Interrupt {
    clock: Arc<CallClock>,
    limits: TimeLimits,
}

impl Budget {
    /// Creates the handle for the guest's interrupt, with the limits of subsequent calls.
    pub fn interrupt(&self, limits: TimeLimits) -> Interrupt {
        self.clock.wall_ns.store(nanoseconds(limits.wall), Ordering::Relaxed);
        Interrupt { clock: Arc::clone(&self.clock), limits }
    }

    /// Starts a call.
    pub fn start(&self) {
        let clock = &*self.clock;
        clock.over.store(0, Ordering::Relaxed);
        clock.base_cpu_ns.store(0, Ordering::Relaxed);
        clock.seen_ns.store(0, Ordering::Relaxed);
        clock.due.store(false, Ordering::Relaxed);
        clock.running.store(true, Ordering::Release);
    }

    /// Ends a call. Returns the CPU time, if the call was long enough to be measured, and the limit that it exceeded.
    pub fn end(&self) -> (Option<Duration>, Option<Overrun>) {
        let clock = &*self.clock;
        clock.running.store(false, Ordering::Release);
        let base = clock.base_cpu_ns.load(Ordering::Relaxed);
        let spent = (base != 0).then(|| Duration::from_nanos(cpu_ns().saturating_sub(base)));
        // The same tolerance as in `check`.
        let late = clock.wall_ns.load(Ordering::Relaxed).saturating_add(nanoseconds(IDLE_TICK));
        let over = overrun(clock.over.load(Ordering::Relaxed));
        (spent, over.or_else(|| (clock.seen_ns.load(Ordering::Relaxed) >= late).then_some(Overrun::Wall)))
    }
}

impl Interrupt {
    /// Called by the guest's interrupt: `Some` once the running call must stop. One relaxed load if no flag is set.
    #[inline]
    pub fn check(&self) -> Option<Overrun> {
        if self.clock.due.load(Ordering::Relaxed) { self.check_due() } else { None }
    }

    #[cold]
    fn check_due(&self) -> Option<Overrun> {
        let clock = &*self.clock;
        if let Some(over) = overrun(clock.over.load(Ordering::Relaxed)) {
            return Some(over);
        }
        clock.due.store(false, Ordering::Relaxed);
        let (cpu, seen) = (cpu_ns(), clock.seen_ns.load(Ordering::Relaxed));
        let base = clock.base_cpu_ns.load(Ordering::Relaxed);
        if base == 0 {
            clock.base_cpu_ns.store(cpu.max(1), Ordering::Relaxed);
            clock.base_seen_ns.store(seen, Ordering::Relaxed);
        }
        let since = seen.saturating_sub(clock.base_seen_ns.load(Ordering::Relaxed));
        let spent = cpu.saturating_sub(base).min(since);
        let over = if spent >= nanoseconds(self.limits.hard_cpu) {
            1
        } else if seen >= nanoseconds(self.limits.wall).saturating_add(nanoseconds(IDLE_TICK)) {
            // A handler that waited for a response until its deadline is just in time.
            2
        } else {
            return None;
        };
        clock.over.store(over, Ordering::Relaxed);
        clock.due.store(true, Ordering::Relaxed);
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

/// CPU time of the calling thread. Not read through `types::Clock`: a budget limits real work on this machine, in a
/// simulation, too.
fn cpu_ns() -> u64 {
    now_ns(ClockId::ThreadCPUTime)
}

fn now_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[derive(Debug, Default)]
struct Shared {
    /// Every instance's clock; those of dropped instances are removed on the next tick.
    clocks: Mutex<Vec<Weak<CallClock>>>,
    /// Notified when the watchdog is dropped or an instance is created.
    wake: Condvar,
}

/// The ticking thread. One per engine; stops when dropped.
#[derive(Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Thread,
}

impl Watchdog {
    /// Starts the thread. It sleeps while there are no instances.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start() -> std::io::Result<Arc<Self>> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = Thread::start("watchdog", move |stop| tick(&theirs, &stop))?;
        Ok(Arc::new(Self { shared, thread }))
    }

    /// Creates a time budget for a new guest instance.
    pub fn budget(self: &Arc<Self>) -> Budget {
        let clock = Arc::new(CallClock::default());
        self.shared.clocks.lock().push(Arc::downgrade(&clock));
        self.shared.wake.notify_all();
        Budget { clock, _watchdog: Arc::clone(self) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Under the lock, so that the thread cannot miss the notification between its check and its wait.
        let clocks = self.shared.clocks.lock();
        self.thread.stop();
        drop(clocks);
        self.shared.wake.notify_all();
    }
}

fn tick(shared: &Shared, stop: &Stop) {
    let mut clocks = shared.clocks.lock();
    let mut last = now_ns(ClockId::Monotonic);
    while !stop.requested() {
        let mut busy = false;
        let now = now_ns(ClockId::Monotonic);
        // A longer step was a pause or load of the machine, and not time that a guest had.
        let step = now.saturating_sub(last).min(nanoseconds(IDLE_TICK));
        last = now;
        clocks.retain(|clock| {
            let Some(clock) = clock.upgrade() else { return false };
            if clock.running.load(Ordering::Acquire) {
                let seen = clock.seen_ns.load(Ordering::Relaxed);
                let more = if seen == 0 { 1 } else { seen + step };
                // Fails if the next call has started meanwhile, to which this step does not belong.
                let _ = clock.seen_ns.compare_exchange(seen, more, Ordering::Relaxed, Ordering::Relaxed);
                clock.due.store(true, Ordering::Relaxed);
                busy = true;
            }
            true
        });
        if clocks.is_empty() {
            shared.wake.wait(&mut clocks);
        } else {
            let nap = if busy { TICK } else { IDLE_TICK };
            shared.wake.wait_for(&mut clocks, nap);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spinning_call_is_stopped_by_its_own_cpu_time() {
        let watchdog = Watchdog::start().unwrap();
        let budget = watchdog.budget();
        let limits = TimeLimits { wall: Duration::from_secs(60), ..TimeLimits::default() };
        let interrupt = budget.interrupt(limits);
        let before = cpu_ns();
        budget.start();
        while interrupt.check().is_none() {
            std::hint::spin_loop();
        }
        assert_eq!(interrupt.check(), Some(Overrun::Cpu), "and stays stopped");
        let (spent, over) = budget.end();
        assert_eq!(over, Some(Overrun::Cpu));
        assert!(spent.unwrap() >= limits.hard_cpu);
        let real = Duration::from_nanos(cpu_ns() - before);
        assert!(real < limits.hard_cpu + Duration::from_millis(60), "{real:?}");
        budget.start();
        assert_eq!(interrupt.check(), None, "the next call starts afresh");
        budget.end();
    }

    #[test]
    fn a_waiting_call_is_stopped_by_the_wall_limit() {
        let watchdog = Watchdog::start().unwrap();
        let budget = watchdog.budget();
        let wall = Duration::from_millis(30);
        let interrupt =
            budget.interrupt(TimeLimits { wall, hard_cpu: Duration::from_secs(9), ..TimeLimits::default() });
        budget.start();
        let over = loop {
            std::thread::park_timeout(Duration::from_millis(1));
            if let Some(over) = interrupt.check() {
                break over;
            }
        };
        assert_eq!(over, Overrun::Wall);
        budget.end();
    }

    #[test]
    fn an_uninterruptible_overrun_is_detected_when_the_call_ends() {
        let watchdog = Watchdog::start().unwrap();
        let budget = watchdog.budget();
        let limits = TimeLimits { wall: Duration::from_millis(100), ..TimeLimits::default() };
        let interrupt = budget.interrupt(limits);
        // Stays this long in code without interrupts, as in a library.
        let call = |time: Duration| {
            budget.start();
            while budget.clock.seen_ns.load(Ordering::Relaxed) < nanoseconds(time) {
                std::thread::park_timeout(TICK);
            }
        };
        call(TICK);
        assert_eq!(budget.end(), (None, None));
        call(2 * limits.wall);
        assert_eq!(budget.end(), (None, Some(Overrun::Wall)));
        call(2 * limits.wall);
        assert_eq!(interrupt.check(), Some(Overrun::Wall), "its first look is late, and tells at once");
        budget.end();
    }

    #[test]
    fn a_pause_that_the_cpu_clock_counts_causes_no_overrun() {
        let (clock, limits) = (Arc::new(CallClock::default()), TimeLimits::default());
        let interrupt = Interrupt { clock: Arc::clone(&clock), limits };
        let check_due = |seen: Duration, base_cpu_ns: u64| {
            clock.due.store(true, Ordering::Relaxed);
            clock.seen_ns.store(nanoseconds(seen), Ordering::Relaxed);
            clock.base_cpu_ns.store(base_cpu_ns, Ordering::Relaxed);
            interrupt.check()
        };
        // The thread's clock runs ahead by more than the limit while the watchdog takes one step.
        while cpu_ns() < 2 * nanoseconds(limits.hard_cpu) {
            std::hint::spin_loop();
        }
        assert_eq!(check_due(TICK, 1), None);
        assert_eq!(check_due(IDLE_TICK, 1), None);
        assert_eq!(check_due(limits.hard_cpu, 1), Some(Overrun::Cpu), "enough steps, enough work");
    }

    #[test]
    fn dropping_the_last_owner_ends_the_thread() {
        let watchdog = Watchdog::start().unwrap();
        let budget = watchdog.budget();
        let shared = Arc::downgrade(&watchdog.shared);
        drop(watchdog);
        assert!(shared.upgrade().is_some(), "a budget keeps it");
        drop(budget);
        assert!(shared.upgrade().is_none());
    }
}
