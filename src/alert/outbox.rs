//! Accepted alerts until every handler has finished with each: the truth of a running process, in memory.
//!
//! Lanes hand alerts in and never wait for a disk or a handler; which handlers an alert goes to is decided here, at that
//! moment. Handlers come and go by name. With a journal behind it an alert is accepted, shown and delivered once its
//! entry is written (`writer`); without one, at once, on the thread that raised it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;

use super::attempts::Attempts;
use super::ledger::{Finished, Ledger, OUTBOX_BYTES_MAX, Offered};
use super::tally::Tally;
use super::{Entry, NoRoom, Pending, Settlement, Standing, Totals, Trouble};
use crate::config::AlertPlan;
use crate::telemetry::{AlertOutcome, Metrics, SourceMetrics};
use crate::types::{Alert, AlertId, SourceId};

/// Called with each alert once it is accepted: on the thread that raised it, or with a journal on the journal's. Must be
/// quick.
pub type OnAccepted = Arc<dyn Fn(&Arc<Alert>) + Send + Sync>;

/// What became of an alert that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is accepted, or will be once the journal has it.
    Taken,
    /// An alert with its id waits already.
    Duplicate,
    /// There is no room.
    Refused(NoRoom),
}

/// See the module.
pub struct Outbox {
    state: Mutex<State>,
    metrics: Arc<Metrics>,
    tally: Tally,
    on_accepted: OnAccepted,
    /// An alert was settled, or entries were written: for tasks, and for threads.
    changed: Notify,
    settled: Condvar,
    /// Wakes the journal's thread, where there is one.
    wake: Option<Sender<()>>,
    pub(super) journal: Attempts,
}

struct State {
    ledger: Ledger,
    handlers: BTreeMap<Arc<str>, Receiver>,
}

/// A handler as the outbox knows it.
#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) standing: Arc<Standing>,
    /// An alert waits for it.
    pub(super) appended: Arc<Notify>,
}

impl State {
    /// Brings what is said of each handler up to date, and wakes those with something to do.
    fn refresh(&self) {
        for (name, receiver) in &self.handlers {
            let pending = self.ledger.pending(name);
            receiver.standing.set_pending(pending);
            if pending > 0 {
                receiver.appended.notify_one();
            }
        }
    }
}

