//! Holds accepted alerts in memory until every handler is done with them.
//!
//! Lanes submit alerts and never block on a disk or a handler; an alert's handlers, those whose filter it passes, are
//! fixed at that moment; an alert that none wants is delivered to none. Handlers
//! can be added and removed by name. With a journal, an alert is accepted, published and delivered once its entry is
//! written (`writer`); without one, at once, on the thread that raised it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;

use super::attempts::Medium;
use super::cases::Cases;
use super::courier::Head;
use super::ledger::{Ledger, OUTBOX_BYTES_MAX};
use super::offer::{NoRoom, Offered};
use super::recent::Recent;
use super::saved::SavedValues;
use super::site::Site;
use super::tally::Tally;
use super::{Pending, Pictures, Settlement, Standing, Totals, Trouble};
use crate::config::{AlertFilter, AlertPlan};
use crate::telemetry::{AlertOutcome, Metrics, SourceMetrics};
use crate::types::{Alert, AlertId, SourceId};

/// Called with each accepted alert: on the thread that raised it, or with a journal on the journal's thread. It must
/// return quickly.
pub type OnAccepted = Arc<dyn Fn(&Arc<Alert>) + Send + Sync>;

/// The result of submitting an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is accepted, or will be once it is journalled.
    Taken,
    /// An alert with the same id is still open.
    Duplicate,
    /// A queue is full.
    Refused(NoRoom),
}

/// The accepted alerts and their handlers.
pub struct Outbox {
    state: Mutex<State>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tally: Tally,
    site: Site,
    on_accepted: OnAccepted,
    /// Signals that an alert was settled or entries were written: to tasks, and to threads.
    pub(super) changed: Notify,
    settled: Condvar,
    /// Wakes the journal's thread, if there is one.
    wake: Option<Sender<()>>,
    pub(super) journal: Medium,
    pub(super) pictures: Pictures,
    /// Whether no more alerts come.
    pub(super) ending: AtomicBool,
    /// Values that an earlier process saved, for those that they belong to.
    pub(super) saved: Mutex<SavedValues>,
    pub(super) cases: Cases,
    pub(super) recent: Recent,
}

pub(super) struct State {
    pub(super) ledger: Ledger,
    pub(super) handlers: BTreeMap<Arc<str>, Arc<Standing>>,
}

impl State {
    /// Updates each handler's pending count, and wakes those with queued alerts.
    pub(super) fn refresh(&self) {
        for (name, standing) in &self.handlers {
            let pending = self.ledger.pending(name);
            standing.set_pending(pending);
            if pending > 0 {
                standing.appended.notify_one();
            }
        }
    }
}

impl Outbox {
    /// Creates an empty outbox. `wake` wakes the journal's thread; without it alerts are accepted at once.
    pub(super) fn new(
        plan: &AlertPlan,
        metrics: Arc<Metrics>,
        on_accepted: OnAccepted,
        wake: Option<Sender<()>>,
    ) -> Arc<Self> {
        let mut ledger = Ledger::new(plan.outbox_max, OUTBOX_BYTES_MAX, wake.is_some());
        ledger.when_full = plan.when_full;
        Arc::new(Self {
            state: Mutex::new(State { ledger, handlers: BTreeMap::new() }),
            site: Site::new(plan, &**metrics.clock()),
            metrics,
            tally: Tally::default(),
            on_accepted,
            changed: Notify::new(),
            settled: Condvar::new(),
            wake,
            journal: Medium::default(),
            pictures: Pictures::default(),
            ending: AtomicBool::new(false),
            saved: Mutex::default(),
            cases: Cases::default(),
            recent: Recent::default(),
        })
    }

    /// The alerts on their way here.
    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Accepts an alert for every handler that wants it and has room. Never blocks; `waits` if its source waits for room.
    pub(super) fn accept(&self, alert: Arc<Alert>, series: Option<&SourceMetrics>, waits: bool) -> Acceptance {
        let written = {
            let mut state = self.state();
            match state.ledger.offer(alert.clone(), series.cloned(), waits, self.metrics.clock().unix_ns()) {
                Offered::Known => return Acceptance::Duplicate,
                Offered::Refused(room, given_up) => {
                    self.count_refused(&state, &alert, room, given_up);
                    drop(state);
                    self.wake();
                    self.notify();
                    return Acceptance::Refused(room);
                }
                Offered::Taken { missed, given_up, written, finished } => {
                    self.count_missed(&state, &alert, &missed);
                    self.count_given_up(&state, given_up);
                    if written {
                        // Counted before a handler can get it.
                        self.count(series, &alert.rule, AlertOutcome::Accepted);
                        state.refresh();
                    }
                    if finished {
                        // No handler wants it: settled at once.
                        self.count(series, &alert.rule, AlertOutcome::Delivered);
                    }
                    written
                }
            }
        };
        if written {
            self.publish(&alert);
        } else {
            self.wake();
        }
        Acceptance::Taken
    }

    /// Opens the case of an accepted alert, and shows it. A panic in the callback must not end this thread or keep other
    /// alerts from being shown.
    pub(super) fn publish(&self, alert: &Arc<Alert>) {
        let resolved = self.open_case(alert);
        if catch_unwind(AssertUnwindSafe(|| (self.on_accepted)(alert))).is_err() {
            tracing::error!(alert = %alert.id, "whoever is shown accepted alerts panicked");
        }
        self.case_changed(resolved);
    }

