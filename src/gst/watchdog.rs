//! When silence is a fault. Pure: time is an argument.

use std::time::Duration;

/// Longest silences that are put up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// From the start to the first frame.
    pub(super) first_frame: Duration,
    /// Between frames.
    pub(super) gap: Duration,
}

/// Watches one attempt.
#[derive(Debug)]
pub(super) struct Watchdog {
    limits: Limits,
    since_ns: u64,
    running: bool,
}

impl Watchdog {
    /// Starts watching at `now_ns`.
    pub(super) fn new(limits: Limits, now_ns: u64) -> Self {
        Self { limits, since_ns: now_ns, running: false }
    }

    /// A frame was handed on at `now_ns`.
    pub(super) fn frame(&mut self, now_ns: u64) {
        self.running = true;
        self.since_ns = now_ns;
    }

    /// The source is known to have more although nothing came out (a frame waits for its presentation time).
    pub(super) fn excuse(&mut self, now_ns: u64) {
        self.since_ns = now_ns;
    }

    /// How long it has been silent, once that is too long.
    pub(super) fn silence(&self, now_ns: u64) -> Option<Duration> {
        let silent = Duration::from_nanos(now_ns.saturating_sub(self.since_ns));
        (silent >= self.limit()).then_some(silent)
    }

    /// How long until silence is a fault.
    pub(super) fn left(&self, now_ns: u64) -> Duration {
        self.limit().saturating_sub(Duration::from_nanos(now_ns.saturating_sub(self.since_ns)))
    }

    fn limit(&self) -> Duration {
        if self.running { self.limits.gap } else { self.limits.first_frame }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn watchdog() -> Watchdog {
        Watchdog::new(Limits { first_frame: Duration::from_secs(8), gap: Duration::from_secs(3) }, 100 * S)
    }

    #[test]
    fn the_first_frame_has_longer_than_a_gap() {
        let mut dog = watchdog();
        assert_eq!(dog.silence(107 * S), None);
        assert_eq!(dog.silence(108 * S), Some(Duration::from_secs(8)));
        dog.frame(108 * S);
        assert_eq!(dog.silence(110 * S), None);
        assert_eq!(dog.silence(111 * S), Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_frame_that_waits_is_not_silence() {
        let mut dog = watchdog();
        dog.frame(101 * S);
        dog.excuse(103 * S);
        assert_eq!(dog.silence(105 * S), None);
    }

    #[test]
    fn a_clock_that_stands_still_barks_never() {
        assert_eq!(watchdog().silence(0), None);
    }
}
