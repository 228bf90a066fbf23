//! The clock as an argument: lower floors wait and judge on the time they are handed.

/// A source of time. The engine owns the one real implementation; tests hand in their own.
pub trait Clock: Send + Sync {
    /// Nanoseconds that only ever grow, from an arbitrary start. For waiting, ageing and budgets.
    fn monotonic_ns(&self) -> u64;
    /// Nanoseconds since 1970-01-01T00:00:00Z. For stamping what leaves the process, never for judging.
    fn unix_ns(&self) -> u64;
}
