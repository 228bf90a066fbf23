//! Between a lane and the outbox: applies the policy, then the limits of the site, and counts each outcome.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::pictures::Shot;
use super::policy::Refusal;
use super::sequencer::Times;
use super::{Decision, Order, Outbox, Policy};
use crate::config::{AlertPlan, QuietHours};
use crate::telemetry::{AlertOutcome, Metrics, SourceMetrics};
use crate::types::{Alert, Clock, Frame, Level, Raised, SourceId, Zone, one_line};

/// Maximum rules whose low scores are logged.
const WARNED_MAX: usize = 64;
/// Shortest wait for a frame: a clock that stands still must not keep a lane busy.
const IDLE_MIN: Duration = Duration::from_millis(1);

/// One source's gate: turns its drafts into alerts. Dropping it sends what it holds back.
pub struct Gate {
    policy: Policy,
    enabled: bool,
    default_level: Level,
    quiet_hours: Vec<QuietHours>,
    outbox: Arc<Outbox>,
    clock: Arc<dyn Clock>,
    id: SourceId,
    source: SourceMetrics,
    /// Its place among the site's sources; `None` if it takes no part in their order.
    token: Option<u64>,
    /// Whether its frame time goes on with the clock.
    is_live: bool,
    /// The times of the last frame.
    last: Times,
    /// Rules whose low scores were logged.
    warned: BTreeSet<Box<str>>,
    /// Drawn into pictures.
    zones: Arc<[Zone]>,
}

impl Gate {
    /// Creates a gate for `source`. Its recovered alerts count in its series from now on.
    pub fn new(plan: &AlertPlan, source: &SourceId, outbox: &Arc<Outbox>, metrics: &Metrics) -> Self {
        let series = metrics.source(source);
        outbox.adopt(source, &series);
        Self {
            policy: Policy::new(plan),
            enabled: plan.enabled,
            default_level: plan.default_level,
            quiet_hours: plan.quiet_hours.clone(),
            outbox: outbox.clone(),
            clock: metrics.clock().clone(),
            id: source.clone(),
            source: series,
            token: None,
            is_live: false,
            last: Times::default(),
            warned: BTreeSet::new(),
            zones: Arc::new([]),
        }
    }

    /// Takes part in the order of the site's sources, until it is dropped.
    #[must_use]
    pub fn joined(mut self, order: Order) -> Self {
        self.token = Some(self.outbox.join(&self.id, order, &self.source, self.clock.monotonic_ns()));
        self.is_live = order == Order::Arrival;
        self
    }

    /// Applies new settings and keeps the policy's memory. While alerts are disabled nothing is counted.
    pub fn set_plan(&mut self, plan: &AlertPlan) {
        self.enabled = plan.enabled;
        self.default_level = plan.default_level;
        self.quiet_hours.clone_from(&plan.quiet_hours);
        self.policy.set_plan(plan);
    }

    /// Applies the source's zones.
    pub fn set_zones(&mut self, zones: &Arc<[Zone]>) {
        self.zones = zones.clone();
        self.policy.set_zones(zones);
    }

    /// Handles a draft that a strategy raised on `frame`. Returns the alert if the outbox took it at once: it is
    /// accepted then, or with a journal once it is journalled. Never blocks on a handler or a disk.
    pub fn raise(&mut self, raised: &Raised, frame: &Frame) -> Option<Arc<Alert>> {
        if !self.enabled {
            return None;
        }
        self.begin(frame);
        self.count(&raised.rule, AlertOutcome::Raised);
        if self.is_quiet(raised, frame) {
            self.count(&raised.rule, AlertOutcome::Suppressed);
            return None;
        }
        match self.policy.decide(raised, frame) {
            Decision::Accept(alert) => self.offer(self.pictured(alert, raised, frame)),
            Decision::Suppressed { .. } => {
                self.count(&raised.rule, AlertOutcome::Suppressed);
                None
            }
            Decision::Digested => {
                self.count(&raised.rule, AlertOutcome::Digested);
                None
            }
            Decision::Refused(refusal) => {
                self.count(&raised.rule, AlertOutcome::Refused);
                self.warn(refusal, &raised.rule, &frame.source);
                None
            }
        }
    }

    /// Hands over the alert's picture, if pictures are kept and the frame has one.
    fn pictured(&self, mut alert: Arc<Alert>, raised: &Raised, frame: &Frame) -> Arc<Alert> {
        let pictures = &self.outbox.pictures;
        if !pictures.wanted() {
            return alert;
        }
        let shot = match (&raised.picture, &frame.picture) {
            (Some(jpeg), _) => Shot::Encoded(jpeg.clone()),
            (None, Some(picture)) => {
                let (picture, detections) = (picture.clone(), frame.detections.clone());
                Shot::Frame { picture, detections, zones: self.zones.clone() }
            }
            (None, None) => return alert,
        };
        if pictures.keep(&alert.id, &alert.source, shot) {
            Arc::make_mut(&mut alert).picture = true;
        }
        alert
    }

    /// Whether quiet hours hold a draft back. It begins no condition, so one that lasts is told when they end.
    fn is_quiet(&self, raised: &Raised, frame: &Frame) -> bool {
        let level = raised.level.unwrap_or(self.default_level);
        self.quiet_hours.iter().any(|quiet| level < quiet.min_level && quiet.schedule.holds(frame.captured_unix_ns))
    }

