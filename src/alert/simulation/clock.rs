//! Time in a day.

use std::sync::Arc;

use super::super::courier::Now;
use crate::types::{Clock as _, TestClock};

pub(super) const SECOND: u64 = 1_000_000_000;
/// The wall clock when a day begins.
pub(super) const START_UNIX_NS: u64 = 1_700_000_000 * SECOND;

pub(super) fn start() -> Arc<TestClock> {
    Arc::new(TestClock::at(START_UNIX_NS))
}

pub(super) fn now(clock: &TestClock) -> Now {
    Now { monotonic_ns: clock.monotonic_ns(), unix_ns: clock.unix_ns() }
}
