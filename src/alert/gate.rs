//! Between a lane and the outbox: applies the policy, then the limits of the site, and counts each outcome.

mod log;
mod pictured;
mod turns;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::chain::{Chain, Stage};
use super::decisions::Decisions;
use super::digest::{At, DigestAlert};
use super::pictures::Reserved;
use super::policy::{Refusal, prefix};
use super::seen::Seen;
use super::sequencer::Times;
use super::{Decision, Order, Outbox, Policy, SavedKind};
use crate::config::AlertPlan;
use crate::telemetry::{AlertOutcome, Metrics, SourceMetrics};
use crate::types::{Alert, Clock, Frame, Raised, Resolve, SourceId, Turns, Zone, one_line};

pub use log::Raiser;

/// Maximum rules whose low scores are logged.
const WARNED_MAX: usize = 64;
/// Shortest wait for a frame: a clock that stands still must not keep a lane busy.
const IDLE_MIN: Duration = Duration::from_millis(1);
/// Maximum entries that wait for the journal while conditions are saved: alerts come first.
const SAVE_BACKLOG_MAX: usize = 4_096;

/// One source's gate: turns its drafts into alerts. Dropping it sends what it holds back.
pub struct Gate {
    policy: Policy,
    enabled: bool,
    /// Its own limit per minute.
    per_minute: Option<u32>,
    /// Whether its conditions outlive it.
    remembers: bool,
    /// Whether it has not got those of its predecessor yet: it has had no frame.
    is_new: bool,
    outbox: Arc<Outbox>,
    clock: Arc<dyn Clock>,
    id: SourceId,
    source: SourceMetrics,
    /// Its zones.
    zones: Arc<[Zone]>,
    /// Its place among the site's sources; `None` if it takes no part in their order.
    token: Option<u64>,
    /// Whether its frame time goes on with the clock.
    is_live: bool,
    /// The times of the last frame.
    last: Times,
    /// The turns that were recorded with it.
    followed: Option<Arc<Turns>>,
    /// When its alerts were decided on, so far.
    decided: Vec<u64>,
    /// The same, once it is judged.
    noted: Option<Turns>,
    /// Rules whose low scores were logged.
    warned: BTreeSet<Box<str>>,
    /// Whether the last draft was sent, or is held back for a digest.
    is_told: bool,
    /// Which decisions it logs.
    decisions: Decisions,
    /// What the strategies did since the last entry.
    seen: Seen,
}

impl Gate {
    /// Creates a gate for `source`. Its recovered alerts count in its series from now on.
    pub fn new(plan: &AlertPlan, source: &SourceId, outbox: &Arc<Outbox>, metrics: &Metrics) -> Self {
        let series = metrics.source(source);
        outbox.adopt(source, &series);
        Self {
            policy: Policy::new(plan),
            enabled: plan.enabled,
            per_minute: plan.source_max_per_minute,
            remembers: false,
            is_new: true,
            outbox: outbox.clone(),
            clock: metrics.clock().clone(),
            id: source.clone(),
            source: series,
            zones: Arc::default(),
            token: None,
            is_live: false,
            last: Times::default(),
            followed: None,
            decided: Vec::new(),
            noted: None,
            warned: BTreeSet::new(),
            is_told: false,
            decisions: Decisions::default(),
            seen: Seen::default(),
        }
    }

    /// Takes part in the order of the site's sources, until it is dropped.
    #[must_use]
    pub fn joined(mut self, order: Order) -> Self {
        self.token = Some(self.outbox.join(&self.id, order, &self.source, self.clock.monotonic_ns()));
        self.is_live = order == Order::Arrival;
        self.outbox.limit(&self.id, self.per_minute);
        self
    }

