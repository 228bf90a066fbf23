//! A journal on a disk that fails.

use super::super::{Entry, Pending, Settlement};
use super::planted::Planted;
use crate::types::AlertId;

/// What survives a crash, and what was written in all.
#[derive(Default)]
pub(super) struct Disk {
    open: Vec<Pending>,
    /// How each handler was done with each alert, in order of writing.
    pub(super) settled: Vec<(AlertId, String, Settlement)>,
}

/// How a write ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Done,
    /// Nothing is written.
    Failed,
    /// All is written, and reported as failed.
    Unreported,
}

impl Disk {
    pub(super) fn write(&mut self, batch: &[Entry], how: Write, planted: Option<Planted>) -> bool {
        if how != Write::Failed {
            batch.iter().for_each(|entry| self.apply(entry, planted));
        }
        how == Write::Done
    }

    fn apply(&mut self, entry: &Entry, planted: Option<Planted>) {
        match entry {
            Entry::Accepted { alert, handlers, at_ms } => {
                if self.open.iter().all(|pending| pending.alert.id != alert.id) {
                    let (alert, handlers, worst) = (alert.clone(), handlers.clone(), Settlement::Delivered);
                    self.open.push(Pending { alert, handlers, worst, accepted_ms: *at_ms });
                }
            }
            Entry::Settled { id, handler, how } => {
                if planted == Some(Planted::SettlementLost) {
                    return;
                }
                let Some(pending) = self.open.iter_mut().find(|pending| pending.alert.id == *id) else { return };
                if pending.handlers.iter().any(|name| name == handler) {
                    self.settled.push((id.clone(), handler.to_string(), *how));
                }
                pending.handlers.retain(|name| name != handler);
                pending.worst = pending.worst.max(*how);
                self.open.retain(|pending| !pending.handlers.is_empty());
            }
            Entry::Reopened { .. } | Entry::Attempted { .. } | Entry::Decided(_) | Entry::Saved(_) => {}
        }
    }

    /// What a new process finds.
    pub(super) fn recover(&self, planted: Option<Planted>) -> Vec<Pending> {
        let mut open = self.open.clone();
        match planted {
            Some(Planted::LastForgotten) => drop(open.pop()),
            Some(Planted::RecoveredReversed) => open.reverse(),
            _ => {}
        }
        open
    }

    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }
}
