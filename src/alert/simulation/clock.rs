//! A clock that goes on when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::courier::Now;
use crate::types::Clock;

pub(super) const SECOND: u64 = 1_000_000_000;
/// The wall clock when a day begins.
pub(super) const START_UNIX_NS: u64 = 1_700_000_000 * SECOND;

/// See the module.
pub(super) struct Hands {
    monotonic_ns: AtomicU64,
    unix_ns: AtomicU64,
}

impl Hands {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { monotonic_ns: AtomicU64::new(0), unix_ns: AtomicU64::new(START_UNIX_NS) })
    }

    pub(super) fn now(&self) -> Now {
        Now { monotonic_ns: self.monotonic_ns(), unix_ns: self.unix_ns() }
    }

    pub(super) fn pass(&self, ns: u64) {
        self.monotonic_ns.fetch_add(ns, Ordering::Relaxed);
        self.unix_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Lets time pass until then; a time that has passed changes nothing.
    pub(super) fn pass_to(&self, monotonic_ns: u64) {
        self.pass(monotonic_ns.saturating_sub(self.monotonic_ns()));
    }

    /// Somebody sets the wall clock.
    pub(super) fn set_ahead(&self, ns: u64) {
        self.unix_ns.fetch_add(ns, Ordering::Relaxed);
    }

    pub(super) fn set_back(&self, ns: u64) {
        self.unix_ns.fetch_sub(ns, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(Ordering::Relaxed)
    }

    fn unix_ns(&self) -> u64 {
        self.unix_ns.load(Ordering::Relaxed)
    }
}
