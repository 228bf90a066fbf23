//! The alerts of all sources on their way from the gates to the outbox: the sequencer behind a lock.
//!
//! The lock is held until the outbox has what the sequencer released, so that alerts are accepted in that order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::chain::{Chain, Stage};
use super::decisions::Decisions;
use super::sequencer::{Order, Ruling, Sequencer, Times};
use super::silence::Silences;
use super::window::Window;
use super::{Acceptance, Outbox};
use crate::config::AlertPlan;
use crate::telemetry::{AlertOutcome, SourceMetrics};
use crate::types::{Alert, AlertId, Clock, Level, SourceId, one_line};

/// Maximum alerts that were not accepted and whose gates do not know it yet.
const UNSENT_MAX: usize = 256;

/// See the module.
pub(super) struct Site {
    state: Mutex<State>,
    /// Unix time less the monotonic clock's, at the start.
    epoch_ns: u64,
}

struct State {
    sequencer: Sequencer,
    silences: Silences,
    /// The series of each source.
    series: BTreeMap<SourceId, SourceMetrics>,
    /// The sources that wait for room in the handlers' queues, also once they have ended.
    patient: BTreeSet<SourceId>,
    /// Alerts that the outbox did not accept, for the gates that raised them.
    unsent: Vec<Arc<Alert>>,
    /// The decisions on the alerts that the sequencer has, so far.
    chains: BTreeMap<AlertId, Chain>,
    /// What a later process must know of the last minute.
    window: Window,
    /// Which refusals are logged: what lasts is refused on every frame.
    refusals: Decisions,
}

impl Site {
    pub(super) fn new(plan: &AlertPlan, clock: &dyn Clock) -> Self {
        let sequencer = Sequencer::new(plan);
        let epoch_ns = clock.unix_ns().saturating_sub(clock.monotonic_ns());
        let state = Mutex::new(State {
            sequencer,
            silences: Silences::default(),
            series: BTreeMap::new(),
            patient: BTreeSet::new(),
            unsent: Vec::new(),
            chains: BTreeMap::new(),
            window: Window::default(),
            refusals: Decisions::default(),
        });
        Self { state, epoch_ns }
    }

    pub(super) fn set_plan(&self, plan: &AlertPlan) {
        self.state.lock().sequencer.set_plan(plan);
    }

    /// Reads or changes the silences.
    pub(super) fn with_silences<T>(&self, change: impl FnOnce(&mut Silences) -> T) -> T {
        change(&mut self.state.lock().silences)
    }

    /// A time of the monotonic clock, as recordings have it: whatever happens to the wall clock.
    pub(super) fn unix_ns(&self, monotonic_ns: u64) -> u64 {
        self.epoch_ns.saturating_add(monotonic_ns)
    }

    pub(super) fn with(&self, change: impl FnOnce(&mut Sequencer, &mut Window)) {
        let mut state = self.state.lock();
        let State { sequencer, window, .. } = &mut *state;
        change(sequencer, window);
    }
}

impl Outbox {
    /// Adds a source, with its series. Returns its token.
    pub(super) fn join(&self, source: &SourceId, order: Order, series: &SourceMetrics, now_ns: u64) -> u64 {
        let mut state = self.site().state.lock();
        state.series.insert(source.clone(), series.clone());
        state.set_order(source, order);
        let mut rulings = Vec::new();
        let token = state.sequencer.join(source, order, now_ns, &mut rulings);
        state.apply(self, rulings);
        token
    }

    /// Sets the limit of a source's own; `None` is none.
    pub fn limit(&self, source: &SourceId, per_minute: Option<u32>) {
        self.site().state.lock().sequencer.set_own_limit(source, per_minute);
    }

    /// Removes a source.
    pub(super) fn leave(&self, source: &SourceId, token: u64, now_ns: u64) {
        let mut state = self.site().state.lock();
        let mut rulings = Vec::new();
        state.sequencer.leave(source, token, now_ns, &mut rulings);
        state.apply(self, rulings);
        // The one that left may have been built by a change that failed, and the other one goes on.
        if let Some(order) = state.sequencer.order(source) {
            state.set_order(source, order);
        }
        let State { sequencer, series, patient, unsent, .. } = &mut *state;
        series.retain(|source, _| sequencer.knows(source));
        patient.retain(|source| sequencer.knows(source));
        unsent.retain(|alert| series.contains_key(&alert.source));
        if state.series.is_empty() {
            self.lose_decisions(state.refusals.take_rest());
        }
    }

