//! The outbox from the journal's side: what is to be written, and what is.

use super::{Entry, Outbox};
use crate::telemetry::AlertOutcome;

impl Outbox {
    /// The next entries to write, at most `most`.
    pub(super) fn take_unwritten(&self, most: usize) -> Vec<Entry> {
        self.state().ledger.take_unwritten(most)
    }

    /// Whether only decisions of the policy wait, which gather.
    pub(super) fn gathers(&self) -> bool {
        self.state().ledger.unwritten_mut().is_some_and(|unwritten| unwritten.gathers())
    }

    /// Marks entries as written: counts, queues and publishes the alerts they accept. Until that is done they count as
    /// unwritten, so that a drain waits for them.
    pub(super) fn written(&self, batch: &[Entry]) {
        self.processed(batch, false);
    }

    /// As [`Outbox::written`], while the medium fails: its alerts are delivered, and its values are not written yet.
    pub(super) fn owed(&self, batch: &[Entry]) {
        self.processed(batch, true);
    }

    /// The medium has what was owed.
    pub(super) fn paid(&self) {
        if let Some(unwritten) = self.state().ledger.unwritten_mut() {
            unwritten.paid();
        }
        self.notify();
    }

    fn processed(&self, batch: &[Entry], is_owed: bool) {
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
        accepted.iter().for_each(|(alert, _)| self.publish(alert));
        self.state().ledger.batch_done(is_owed);
        self.notify();
    }

    /// Waits until every alert is settled and every entry written. From now on nothing gathers.
    pub(super) async fn settled(&self) {
        if let Some(unwritten) = self.state().ledger.unwritten_mut() {
            unwritten.hurry();
        }
        self.wake();
        loop {
            // Created before the check, so that a change in between wakes it.
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
}
