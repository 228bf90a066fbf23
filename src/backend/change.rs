//! Passes a changed plan to a running source's thread.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::config::SourcePlan;

/// Holds the newest plan until the source's thread takes it between two frames.
#[derive(Debug, Default)]
pub struct Change {
    waiting: AtomicBool,
    plan: Mutex<Option<SourcePlan>>,
}

impl Change {
    /// Replaces a plan that was not taken yet.
    pub fn put(&self, plan: &SourcePlan) {
        *self.plan.lock() = Some(plan.clone());
        self.waiting.store(true, Ordering::Release);
    }

    /// Takes the pending plan, if any. Without one this is a single atomic load.
    pub fn take(&self) -> Option<SourcePlan> {
        if !self.waiting.load(Ordering::Acquire) {
            return None;
        }
        self.waiting.store(false, Ordering::Release);
        self.plan.lock().take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::tests::plan;

    #[test]
    fn only_the_newest_plan_is_taken_and_only_once() {
        let change = Change::default();
        assert_eq!(change.take(), None);
        let (slow, faster) = (plan("cam"), SourcePlan { fps: Some(9.0), ..plan("cam") });
        change.put(&slow);
        change.put(&faster);
        assert_eq!(change.take(), Some(faster));
        assert_eq!(change.take(), None);
    }
}