    /// Decides on an alert and submits it if it is sent, now or when its turn comes. Returns whether it was taken now,
    /// and when it came, as a recording has it. `chain` is the decision on it so far.
    pub(super) fn offer(
        &self,
        token: Option<u64>,
        alert: &Arc<Alert>,
        chain: Chain,
        times: Times,
        series: &SourceMetrics,
    ) -> (bool, u64) {
        let mut state = self.site().state.lock();
        if token.is_none() {
            state.series.insert(alert.source.clone(), series.clone());
        }
        state.chains.insert(alert.id.clone(), chain);
        let turn_ns = state.sequencer.turn(times.arrival_ns);
        let mut rulings = Vec::new();
        state.sequencer.offer(token, alert.clone(), times, &mut rulings);
        let is_taken = state.apply(self, rulings).iter().any(|taken| Arc::ptr_eq(taken, alert));
        (is_taken, self.site().unix_ns(turn_ns))
    }

    /// Notes that a source has judged a frame. Returns whether alerts are decided on in order of arrival.
    pub(super) fn judged(&self, source: &SourceId, token: u64, times: Times) -> bool {
        let mut state = self.site().state.lock();
        let mut rulings = Vec::new();
        state.sequencer.judged(source, token, times, &mut rulings);
        state.apply(self, rulings);
        state.sequencer.is_live()
    }

    /// Lets time pass.
    pub(super) fn tick(&self, now_ns: u64) {
        let mut state = self.site().state.lock();
        let mut rulings = Vec::new();
        state.sequencer.tick(now_ns, &mut rulings);
        state.apply(self, rulings);
    }

    /// Submits everything that waits or is held back: no more frames come.
    pub(super) fn send_held(&self) {
        let mut state = self.site().state.lock();
        let mut rulings = Vec::new();
        state.sequencer.finish(&mut rulings);
        state.apply(self, rulings);
    }

    /// The alerts of a source that were not accepted since the last call.
    pub(super) fn take_unsent(&self, source: &SourceId) -> Vec<Arc<Alert>> {
        let mut state = self.site().state.lock();
        state.unsent.extract_if(.., |alert| alert.source == *source).collect()
    }
}

impl State {
    /// Whether a source waits for room, by its order.
    fn set_order(&mut self, source: &SourceId, order: Order) {
        if order == Order::Arrival {
            self.patient.remove(source);
        } else {
            self.patient.insert(source.clone());
        }
    }

    /// Counts, logs and submits what the sequencer released. Returns the alerts that the outbox took.
    fn apply(&mut self, outbox: &Outbox, rulings: Vec<Ruling>) -> Vec<Arc<Alert>> {
        let mut taken = Vec::new();
        let mut rates = self.sequencer.take_rates().into_iter();
        for ruling in rulings {
            match ruling {
                Ruling::Send(alert) => {
                    let chain = self.chain(&alert, rates.next().flatten());
                    taken.extend(self.submit(outbox, alert, chain));
                }
                Ruling::Digest(made) => {
                    let alert = outbox.pictures.digest(made);
                    self.count(outbox, &alert, AlertOutcome::Raised);
                    let chain = Chain::of_digest(&alert);
                    taken.extend(self.submit(outbox, alert, chain));
                }
                Ruling::Digested(alert, unneeded) => {
                    self.held(outbox, &alert, unneeded);
                    let chain = self.chain(&alert, rates.next().flatten());
                    log(outbox, &alert, chain, None);
                }
                Ruling::Refused(alert) => {
                    self.count(outbox, &alert, AlertOutcome::Refused);
                    let (source, rule) = (&alert.source, one_line(&alert.rule));
                    tracing::warn!(%source, %rule, "alert not accepted: too many digests wait");
                    let chain = self.chain(&alert, rates.next().flatten());
                    self.log_refused(outbox, &alert, chain, Stage::DigestsFull);
                    self.not_sent(outbox, alert);
                }
            }
        }
        taken
    }

