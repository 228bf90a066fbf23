//! The only real clock. Everything else takes the time as an argument.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::types::Clock;

/// The system's monotonic and wall clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now, at one second: 0 means "never".
    #[allow(clippy::disallowed_methods, reason = "this is the clock that everything else is handed")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic_ns(&self) -> u64 {
        1_000_000_000 + u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX / 2)
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock that everything else is handed")]
    fn unix_ns(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(0))
    }

    /// Linux reports it in `/proc/self/task/N/schedstat`: time on a CPU, time waiting for one, timeslices.
    fn waited_ns(&self) -> BTreeMap<u64, u64> {
        let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return BTreeMap::new() };
        let waited = |thread: std::fs::DirEntry| {
            let figures = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let waited = figures.split_whitespace().nth(1)?.parse().ok()?;
            Some((thread.file_name().to_str()?.parse().ok()?, waited))
        };
        threads.map_while(Result::ok).filter_map(waited).collect()
    }
}