impl Outbox {
    /// An empty outbox. `wake` wakes the journal's thread; without it alerts are accepted at once.
    pub(super) fn new(
        plan: &AlertPlan,
        metrics: Arc<Metrics>,
        on_accepted: OnAccepted,
        wake: Option<Sender<()>>,
    ) -> Arc<Self> {
        let ledger = Ledger::new(plan.outbox_max, OUTBOX_BYTES_MAX, wake.is_some());
        Arc::new(Self {
            state: Mutex::new(State { ledger, handlers: BTreeMap::new() }),
            metrics,
            tally: Tally::default(),
            on_accepted,
            changed: Notify::new(),
            settled: Condvar::new(),
            wake,
            journal: Attempts::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Takes an alert for every handler there is. Waits for nothing.
    pub fn accept(&self, alert: Arc<Alert>, series: &SourceMetrics) -> Acceptance {
        let written = {
            let mut state = self.state();
            match state.ledger.offer(alert.clone(), Some(series.clone())) {
                Offered::Known => return Acceptance::Duplicate,
                Offered::Refused(room) => {
                    self.count_refused(&state, room);
                    return Acceptance::Refused(room);
                }
                Offered::Taken { missed, written, finished } => {
                    self.count_missed(&state, &alert, &missed);
                    if written {
                        // Counted before a handler can have it.
                        self.count(Some(series), &alert.rule, AlertOutcome::Accepted);
                        state.refresh();
                    }
                    if finished {
                        // Nobody to wait for: settled at once.
                        self.count(Some(series), &alert.rule, AlertOutcome::Delivered);
                    }
                    written
                }
            }
        };
        if written {
            (self.on_accepted)(&alert);
        } else {
            self.wake();
        }
        Acceptance::Taken
    }

    fn count_missed(&self, state: &State, alert: &Alert, missed: &[Arc<str>]) {
        for name in missed {
            self.metrics.undelivered(Settlement::QueueFull.as_str(), 1);
            state.handlers.get(name).inspect(|receiver| receiver.standing.miss());
            tracing::warn!(handler = %name, alert = %alert.id, "alert not queued: the handler's queue is full");
        }
    }

    fn count_refused(&self, state: &State, room: NoRoom) {
        let reason = match room {
            NoRoom::Queues { .. } => Settlement::QueueFull.as_str(),
            NoRoom::Journal { .. } => "journal_full",
        };
        self.metrics.undelivered(reason, state.ledger.receivers() as u64);
    }

    /// Counts an outcome, in all and for the alert's source.
    pub(super) fn count(&self, series: Option<&SourceMetrics>, rule: &str, outcome: AlertOutcome) {
        if let Some(series) = series {
            series.alert(rule, outcome);
        }
        self.tally.add(outcome);
    }

    fn finish(&self, finished: impl IntoIterator<Item = Finished>) {
        for Finished { alert, failed, series } in finished {
            let outcome = if failed { AlertOutcome::Failed } else { AlertOutcome::Delivered };
            self.count(series.as_ref(), &alert.rule, outcome);
        }
    }

    /// Adds a handler: it gets what is accepted from now on. `None` when there is one of that name.
    pub(super) fn add(&self, name: &str) -> Option<Receiver> {
        let mut state = self.state();
        let name: Arc<str> = name.into();
        if !state.ledger.add(&name) {
            return None;
        }
        let standing = Standing::new(&name, self.metrics.handler(&name));
        let receiver = Receiver { standing, appended: Arc::default() };
        state.handlers.insert(name, receiver.clone());
        // A former process may have left something for it.
        state.refresh();
        Some(receiver)
    }

    /// Nothing new goes to this handler from now on.
    pub(super) fn close(&self, handler: &str) {
        self.state().ledger.close(handler);
    }

    /// Waits until nothing is held for this handler, `limit` at most.
    pub(super) fn wait_settled(&self, handler: &str, limit: Duration) {
        // Late or not, what counts is what is left.
        let held = |state: &mut State| state.ledger.held(handler) > 0;
        self.settled.wait_while_for(&mut self.state(), held, limit);
    }

    /// Removes a handler; what it held is settled for it. Returns how many alerts it does not get.
    pub(super) fn remove(&self, handler: &str) -> usize {
        let mut state = self.state();
        let (held, finished) = state.ledger.remove(handler);
        state.handlers.remove(handler);
        self.metrics.undelivered(Settlement::HandlerRemoved.as_str(), held as u64);
        self.finish(finished);
        drop(state);
        self.wake();
        self.notify();
        held
    }

    /// Takes back what a former process left.
    pub(super) fn recover(&self, pending: Vec<Pending>) {
        let mut state = self.state();
        for pending in pending {
            let rule = pending.alert.rule.clone();
            if state.ledger.recover(pending) {
                self.count(None, &rule, AlertOutcome::Recovered);
            }
        }
        state.refresh();
    }

    /// What a former process left for handlers that are not there is settled.
    pub(super) fn settle_absent(&self) {
        let mut state = self.state();
        let (settled, finished) = state.ledger.settle_absent();
        for (handler, count) in &settled {
            self.metrics.undelivered(Settlement::HandlerRemoved.as_str(), *count as u64);
            tracing::warn!(%handler, alerts = count, "alerts of a former run are not delivered: there is no such handler");
        }
        self.finish(finished);
        drop(state);
        self.wake();
        self.notify();
    }

    /// Recovered alerts of `source` count in `series` from now on.
    pub(super) fn adopt(&self, source: &SourceId, series: &SourceMetrics) {
        for alert in self.state().ledger.adopt(source, series) {
            series.alert(&alert.rule, AlertOutcome::Recovered);
        }
    }

    /// Oldest alert that `handler` has not settled.
    pub(super) fn head(&self, handler: &str) -> Option<Arc<Alert>> {
        self.state().ledger.head(handler)
    }

    /// `handler` has finished with an alert; nothing happens when it had already.
    pub(super) fn settle(&self, handler: &str, id: &AlertId, how: Settlement) {
        let mut state = self.state();
        let Some(finished) = state.ledger.settle(handler, id, how) else { return };
        if how != Settlement::Delivered {
            self.metrics.undelivered(how.as_str(), 1);
        }
        let pending = state.ledger.pending(handler);
        state.handlers.get(handler).inspect(|receiver| receiver.standing.set_pending(pending));
        // Before the lock is released: whoever sees nothing pending sees it counted.
        self.finish(finished);
        drop(state);
        self.wake();
        self.notify();
    }

    fn notify(&self) {
        self.changed.notify_waiters();
        self.settled.notify_all();
    }

    /// The next entries to be written, `most` at most.
    pub(super) fn take_unwritten(&self, most: usize) -> Vec<Entry> {
        self.state().ledger.take_unwritten(most)
    }

    /// These entries are written: what they accept is counted, delivered and shown. Until that is done they count as
    /// unwritten, so that a drain waits for it.
    pub(super) fn written(&self, batch: &[Entry]) {
        let accepted = {
            let mut state = self.state();
            let written = state.ledger.written(batch);
            for (alert, series) in &written.accepted {
                self.count(series.as_ref(), &alert.rule, AlertOutcome::Accepted);
            }
            self.finish(written.finished);
            state.refresh();
            written.accepted
        };
        for (alert, _) in &accepted {
            // Whoever is shown it must not cost the journal its thread, or the others their turn.
            if catch_unwind(AssertUnwindSafe(|| (self.on_accepted)(alert))).is_err() {
                tracing::error!(alert = %alert.id, "whoever is shown accepted alerts panicked");
            }
        }
        self.state().ledger.batch_done();
        self.notify();
    }

    fn wake(&self) {
        if let Some(wake) = &self.wake {
            // Full: it is awake already.
            let _ = wake.try_send(());
        }
    }

    /// Waits until every alert is settled and every entry written.
    pub(super) async fn settled(&self) {
        loop {
            // Made before the question, so that what happens in between wakes it.
            let changed = self.changed.notified();
            if self.is_settled() {
                return;
            }
            changed.await;
        }
    }

    fn is_settled(&self) -> bool {
        let state = self.state();
        state.ledger.open_alerts() == 0 && state.ledger.unwritten() == 0
    }

    /// Takes over new limits. What waits beyond them stays.
    pub(super) fn set_plan(&self, plan: &AlertPlan) {
        self.state().ledger.alerts_max = plan.outbox_max;
    }

    /// How each handler stands, in the order in which they were added.
    pub fn standings(&self) -> Vec<Arc<Standing>> {
        let state = self.state();
        let standing = |name: &Arc<str>| state.handlers.get(name).map(|receiver| receiver.standing.clone());
        state.ledger.names().iter().filter_map(standing).collect()
    }

    /// How one handler stands.
    pub fn standing(&self, handler: &str) -> Option<Arc<Standing>> {
        self.state().handlers.get(handler).map(|receiver| receiver.standing.clone())
    }

    /// Alerts since the start.
    pub fn totals(&self) -> Totals {
        self.tally.read()
    }

    /// Alerts that at least one handler, or the journal, has not finished with.
    pub fn open(&self) -> usize {
        self.state().ledger.open_alerts()
    }

    /// Deliveries still owed, summed over the handlers; alerts that wait for the journal are among them.
    pub fn pending(&self) -> usize {
        self.state().ledger.held_in_all()
    }

    /// Entries that the journal does not have yet.
    pub fn unwritten(&self) -> usize {
        self.state().ledger.unwritten()
    }

    /// What keeps the journal from writing at `now_ns` on the monotonic clock.
    pub fn trouble(&self, now_ns: u64) -> Option<Trouble> {
        self.journal.trouble(now_ns)
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox")
            .field("open", &self.open())
            .field("unwritten", &self.unwritten())
            .finish_non_exhaustive()
    }
}
