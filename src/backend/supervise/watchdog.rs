//! Detects stalls. Pure: time is an argument.

use std::time::Duration;

/// The longest silences allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the start to the first frame.
    pub first_frame: Duration,
    /// Between frames.
    pub gap: Duration,
    /// The most that one check adds to a silence: while this process does not run, a file cannot deliver.
    pub look: Duration,
    /// How many times its limit a silence may last if this process lacks CPU.
    pub patience: u32,
}

/// Watches one attempt.
#[derive(Debug)]
pub struct Watchdog {
    limits: Limits,
    silent: Duration,
    looked_ns: u64,
    running: bool,
    /// Time of this silence that was forgiven.
    forgiven: Duration,
}

/// A silence's cause is examined once it exceeds `1 / DOUBT` of its limit.
const DOUBT: u32 = 4;

impl Watchdog {
    /// Starts watching at `now_ns`.
    pub fn new(limits: Limits, now_ns: u64) -> Self {
        Self { limits, silent: Duration::ZERO, looked_ns: now_ns, running: false, forgiven: Duration::ZERO }
    }

    /// Applies other limits from now on.
    pub fn change(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Records a frame delivered at `now_ns`.
    pub fn frame(&mut self, now_ns: u64) {
        self.running = true;
        self.excuse(now_ns);
    }

    /// Restarts the silence: the source has more although nothing came out (a frame waits for its presentation time).
    pub fn excuse(&mut self, now_ns: u64) {
        self.silent = Duration::ZERO;
        self.forgiven = Duration::ZERO;
        self.looked_ns = now_ns;
    }

    /// Restarts the wait for the first frame: nothing can come yet (no publisher has connected).
    pub fn restart(&mut self, now_ns: u64) {
        self.running = false;
        self.excuse(now_ns);
    }

    /// Checks the silence; returns its length once it exceeds the limit.
    pub fn silence(&mut self, now_ns: u64) -> Option<Duration> {
        self.silent = self.silent_at(now_ns);
        self.looked_ns = self.looked_ns.max(now_ns);
        (self.silent >= self.limit()).then_some(self.silent)
    }

    /// Whether the silence is long enough to examine its cause.
    pub fn doubts(&self, now_ns: u64) -> bool {
        self.silent_at(now_ns) >= self.limit() / DOUBT
    }

    /// Subtracts time in which this process was starved of CPU, up to a bound: a source that was not polled was not
    /// silent.
    pub fn forgive(&mut self, time: Duration) {
        let left = self.limit().saturating_mul(self.limits.patience.saturating_sub(1)).saturating_sub(self.forgiven);
        let time = time.min(self.silent).min(left);
        self.silent -= time;
        self.forgiven += time;
    }

    /// Time until silence is a fault.
    pub fn left(&self, now_ns: u64) -> Duration {
        self.limit().saturating_sub(self.silent_at(now_ns))
    }

    fn silent_at(&self, now_ns: u64) -> Duration {
        let since = Duration::from_nanos(now_ns.saturating_sub(self.looked_ns));
        self.silent.saturating_add(since.min(self.limits.look))
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
        let (first_frame, gap) = (Duration::from_secs(8), Duration::from_secs(3));
        Watchdog::new(Limits { first_frame, gap, look: Duration::MAX, patience: 2 }, 100 * S)
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
    fn after_a_restart_the_first_frame_is_due_again() {
        let mut dog = watchdog();
        dog.frame(101 * S);
        dog.restart(103 * S);
        assert_eq!(dog.silence(110 * S), None);
        assert_eq!(dog.silence(111 * S), Some(Duration::from_secs(8)));
    }

    #[test]
    fn changed_limits_hold_at_once() {
        let mut dog = watchdog();
        dog.frame(101 * S);
        dog.change(Limits { gap: Duration::from_secs(9), ..dog.limits });
        assert_eq!(dog.silence(109 * S), None);
        dog.change(Limits { gap: Duration::from_secs(1), ..dog.limits });
        assert_eq!(dog.silence(109 * S), Some(Duration::from_secs(8)));
    }

    #[test]
    fn a_process_that_did_not_run_has_not_listened() {
        let mut dog = watchdog();
        dog.limits.look = Duration::from_secs(1);
        dog.frame(101 * S);
        assert_eq!(dog.silence(150 * S), None);
        assert_eq!(dog.silence(151 * S), None);
        assert_eq!(dog.left(151 * S), Duration::from_secs(1));
        assert_eq!(dog.silence(152 * S), Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_process_that_is_kept_from_working_has_not_listened_either_but_there_is_an_end_to_it() {
        let mut dog = watchdog();
        dog.frame(100 * S);
        assert!(!dog.doubts(100 * S + S / 2) && dog.doubts(101 * S));
        let ends = (101..120).find(|at| {
            let over = dog.silence(at * S).is_some();
            dog.forgive(Duration::from_secs(1));
            over
        });
        assert_eq!(ends, Some(106), "three seconds, twice");
        dog.frame(106 * S);
        assert_eq!(dog.silence(108 * S), None);
        dog.forgive(Duration::from_secs(9));
        assert_eq!(dog.silence(110 * S), None, "it forgives again");
    }

    #[test]
    fn a_clock_that_does_not_advance_never_triggers_the_watchdog() {
        assert_eq!(watchdog().silence(0), None);
    }
}