    /// Remembers which alerts were sent, for the next gate of the same source, and over a restart if there is a journal.
    /// Not for a source that ends: a clip that is judged twice alerts twice.
    #[must_use]
    pub fn remembering(mut self) -> Self {
        self.remembers = true;
        if self.outbox.is_durable() {
            self.policy.remember();
            self.outbox.keep_window(self.clock.monotonic_ns(), self.clock.unix_ns());
        }
        self
    }

    /// Applies new settings and keeps the policy's memory. While alerts are disabled nothing is counted.
    pub fn set_plan(&mut self, plan: &AlertPlan) {
        self.enabled = plan.enabled;
        self.policy.set_plan(plan);
        if self.per_minute != plan.source_max_per_minute {
            self.per_minute = plan.source_max_per_minute;
            self.outbox.limit(&self.id, self.per_minute);
        }
    }

    /// Applies the source's zones.
    pub fn set_zones(&mut self, zones: &Arc<[Zone]>) {
        self.zones = Arc::clone(zones);
        self.policy.set_zones(zones);
    }

    /// Handles a draft that a strategy raised on `frame`. Returns the alert if the outbox took it at once: it is
    /// accepted then, or with a journal once it is journalled. Never blocks on a handler or a disk.
    pub fn raise(&mut self, raised: &Raised, frame: &Frame) -> Option<Arc<Alert>> {
        self.raise_by(None, raised, frame)
    }

    /// See [`Gate::raise`]; the log names who raised it.
    pub fn raise_by(&mut self, by: Option<Raiser<'_>>, raised: &Raised, frame: &Frame) -> Option<Arc<Alert>> {
        if !self.enabled {
            self.log_undecided(by, raised, frame, Stage::Disabled);
            return None;
        }
        self.begin(frame);
        self.count(&raised.rule, AlertOutcome::Raised);
        // Quiet hours begin no condition, so one that lasts becomes an alert when they end.
        if let Some(stage) = self.policy.quiet(raised, frame) {
            self.count(&raised.rule, AlertOutcome::Suppressed);
            self.log_undecided(by, raised, frame, stage);
            return None;
        }
        match self.policy.decide(raised, frame) {
            Decision::Accept(alert) => {
                // Before its picture and the limit: it takes no place of another one.
                if let Some(id) = self.outbox.silence_of(&alert, &self.zones) {
                    self.silenced(by, id, &alert, raised, frame);
                    return None;
                }
                let chain = self.chain(by, raised, frame);
                let (alert, picture) = self.pictured(alert, raised, frame);
                let sent = self.offer(alert, chain);
                picture.filter(|_| self.is_told).into_iter().for_each(Reserved::hand_over);
                sent
            }
            Decision::Suppressed { .. } => {
                self.outbox.seen_again(self.policy.suppressed(), frame.captured_unix_ns / 1_000_000);
                self.count(&raised.rule, AlertOutcome::Suppressed);
                self.log_held(by, raised, frame, "condition");
                None
            }
            Decision::Digested => {
                self.is_told = true;
                self.count(&raised.rule, AlertOutcome::Digested);
                self.picture_held(raised, frame);
                self.log_held(by, raised, frame, "burst");
                None
            }
            Decision::Refused(refusal) => {
                self.count(&raised.rule, AlertOutcome::Refused);
                self.warn(refusal, &raised.rule, &frame.source);
                self.log_held(by, raised, frame, "confidence");
                None
            }
        }
    }

    /// Handles a draft as [`Gate::raise`] does. Returns whether it is sent, as an alert or in a digest: not if it is
    /// suppressed or refused.
    pub fn tell(&mut self, raised: &Raised, frame: &Frame) -> bool {
        self.is_told = false;
        self.raise(raised, frame);
        self.is_told
    }

    /// Whether the next frame may be judged: a source that ends may wait for room in the queues of the handlers that
    /// get its alerts, so that none of these is given up for another one. A live source never waits.
    pub fn has_room(&self) -> bool {
        !self.may_wait() || self.outbox.has_room(&self.id)
    }

