//! The clock as an argument: lower floors wait and judge on the time they are handed.

use std::collections::BTreeMap;

/// A source of time. The engine owns the one real implementation; tests hand in their own.
pub trait Clock: Send + Sync {
    /// Nanoseconds that only ever grow, from an arbitrary start. For waiting, ageing and budgets.
    fn monotonic_ns(&self) -> u64;
    /// Nanoseconds since 1970-01-01T00:00:00Z. For stamping what leaves the process, never for judging.
    fn unix_ns(&self) -> u64;
    /// How long each thread of this process has waited for a processor since it began, nanoseconds by thread; empty
    /// where that is not known. Only differences mean something.
    fn waited_ns(&self) -> BTreeMap<u64, u64> {
        BTreeMap::new()
    }
}
