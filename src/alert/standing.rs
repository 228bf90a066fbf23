//! How one handler's deliveries stand: written by its task, read by whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::attempts::Attempts;
use super::{Trouble, Usage};
use crate::telemetry::HandlerMetrics;

/// One handler's row.
pub struct Standing {
    name: Arc<str>,
    counts: HandlerMetrics,
    pending: AtomicUsize,
    attempts: Attempts,
}

impl Standing {
    pub(super) fn new(name: &str, counts: HandlerMetrics) -> Arc<Self> {
        counts.pending.set(0);
        Arc::new(Self { name: name.into(), counts, pending: AtomicUsize::new(0), attempts: Attempts::default() })
    }

    /// The handler's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Alerts it has delivered.
    pub fn delivered(&self) -> u64 {
        self.counts.delivered.get()
    }

    /// Alerts it gave up, or had no room for.
    pub fn given_up(&self) -> u64 {
        self.counts.failed.get()
    }

    /// Alerts that wait for it.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// What is wrong at `now_ns` on the monotonic clock; nothing after a success.
    pub fn trouble(&self, now_ns: u64) -> Option<Trouble> {
        self.attempts.trouble(now_ns)
    }

    /// Another version delivers from now on: what failed before says nothing of it.
    pub fn renew(&self) {
        self.attempts.forget();
    }

    /// An attempt begins.
    pub(super) fn begin(&self, now_ns: u64) {
        self.attempts.begin(now_ns);
    }

    /// The attempt went well, `age_s` after the frame's capture.
    pub(super) fn succeed(&self, age_s: f64) {
        self.attempts.succeed();
        self.counts.delivered.inc();
        self.counts.latency.observe(age_s);
    }

    /// The attempt failed at `now_ns`; `given_up` when it was the alert's last.
    pub(super) fn fail(&self, error: &str, given_up: bool, now_ns: u64) {
        self.attempts.fail(error, given_up, now_ns);
        if given_up { &self.counts.failed } else { &self.counts.retried }.inc();
    }

    /// An alert was accepted that it does not get.
    pub(super) fn miss(&self) {
        self.counts.failed.inc();
    }

    /// It uses this now; `before` is what it used before the last delivery.
    pub(super) fn measure(&self, now: Usage, before: Usage) {
        self.counts.holds(now.memory_bytes, now.state_bytes);
        // A new version counts from zero again.
        let more = |now: u64, before: u64| if now < before { now } else { now - before };
        self.counts.limited("slow", more(now.slow, before.slow));
        self.counts.limited("log_lines", more(now.log_lines_dropped, before.log_lines_dropped));
    }

    /// So many wait for it now.
    pub(super) fn set_pending(&self, pending: usize) {
        self.pending.store(pending, Ordering::Relaxed);
        self.counts.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::super::attempts::SILENT_NS;
    use super::*;
    use crate::telemetry::Metrics;
    use crate::types::Clock;

    struct Still;

    impl Clock for Still {
        fn monotonic_ns(&self) -> u64 {
            0
        }
        fn unix_ns(&self) -> u64 {
            0
        }
    }

    #[test]
    fn what_fails_lasts_after_a_while_or_once_an_alert_is_given_up_and_a_success_ends_it() {
        let standing = Standing::new("hook", Metrics::new(Arc::new(Still)).handler("hook"));
        let lasts = |now_ns| standing.trouble(now_ns).map(|trouble| trouble.lasts);
        let second = 1_000_000_000;
        assert_eq!(lasts(0), None);
        standing.begin(0);
        standing.fail("http://u:C4n4ry@h/: refused", false, second);
        standing.begin(2 * second);
        standing.fail("refused", false, 3 * second);
        assert_eq!((lasts(5 * second), lasts(6 * second)), (Some(false), Some(true)), "since the first of them");
        standing.succeed(0.0);
        assert_eq!(lasts(7 * second), None);
        standing.begin(8 * second);
        standing.fail("http://u:C4n4ry@h/: refused", true, 8 * second);
        assert_eq!(lasts(8 * second), Some(true));
        assert!(!standing.trouble(9 * second).unwrap().error.contains("C4n4ry"));
        assert_eq!((standing.delivered(), standing.given_up()), (1, 1));
        standing.renew();
        assert_eq!(lasts(9 * second), None, "a new version has failed at nothing yet");
    }

    #[test]
    fn an_attempt_without_an_answer_is_trouble_after_a_while() {
        let standing = Standing::new("disk", Metrics::new(Arc::new(Still)).handler("disk"));
        standing.begin(0);
        assert_eq!(standing.trouble(SILENT_NS - 1), None);
        assert_eq!(standing.trouble(SILENT_NS).unwrap().error, "no answer for 30 s");
    }
}