    fn may_wait(&self) -> bool {
        !self.is_live && self.token.is_some()
    }

    /// Notes the time of a frame, and sends the digests that are due.
    pub fn begin(&mut self, frame: &Frame) {
        let arrival_ns = self.clock.monotonic_ns();
        self.last = Times { arrival_ns, pts_ns: frame.pts_ns, unix_ns: frame.captured_unix_ns, recorded: None };
        self.restore();
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
            let is_live = self.outbox.judged(&frame.source, token, self.judged_times());
            self.note_judged(is_live);
        }
        self.save(false);
    }

    /// Restores, with the first frame, what its predecessor left or earlier processes saved.
    fn restore(&mut self) {
        if !std::mem::take(&mut self.is_new) || !self.remembers {
            return;
        }
        let saved = self.outbox.take_saved(SavedKind::Condition, &prefix(&self.id));
        for name in self.policy.restore(&self.id, saved, self.at()) {
            self.outbox.save(SavedKind::Condition, &name, None);
        }
    }

    /// Saves conditions that changed, for a later process.
    fn save(&mut self, all: bool) {
        if !self.policy.has_changes() || !all && self.outbox.unwritten() > SAVE_BACKLOG_MAX {
            return;
        }
        for (name, contents) in self.policy.take_changes(&self.id, self.at(), all) {
            self.outbox.save(SavedKind::Condition, &name, contents);
        }
    }

    /// Leaves its conditions for the next gate of the source: it is built anew, or disabled and enabled again.
    fn leave_conditions(&self) {
        if self.remembers && !self.is_new {
            self.outbox.leave_saved(SavedKind::Condition, self.policy.hand_over(&self.id, self.at()));
        }
    }

    fn at(&self) -> At {
        At { pts_ns: self.last.pts_ns, unix_ns: self.last.unix_ns }
    }

    /// Sends a digest, which counts as raised itself.
    fn send(&mut self, digest: DigestAlert) {
        let digest = self.outbox.pictures.digest(digest);
        self.count(&digest.rule, AlertOutcome::Raised);
        let chain = Chain::of_digest(&digest);
        self.offer(digest, chain);
    }

    /// Ends a condition, as a strategy said on `frame`, or without a key every condition of the rule: the next draft
    /// becomes an alert, and the cases of the former ones are resolved.
    pub fn resolve(&mut self, resolved: &Resolve, frame: &Frame) {
        if !self.enabled {
            return;
        }
        let (rule, key) = (&resolved.rule, resolved.key.as_deref());
        self.policy.end(&frame.source, rule, key);
        self.outbox.resolve_cases(&frame.source, rule, key, frame.captured_unix_ns / 1_000_000);
    }

    fn offer(&mut self, alert: Arc<Alert>, chain: Chain) -> Option<Arc<Alert>> {
        self.outbox.expect(&alert);
        if self.may_wait() {
            self.outbox.note_sender(&alert);
        }
        let times = Times { arrival_ns: self.clock.monotonic_ns(), recorded: self.recorded(), ..self.last };
        let (is_taken, decided_ns) = self.outbox.offer(self.token, &alert, chain, times, &self.source);
        self.note_decided(&alert, decided_ns);
        let unsent = self.outbox.take_unsent(&self.id);
        self.is_told = is_taken || !unsent.iter().any(|unsent| Arc::ptr_eq(unsent, &alert));
        if !is_taken && alert.digest.is_none() {
            self.policy.held_back(&alert);
        }
        for unsent in unsent {
            self.policy.unsent(&unsent);
            self.outbox.unexpected(&unsent.id);
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
            self.log_rest();
            self.save(true);
            self.leave_conditions();
        }
        if self.may_wait() {
            self.outbox.forget_sender(&self.id);
        }
        if let Some(token) = self.token {
            self.outbox.leave(&self.id, token, self.clock.monotonic_ns());
        }
    }
}

#[cfg(test)]
mod tests;
