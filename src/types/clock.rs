//! The clock as an argument: lower layers wait and decide on the time that they are given.

use std::collections::BTreeMap;
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of time. The engine has the one real implementation; tests supply their own.
pub trait Clock: Send + Sync {
    /// Monotonic nanoseconds from an arbitrary start. For waits, ages and budgets.
    fn monotonic_ns(&self) -> u64;
    /// Nanoseconds since 1970-01-01T00:00:00Z. For timestamps that leave the process, never for decisions.
    fn unix_ns(&self) -> u64;
    /// How long each thread of this process has waited for a CPU since it started, in nanoseconds by thread; empty if
    /// unknown. Only differences are meaningful.
    fn waited_ns(&self) -> BTreeMap<u64, u64> {
        BTreeMap::new()
    }
}

/// A clock that stands still until a test lets time pass.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct TestClock {
    monotonic_ns: AtomicU64,
    unix_ns: AtomicU64,
}

#[cfg(test)]
impl TestClock {
    /// A clock at monotonic time 0 and this wall-clock time.
    pub(crate) fn at(unix_ns: u64) -> Self {
        Self { monotonic_ns: AtomicU64::new(0), unix_ns: AtomicU64::new(unix_ns) }
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, ns: u64) {
        self.monotonic_ns.fetch_add(ns, Ordering::Relaxed);
        self.unix_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Lets time pass until then; a time that has passed changes nothing.
    pub(crate) fn pass_to(&self, monotonic_ns: u64) {
        self.pass(monotonic_ns.saturating_sub(self.monotonic_ns()));
    }

    /// Sets the wall clock ahead.
    pub(crate) fn set_ahead(&self, ns: u64) {
        self.unix_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Sets the wall clock back.
    pub(crate) fn set_back(&self, ns: u64) {
        self.unix_ns.fetch_sub(ns, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Clock for TestClock {
    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(Ordering::Relaxed)
    }

    fn unix_ns(&self) -> u64 {
        self.unix_ns.load(Ordering::Relaxed)
    }
}
