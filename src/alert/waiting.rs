//! Alerts that wait: for their handler, for as long as they are of use; for later ones, to be delivered together.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time;

use super::courier::{Courier, Now, Retries, Step};
use super::deliverer::Deliverer;
use super::{Commands, Outbox};
use crate::types::{Alert, Level};

/// Most alerts that are looked at behind the next one.
const WAITING_MAX: usize = 1_000;

impl Outbox {
    /// What a handler does next: what is of no use any more comes first.
    pub(super) fn next_step(&self, handler: &str, courier: &mut Courier, now: Now, retries: &Retries) -> Step {
        let (outdated, heads) = {
            let state = self.state();
            (state.ledger.outdated(handler, now.unix_ns), state.ledger.heads(handler))
        };
        outdated.map_or_else(|| courier.next(&heads, now, retries), Step::Expire)
    }

    /// The first alerts that a handler has not settled, and whether it gets no more.
    fn waiting(&self, handler: &str, most: usize) -> (Vec<Arc<Alert>>, bool) {
        let (alerts, is_closing) = self.state().ledger.waiting(handler, most);
        (alerts, is_closing || self.ending.load(Ordering::Acquire))
    }

    /// From when on no alert of a handler waits for later ones; `None` if all are of use for as long as it takes.
    fn urgent_ns(&self, handler: &str) -> Option<u64> {
        self.state().ledger.urgent_ns(handler)
    }

    /// No more alerts come: none waits for later ones from now on.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.nudge();
    }
}

impl Commands {
    /// The handler's next alerts, in the order in which they are delivered, at most `most` and a thousand: the
    /// one in delivery is among them.
    pub fn waiting(&self, most: usize) -> Vec<Arc<Alert>> {
        let outbox = self.outbox.upgrade();
        outbox.map(|outbox| outbox.waiting(self.handler(), most.min(WAITING_MAX)).0).unwrap_or_default()
    }
}

impl Deliverer {
    /// Lets the next alert wait for later ones, until something changes. `false` if it is to be delivered now: none
    /// waits until it is of no use any more.
    pub(super) async fn collect(&self, next: &Alert) -> bool {
        // Created before the version is read: it completes for any replacement from here on.
        let renewed = pin!(self.slot.replaced());
        let Some(rest) = self.slot.handler().collects(next) else { return false };
        let (waiting, ends) = self.outbox.waiting(&self.name, WAITING_MAX);
        if ends || waiting.iter().any(|alert| alert.level == Level::Critical) {
            return false;
        }
        let urgent_ns = self.outbox.urgent_ns(&self.name).unwrap_or(u64::MAX);
        let rest = rest.min(Duration::from_nanos(urgent_ns.saturating_sub(self.clock.unix_ns())));
        if rest.is_zero() {
            return false;
        }
        tokio::select! {
            () = time::sleep(rest) => {}
            () = self.standing.appended.notified() => {}
            () = renewed => {}
        }
        true
    }
}
