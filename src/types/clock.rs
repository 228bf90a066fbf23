//! The clock as an argument: lower layers wait and decide on the time that they are given.

use std::collections::BTreeMap;

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
