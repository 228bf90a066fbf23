//! What the outbox counts and says of alerts.

use std::sync::Arc;

use super::offer::{Finished, GivenUp, NoRoom};
use super::outbox::State;
use super::{Outbox, Settlement};
use crate::telemetry::{AlertOutcome, SourceMetrics};
use crate::types::Alert;

impl Outbox {
    pub(super) fn count_missed(&self, state: &State, alert: &Alert, missed: &[Arc<str>]) {
        for name in missed {
            self.metrics.undelivered(Settlement::QueueFull.as_str(), 1);
            state.handlers.get(name).inspect(|standing| standing.miss());
            self.note_settled(&alert.id, name, Settlement::QueueFull);
            tracing::warn!(handler = %name, alert = %alert.id, "alert not queued: the handler's queue is full");
        }
    }

    /// Counts the alerts that full queues gave up for a new one.
    pub(super) fn count_given_up(&self, state: &State, given_up: Vec<GivenUp>) {
        for GivenUp { handler, id, finished } in given_up {
            self.metrics.undelivered(Settlement::QueueFull.as_str(), 1);
            state.handlers.get(&handler).inspect(|standing| standing.miss());
            self.note_settled(&id, &handler, Settlement::QueueFull);
            tracing::warn!(%handler, alert = %id, "alert given up for a newer one: the handler's queue is full");
            self.finish(finished);
        }
    }

    /// Counts a refused alert, and those that were given up for it in vain.
    pub(super) fn count_refused(&self, state: &State, alert: &Alert, room: NoRoom, given_up: Vec<GivenUp>) {
        self.count_given_up(state, given_up);
        state.refresh();
        let reason = match room {
            NoRoom::Queues { .. } => Settlement::QueueFull.as_str(),
            NoRoom::Journal { .. } => "journal_full",
        };
        self.metrics.undelivered(reason, state.ledger.receivers(alert) as u64);
    }

    /// Counts an outcome in the totals and in the source's series.
    pub(super) fn count(&self, series: Option<&SourceMetrics>, rule: &str, outcome: AlertOutcome) {
        if let Some(series) = series {
            series.alert(rule, outcome);
        }
        self.tally.add(outcome);
    }

    pub(super) fn finish(&self, finished: impl IntoIterator<Item = Finished>) {
        for Finished { alert, worst, series } in finished {
            self.count(series.as_ref(), &alert.rule, worst.outcome());
        }
    }
}
