//! The state of one handler's deliveries: written by its task, read by status queries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::attempts::Attempts;
use super::backlog::Backlog;
use super::{Trouble, Usage};
use crate::telemetry::HandlerMetrics;

/// One handler's state.
pub struct Standing {
    name: Arc<str>,
    counts: HandlerMetrics,
    pending: AtomicUsize,
    attempts: Attempts,
    backlog: Mutex<Backlog>,
    /// How often another version began to deliver.
    renewals: AtomicU64,
    /// Has its task look at its queue.
    pub(super) appended: Notify,
}

impl Standing {
    pub(super) fn new(name: &str, counts: HandlerMetrics) -> Arc<Self> {
        counts.pending.set(0);
        Arc::new(Self {
            name: name.into(),
            counts,
            pending: AtomicUsize::new(0),
            attempts: Attempts::default(),
            backlog: Mutex::default(),
            renewals: AtomicU64::new(0),
            appended: Notify::new(),
        })
    }

    /// The handler's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Alerts delivered.
    pub fn delivered(&self) -> u64 {
        self.counts.delivered.get()
    }

    /// Alerts given up, or missed because its queue was full.
    pub fn given_up(&self) -> u64 {
        self.counts.failed.get()
    }

    /// Alerts in its queue.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Samples the length of its queue, for [`Standing::growth`]; to be called at least every few seconds.
    pub fn sample(&self, now_ns: u64) {
        self.backlog.lock().sample(self.pending(), now_ns);
    }

    /// How many more alerts wait than a minute ago; 0 while it keeps up.
    pub fn growth(&self) -> usize {
        self.backlog.lock().growth(self.pending())
    }

    /// The trouble at `now_ns` on the monotonic clock; `None` after a success.
    pub fn trouble(&self, now_ns: u64) -> Option<Trouble> {
        self.attempts.trouble(now_ns)
    }

    /// Forgets past failures and ends the pause after them, because another version delivers from now on.
    pub fn renew(&self) {
        self.attempts.forget();
        self.renewals.fetch_add(1, Ordering::AcqRel);
        self.appended.notify_one();
    }

    /// How often it was renewed.
    pub(super) fn renewals(&self) -> u64 {
        self.renewals.load(Ordering::Acquire)
    }

    /// Records the start of an attempt.
    pub(super) fn begin(&self, now_ns: u64) {
        self.attempts.begin(now_ns);
    }

    /// Records a delivery, `age_s` seconds after the frame's capture.
    pub(super) fn succeed(&self, age_s: f64) {
        self.attempts.succeed();
        self.counts.delivered.inc();
        self.counts.latency.observe(age_s);
    }

    /// Records a failed attempt; `given_up` if it was the last one for its alert.
    pub(super) fn fail(&self, error: &str, given_up: bool, now_ns: u64) {
        self.attempts.fail(error, given_up, now_ns);
        if given_up { &self.counts.failed } else { &self.counts.retried }.inc();
    }

    /// Records an accepted alert that it does not get.
    pub(super) fn miss(&self) {
        self.counts.failed.inc();
    }

    /// Records its usage; `before` is the usage after the previous delivery.
    pub(super) fn measure(&self, now: Usage, before: Usage) {
        self.counts.holds(now.memory_bytes, now.state_bytes);
        // A new version's counters start at zero.
        let more = |now: u64, before: u64| if now < before { now } else { now - before };
        self.counts.limited("slow", more(now.slow, before.slow));
        self.counts.limited("log_lines", more(now.log_lines_dropped, before.log_lines_dropped));
    }

    /// Sets the number of queued alerts.
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
    use crate::types::TestClock;

    #[test]
    fn what_fails_lasts_after_a_while_or_once_an_alert_is_given_up_and_a_success_ends_it() {
        let standing = Standing::new("hook", Metrics::new(Arc::new(TestClock::default())).handler("hook"));
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
        let standing = Standing::new("disk", Metrics::new(Arc::new(TestClock::default())).handler("disk"));
        standing.begin(0);
        assert_eq!(standing.trouble(SILENT_NS - 1), None);
        assert_eq!(standing.trouble(SILENT_NS).unwrap().error, "no answer for 30 s");
    }
}
