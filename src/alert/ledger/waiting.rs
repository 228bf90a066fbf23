//! A look at a handler's queue.

use std::sync::Arc;

use super::{Ledger, Open};
use crate::alert::courier::Head;
use crate::types::Alert;

impl Open {
    /// From when on it is of no use any more, in Unix nanoseconds; `None` if its rule does not say.
    pub(in crate::alert) fn until_ns(&self) -> Option<u64> {
        let seconds = u64::from(self.alert.expires_seconds?);
        Some(self.accepted_ns.saturating_add(seconds.saturating_mul(1_000_000_000)))
    }
}

impl Ledger {
    /// An alert that `handler` has not settled and that is of no use any more at `unix_ns`, wherever it is in its line.
    pub(in crate::alert) fn outdated(&self, handler: &str, unix_ns: u64) -> Option<Head> {
        let queue = self.queues.get(handler)?;
        let (until_ns, number) = queue.expiring.first()?;
        let open = self.open.get(queue.held.get(number)?).filter(|_| unix_ns >= *until_ns)?;
        Some(Head { line: open.line(), number: *number, id: open.alert.id.clone(), accepted_ns: open.accepted_ns })
    }

    /// From when on, in Unix nanoseconds, no alert of `handler` waits for later ones: the first one that is to be of no
    /// use any more is of use for half of its time still.
    pub(in crate::alert) fn urgent_ns(&self, handler: &str) -> Option<u64> {
        let queue = self.queues.get(handler)?;
        let (until_ns, number) = queue.expiring.first()?;
        let open = self.open.get(queue.held.get(number)?)?;
        Some(until_ns - until_ns.saturating_sub(open.accepted_ns) / 2)
    }

    /// The first written alerts that `handler` has not settled, and whether it takes no more.
    pub(in crate::alert) fn waiting(&self, handler: &str, most: usize) -> (Vec<Arc<Alert>>, bool) {
        let Some(queue) = self.queues.get(handler) else { return (Vec::new(), true) };
        let mut waiting: Vec<_> = queue.lines.values().flatten().collect();
        waiting.sort_unstable();
        let alerts = waiting.into_iter().take(most).filter_map(|(_, id)| Some(self.open.get(id)?.alert.clone()));
        (alerts.collect(), queue.closing)
    }
}
