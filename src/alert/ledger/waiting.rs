//! A look at a handler's queue.

use std::sync::Arc;

use super::Ledger;
use crate::types::Alert;

impl Ledger {
    /// The first written alerts that `handler` has not settled, and whether it takes no more.
    pub(in crate::alert) fn waiting(&self, handler: &str, most: usize) -> (Vec<Arc<Alert>>, bool) {
        let Some(queue) = self.queues.get(handler) else { return (Vec::new(), true) };
        let mut waiting: Vec<_> = queue.lines.values().flatten().collect();
        waiting.sort_unstable();
        let alerts = waiting.into_iter().take(most).filter_map(|(_, id)| Some(self.open.get(id)?.alert.clone()));
        (alerts.collect(), queue.closing)
    }
}
