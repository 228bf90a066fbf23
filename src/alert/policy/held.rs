//! The alert that a burst's limit held back last, where it is the best so far of those that its digest stands for.

use std::sync::Arc;

use super::Policy;
use crate::alert::digest::Added;
use crate::types::{Alert, AlertId};

/// See the module.
#[derive(Debug)]
pub(in crate::alert) struct NewBest {
    pub(in crate::alert) alert: Arc<Alert>,
    /// The former best one, if it has a picture.
    pub(in crate::alert) former: Option<AlertId>,
}

impl NewBest {
    pub(super) fn of(alert: Alert, added: Added) -> Option<Self> {
        let Added { is_best, unneeded } = added;
        is_best.then(|| Self { alert: Arc::new(alert), former: unneeded })
    }
}

impl Policy {
    /// The alert that was held back last, if it is the best so far. Once.
    pub(in crate::alert) fn take_new_best(&mut self) -> Option<NewBest> {
        self.new_best.take()
    }

    /// Notes that this alert, which was held back last and is the best so far, has a picture.
    pub(in crate::alert) fn pictured(&mut self, alert: &Alert) {
        self.write_key(&alert.source, &alert.rule, "");
        self.bursts.pictured(&self.scratch, alert);
    }
}