    /// Adds a handler: it gets the alerts accepted from now on that pass `filter`. `None` if the name exists already.
    pub(super) fn add(&self, name: &str, filter: &AlertFilter) -> Option<Arc<Standing>> {
        let mut state = self.state();
        let name: Arc<str> = name.into();
        if !state.ledger.add(&name) {
            return None;
        }
        state.ledger.set_filter(&name, filter.clone());
        let standing = Standing::new(&name, self.metrics.handler(&name));
        state.handlers.insert(name, standing.clone());
        // There may be recovered alerts for it.
        state.refresh();
        Some(standing)
    }

    /// Sets which alerts a handler gets from now on; its queued ones stay.
    pub(super) fn set_filter(&self, handler: &str, filter: &AlertFilter) {
        self.state().ledger.set_filter(handler, filter.clone());
    }

    /// Stops queueing new alerts for this handler.
    pub(super) fn close(&self, handler: &str) {
        self.state().ledger.close(handler);
    }

    /// Waits until this handler has no alerts left, at most `limit`.
    pub(super) fn wait_settled(&self, handler: &str, limit: Duration) {
        // The remaining number counts, whether it timed out or not.
        let held = |state: &mut State| state.ledger.held(handler) > 0;
        self.settled.wait_while_for(&mut self.state(), held, limit);
    }

    /// Removes a handler and settles its alerts. Returns how many it did not receive.
    pub(super) fn remove(&self, handler: &str) -> usize {
        let mut state = self.state();
        let (held, finished) = self.remove_queue(&mut state, handler);
        state.handlers.remove(handler);
        self.metrics.undelivered(Settlement::HandlerRemoved.as_str(), held as u64);
        self.finish(finished);
        drop(state);
        self.wake();
        self.notify();
        held
    }

    /// Reopens the alerts that an earlier process left.
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

    /// Counts recovered alerts of `source` in `series` from now on.
    pub(super) fn adopt(&self, source: &SourceId, series: &SourceMetrics) {
        for alert in self.state().ledger.adopt(source, series) {
            series.alert(&alert.rule, AlertOutcome::Recovered);
        }
    }

    /// The oldest alert of each line that `handler` has not settled.
    #[cfg(test)]
    pub(super) fn heads(&self, handler: &str) -> Vec<Head> {
        self.state().ledger.heads(handler)
    }

    /// The alert that `handler` tries from now on.
    pub(super) fn begin(&self, handler: &str, head: &Head) -> Option<Arc<Alert>> {
        self.state().ledger.begin(handler, head)
    }

    /// `handler` tries no alert for now.
    pub(super) fn rest(&self, handler: &str) {
        self.state().ledger.rest(handler);
    }

    /// Whether a source that waits for room may go on.
    pub(super) fn has_room(&self, source: &SourceId) -> bool {
        self.state().ledger.has_room(source)
    }

    /// Notes for which handlers the alert of a source that waits for room is.
    pub(super) fn note_sender(&self, alert: &Alert) {
        self.state().ledger.note_sender(alert);
    }

    /// Forgets a source that waits for room no more.
    pub(super) fn forget_sender(&self, source: &SourceId) {
        self.state().ledger.forget_sender(source);
    }

    /// Has the handlers look at their queues.
    pub(super) fn nudge(&self) {
        self.state().refresh();
    }

    /// Settles an alert for `handler`; without effect if it already has.
    pub(super) fn settle(&self, handler: &str, id: &AlertId, how: Settlement) {
        let mut state = self.state();
        let Some(finished) = state.ledger.settle(handler, id, how) else { return };
        if how != Settlement::Delivered {
            self.metrics.undelivered(how.as_str(), 1);
        }
        let pending = state.ledger.pending(handler);
        state.handlers.get(handler).inspect(|standing| standing.set_pending(pending));
        // Before the lock is released: a reader that sees nothing pending must see it counted.
        self.finish(finished);
        self.note_settled(id, handler, how);
        drop(state);
        self.wake();
        self.notify();
    }

    pub(super) fn notify(&self) {
        self.changed.notify_waiters();
        self.settled.notify_all();
    }

    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // If full, the thread is awake already.
            let _ = wake.try_send(());
        }
    }

    /// Applies new limits. Queued alerts beyond them stay.
    pub(super) fn set_plan(&self, plan: &AlertPlan) {
        let mut state = self.state();
        (state.ledger.alerts_max, state.ledger.when_full) = (plan.outbox_max, plan.when_full);
        drop(state);
        self.site.set_plan(plan);
    }

    /// The state of each handler, in the order in which they were added.
    pub fn standings(&self) -> Vec<Arc<Standing>> {
        let state = self.state();
        state.ledger.names().iter().filter_map(|name| state.handlers.get(name).cloned()).collect()
    }

    /// The state of one handler.
    pub fn standing(&self, handler: &str) -> Option<Arc<Standing>> {
        self.state().handlers.get(handler).cloned()
    }

    /// Alert counts since the start.
    pub fn totals(&self) -> Totals {
        self.tally.read()
    }

    /// The alerts given up since the start that are not sent again, and those that each removed handler left.
    pub fn left(&self) -> (u64, BTreeMap<String, u64>) {
        let state = self.state();
        (state.ledger.left.given_up(), state.ledger.left.removed())
    }

    /// Alerts that at least one handler is not done with, or that are not journalled.
    pub fn open(&self) -> usize {
        self.state().ledger.open_alerts()
    }

    /// Outstanding deliveries, summed over the handlers, including alerts not journalled yet.
    pub fn pending(&self) -> usize {
        self.state().ledger.held_in_all()
    }

    /// Entries not journalled yet.
    pub fn unwritten(&self) -> usize {
        self.state().ledger.unwritten()
    }

    /// Why the journal does not work, at `now_ns` on the monotonic clock.
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
