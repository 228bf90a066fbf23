//! What the log says of accepted alerts: who gets them.

use super::{Ledger, Open};
use crate::alert::chain::Stage;
use crate::types::{Alert, AlertId};

impl Ledger {
    /// The handlers that want this alert, and those whose filter leaves it out, in the order in which they were added.
    pub(in crate::alert) fn routes(&self, alert: &Alert) -> Stage {
        let (mut handlers, mut left_out) = (Vec::new(), Vec::new());
        for name in self.names() {
            match self.queues.get(&name) {
                Some(queue) if queue.wants(alert) => handlers.push(name.to_string()),
                Some(queue) if !queue.closing => left_out.push(name.to_string()),
                _ => {}
            }
        }
        Stage::Accepted { handlers, left_out }
    }

    /// The alerts that this handler has not settled.
    pub(in crate::alert) fn unsettled(&self, handler: &str) -> Vec<AlertId> {
        let waits = |open: &&Open| open.handlers.iter().any(|name| **name == *handler);
        self.open.values().filter(waits).map(|open| open.alert.id.clone()).collect()
    }
}