    /// The decision on an alert, with the use of the limit on all sources.
    fn chain(&mut self, alert: &Alert, rate: Option<Stage>) -> Chain {
        let mut chain = self.chains.remove(&alert.id).unwrap_or_else(|| Chain::of_digest(alert));
        chain.stages.extend(rate);
        chain
    }

    fn count(&self, outbox: &Outbox, alert: &Alert, outcome: AlertOutcome) {
        outbox.count(self.series.get(&alert.source), &alert.rule, outcome);
    }

    /// Submits an alert; returns it if the outbox took it.
    fn submit(&mut self, outbox: &Outbox, alert: Arc<Alert>, chain: Chain) -> Option<Arc<Alert>> {
        // Before a handler that is removed meanwhile is gone.
        let routes = outbox.routes(&alert);
        let waits = self.patient.contains(&alert.source);
        match outbox.accept(alert.clone(), self.series.get(&alert.source), waits) {
            Acceptance::Taken => {
                log(outbox, &alert, chain, Some(routes));
                let takes_place = alert.level != Level::Critical && self.sequencer.is_limited();
                if takes_place && let Some(contents) = self.window.note(&alert.source, outbox.metrics.clock().unix_ns())
                {
                    outbox.save_window(contents);
                }
                return Some(alert);
            }
            Acceptance::Duplicate => {
                outbox.unexpected(&alert.id);
                log(outbox, &alert, chain, Some(Stage::Duplicate));
                self.take_back(&alert);
                self.count(outbox, &alert, AlertOutcome::Suppressed);
            }
            Acceptance::Refused(room) => {
                let (source, rule) = (&alert.source, one_line(&alert.rule));
                tracing::warn!(%source, %rule, "alert not accepted: {room}");
                self.log_refused(outbox, &alert, chain, Stage::QueueFull { why: room.to_string() });
                self.take_back(&alert);
                let again = alert.digest.is_some().then(|| self.sequencer.hold_again(&alert));
                if let Some(Ruling::Digested(_, unneeded)) = again {
                    self.held(outbox, &alert, unneeded);
                } else {
                    self.count(outbox, &alert, AlertOutcome::Refused);
                    self.not_sent(outbox, alert);
                }
            }
        }
        None
    }

    /// Notes that an alert is held back for a digest, which does not need the picture of this one.
    fn held(&self, outbox: &Outbox, alert: &Alert, unneeded: Option<AlertId>) {
        outbox.unexpected(&alert.id);
        self.count(outbox, alert, AlertOutcome::Digested);
        unneeded.iter().for_each(|unneeded| outbox.pictures.release(unneeded));
    }

    /// Logs that an alert is not accepted. What lasts is raised again on the next frame.
    fn log_refused(&mut self, outbox: &Outbox, alert: &Alert, chain: Chain, stage: Stage) {
        let texts = [alert.source.as_str(), stage.as_str(), &alert.rule, &alert.key];
        if let Some(more) = self.refusals.admit(&texts, alert.id.unix_ns()) {
            log(outbox, alert, Chain { more, ..chain }, Some(stage));
        }
        outbox.lose_decisions(self.refusals.take_lost());
    }

    /// Gives back the place that an alert took; a critical one took none.
    fn take_back(&mut self, alert: &Alert) {
        if alert.level != Level::Critical {
            self.sequencer.take_back(&alert.source);
        }
    }

    /// Keeps an alert for its gate, without its picture.
    fn not_sent(&mut self, outbox: &Outbox, alert: Arc<Alert>) {
        if alert.picture {
            outbox.pictures.release(&alert.id);
        }
        if self.unsent.len() >= UNSENT_MAX {
            self.unsent.remove(0);
        }
        self.unsent.push(alert);
    }
}

/// Logs the decision on an alert, with its last stage.
fn log(outbox: &Outbox, alert: &Alert, mut chain: Chain, last: Option<Stage>) {
    chain.stages.extend(last);
    outbox.log_decision(&alert.source, &alert.rule, alert.id.unix_ns() / 1_000_000, alert.id.clone(), &chain);
}
