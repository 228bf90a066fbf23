//! The hands of a clock that is set.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::Clock;

#[derive(Default)]
pub(super) struct Hands {
    pub(super) monotonic_ns: AtomicU64,
    pub(super) unix_ns: AtomicU64,
}

impl Clock for Hands {
    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(Ordering::Relaxed)
    }

    fn unix_ns(&self) -> u64 {
        self.unix_ns.load(Ordering::Relaxed)
    }
}