    /// Notes the time of a frame, and sends the digests that are due.
    pub fn begin(&mut self, frame: &Frame) {
        let arrival_ns = self.clock.monotonic_ns();
        self.last = Times { arrival_ns, pts_ns: frame.pts_ns, unix_ns: frame.captured_unix_ns };
        for digest in self.policy.due(frame) {
            self.send(digest);
        }
    }

    /// How long to wait for a frame until [`Gate::idle`] has a digest to send. `None` if it has none: nothing is held
    /// back, or the source is finite and its time stands still without frames.
    pub fn idle_wait(&self) -> Option<Duration> {
        let due_ns = self.policy.due_ns().filter(|_| self.is_live)?;
        let wait = Duration::from_nanos(due_ns.saturating_sub(self.last.pts_ns + self.silent_ns()));
        Some(wait.max(IDLE_MIN))
    }

    /// Sends the digests that are due although no frame comes.
    pub fn idle(&mut self) {
        let silent_ns = self.silent_ns();
        let (pts_ns, unix_ns) = (self.last.pts_ns + silent_ns, self.last.unix_ns + silent_ns);
        for digest in self.policy.due_at(pts_ns, unix_ns) {
            self.send(digest);
        }
    }

    /// Time since the last frame.
    fn silent_ns(&self) -> u64 {
        self.clock.monotonic_ns().saturating_sub(self.last.arrival_ns)
    }

    /// Notes that every rule has judged `frame`: other sources need not wait for alerts of it.
    pub fn judged(&mut self, frame: &Frame) {
        if let Some(token) = self.token {
            self.outbox.judged(&frame.source, token, self.last);
        }
    }

    /// Sends a digest, which counts as raised itself.
    fn send(&mut self, digest: Alert) {
        self.count(&digest.rule, AlertOutcome::Raised);
        self.offer(Arc::new(digest));
    }

    fn offer(&mut self, alert: Arc<Alert>) -> Option<Arc<Alert>> {
        let times = Times { arrival_ns: self.clock.monotonic_ns(), ..self.last };
        let is_taken = self.outbox.offer(self.token, &alert, times, &self.source);
        for unsent in self.outbox.take_unsent(&self.id) {
            self.policy.unsent(&unsent);
        }
        is_taken.then_some(alert)
    }

    fn count(&self, rule: &str, outcome: AlertOutcome) {
        self.outbox.count(Some(&self.source), rule, outcome);
    }

    /// Logs why a rule's alerts are refused, once per rule.
    fn warn(&mut self, refusal: Refusal, rule: &str, source: &SourceId) {
        let Refusal::Confidence { best, min } = refusal;
        if self.warned.contains(rule) || self.warned.len() >= WARNED_MAX {
            return;
        }
        self.warned.insert(rule.into());
        // Truncated, not rounded: 0.4999 is below 0.5.
        let best = (best * 1e3).floor() / 1e3;
        let rule = one_line(rule);
        tracing::warn!(%source, %rule, "alert refused: best detection {best} is under alerts.min_confidence {min}");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // A lane that panics must not panic twice.
        if !std::thread::panicking() {
            for digest in self.policy.flush(self.last.pts_ns, self.last.unix_ns) {
                self.send(digest);
            }
        }
        if let Some(token) = self.token {
            self.outbox.leave(&self.id, token, self.clock.monotonic_ns());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::policy::tests::{draft, frame, plan};
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[derive(Default)]
    struct Manual(AtomicU64);

    impl Clock for Manual {
        fn monotonic_ns(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn unix_ns(&self) -> u64 {
            self.monotonic_ns()
        }
    }

    #[test]
    fn the_burst_of_a_live_source_that_falls_silent_is_told_in_time() {
        let plan = AlertPlan { burst_threshold: 1, ..plan() };
        let clock = Arc::new(Manual::default());
        let metrics = Metrics::new(clock.clone());
        let accepted = Arc::new(AtomicU64::new(0));
        let counted = accepted.clone();
        let on_accepted = Arc::new(move |_: &Arc<Alert>| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let outbox = Outbox::new(&plan, metrics.clone(), on_accepted, None);
        for (order, told) in [(Order::Arrival, 2), (Order::Frame, 1)] {
            clock.0.store(100 * SECOND, Ordering::Relaxed);
            accepted.store(0, Ordering::Relaxed);
            let mut gate = Gate::new(&plan, &"gate".into(), &outbox, &metrics).joined(order);
            assert_eq!(gate.idle_wait(), None, "nothing is held back");
            for key in ["1", "2", "3"] {
                gate.raise(&draft("r", key), &frame("gate", 0, 5.0));
            }
            assert_eq!(gate.idle_wait().is_some(), order == Order::Arrival);
            clock.0.store(109 * SECOND, Ordering::Relaxed);
            gate.idle();
            assert_eq!(accepted.load(Ordering::Relaxed), 1, "not yet");
            if order == Order::Arrival {
                assert_eq!(gate.idle_wait(), Some(Duration::from_secs(1)));
                clock.0.store(110 * SECOND, Ordering::Relaxed);
                gate.idle();
            }
            assert_eq!(accepted.load(Ordering::Relaxed), told, "{order:?}");
            drop(gate);
            assert_eq!(accepted.load(Ordering::Relaxed), 2, "told at the end at the latest");
        }
    }
}
