//! How one handler's deliveries stand: written by its task, read by whoever asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Store;
use crate::telemetry::{HandlerMetrics, redact};

/// How long attempts fail before it is a problem: a receiver that restarts is none.
const FAILING_NS: u64 = 5_000_000_000;
/// How long one attempt takes before it is a problem.
const SILENT_NS: u64 = 30_000_000_000;

/// One handler's row.
pub struct Standing {
    name: Arc<str>,
    counts: HandlerMetrics,
    store: Arc<dyn Store>,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    /// When the attempt under way began.
    began_ns: Option<u64>,
    /// What has failed since the last success.
    failed: Option<Failed>,
}

struct Failed {
    since_ns: u64,
    error: String,
    given_up: bool,
}

/// What keeps a handler from delivering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// For how long.
    pub for_ns: u64,
    /// The newest error, secrets redacted.
    pub error: String,
    /// Whether it is more than a passing failure: an alert was given up, or it goes on for long.
    pub lasts: bool,
}

impl Standing {
    pub(super) fn new(name: &str, counts: HandlerMetrics, store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), counts, store, now: Mutex::default() })
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // Plain values: a panic elsewhere leaves nothing half-done.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.store.pending(&self.name)
    }

    /// What is wrong at `now_ns` on the monotonic clock; nothing after a success.
    pub fn trouble(&self, now_ns: u64) -> Option<Trouble> {
        let now = self.now();
        if let Some(failed) = &now.failed {
            let for_ns = now_ns.saturating_sub(failed.since_ns);
            let lasts = failed.given_up || for_ns >= FAILING_NS;
            return Some(Trouble { for_ns, error: failed.error.clone(), lasts });
        }
        let for_ns = now_ns.saturating_sub(now.began_ns?);
        let error = format!("no answer for {} s", for_ns / 1_000_000_000);
        (for_ns >= SILENT_NS).then_some(Trouble { for_ns, error, lasts: true })
    }

    /// An attempt begins.
    pub(super) fn begin(&self, now_ns: u64) {
        self.now().began_ns = Some(now_ns);
    }

    /// The attempt went well, `age_s` after the frame's capture.
    pub(super) fn succeed(&self, age_s: f64) {
        *self.now() = Now::default();
        self.counts.delivered.inc();
        self.counts.latency.observe(age_s);
    }

    /// Another version delivers from now on: what failed before says nothing of it.
    pub fn renew(&self) {
        self.now().failed = None;
    }

    /// The attempt failed at `now_ns`; `given_up` when it was the alert's last.
    pub(super) fn fail(&self, error: &str, given_up: bool, now_ns: u64) {
        {
            let mut now = self.now();
            now.began_ns = None;
            let failed =
                now.failed.get_or_insert_with(|| Failed { since_ns: now_ns, error: String::new(), given_up: false });
            failed.error = redact(error).into_owned();
            failed.given_up |= given_up;
        }
        if given_up { &self.counts.failed } else { &self.counts.retried }.inc();
    }

    /// An alert is settled.
    pub(super) fn settled(&self) {
        self.counts.pending.set(self.pending() as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemoryStore;
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
        let counts = Metrics::new(Arc::new(Still)).handler("hook");
        let standing = Standing::new("hook", counts, MemoryStore::new(1));
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
        let counts = Metrics::new(Arc::new(Still)).handler("disk");
        let standing = Standing::new("disk", counts, MemoryStore::new(1));
        standing.begin(0);
        assert_eq!(standing.trouble(SILENT_NS - 1), None);
        assert_eq!(standing.trouble(SILENT_NS).unwrap().error, "no answer for 30 s");
    }
}
