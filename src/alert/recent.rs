//! The latest decisions on drafts, failed deliveries and outcomes in memory, for requests to the running engine.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::chain::{Chain, Stage};
use super::offer::Finished;
use super::outbox::State;
use super::records::{Attempt, Records, Settled};
use super::{Decided, Entry, Outbox, Settlement};
use crate::types::{Alert, AlertId, SourceId};

/// Maximum entries in memory.
pub const RECENT_MAX: usize = 10_000;
/// Maximum bytes of their texts.
pub const RECENT_BYTES_MAX: usize = 8 << 20;
/// About what one of them takes besides its texts.
const ENTRY_BYTES: usize = 128;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Kept>,
    bytes: usize,
}

#[derive(Debug)]
enum Kept {
    Decided(Arc<Decided>),
    Attempted(Attempt),
    Settled(Settled),
}

impl Kept {
    fn bytes(&self) -> usize {
        ENTRY_BYTES
            + match self {
                Self::Decided(decided) => decided.contents.len() + decided.rule.len(),
                Self::Attempted(attempt) => attempt.error.len(),
                Self::Settled(_) => 0,
            }
    }
}

impl Recent {
    fn add(&self, kept: Kept) {
        let mut state = self.0.lock();
        state.bytes += kept.bytes();
        state.entries.push_back(kept);
        while state.entries.len() > RECENT_MAX || state.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = state.entries.pop_front() else { return };
            state.bytes -= oldest.bytes();
        }
    }

    fn read(&self) -> Records {
        let mut records = Records::default();
        for kept in &self.0.lock().entries {
            match kept {
                Kept::Decided(decided) => records.decided.push(decided.clone()),
                Kept::Attempted(attempt) => records.attempts.push(attempt.clone()),
                Kept::Settled(settled) => records.settled.push(settled.clone()),
            }
        }
        records
    }
}

impl Outbox {
    /// The latest decisions on drafts, and what became of their alerts, oldest first.
    pub fn recent(&self) -> Records {
        self.recent.read()
    }

    /// The last stage of an alert that is accepted now.
    pub(super) fn routes(&self, alert: &Alert) -> Stage {
        self.state().ledger.routes(alert)
    }

    /// Logs the decision on a draft, without waiting; one for which there is no room is counted.
    pub(super) fn log_decision(&self, source: &SourceId, rule: &str, at_ms: u64, id: AlertId, chain: &Chain) {
        // It has no map whose keys are not texts, which is what would fail.
        let Ok(contents) = serde_json::to_string(chain) else { return };
        self.log_decided(Decided { source: source.clone(), rule: rule.to_owned(), at_ms, id, contents });
    }

    /// Logs what a lane has decided or seen.
    pub(super) fn log_decided(&self, decided: Decided) {
        let decided = Arc::new(decided);
        self.recent.add(Kept::Decided(decided.clone()));
        if !self.log(Entry::Decided(decided)) {
            self.lose_decisions(1);
        }
    }

    /// Counts decisions that the log lacks.
    pub(super) fn lose_decisions(&self, count: u64) {
        if count > 0 {
            self.metrics.decisions_lost(count);
        }
    }

    /// Notes a failed delivery.
    pub(super) fn note_attempt(&self, id: &AlertId, handler: &Arc<str>, at_ms: u64, error: &str) {
        let attempt = Attempt { id: id.clone(), handler: handler.to_string(), at_ms, error: error.to_owned() };
        self.recent.add(Kept::Attempted(attempt));
    }

    /// Notes that a handler is done with an alert.
    pub(super) fn note_settled(&self, id: &AlertId, handler: &str, how: Settlement) {
        let at_ms = Some(self.metrics.clock().unix_ns() / 1_000_000);
        let (id, handler, how) = (id.clone(), handler.to_owned(), how.as_str().to_owned());
        self.recent.add(Kept::Settled(Settled { id, handler, how, at_ms }));
    }

    /// Removes a handler's queue, and notes that it is done with what it has.
    pub(super) fn remove_queue(&self, state: &mut State, handler: &str) -> (usize, Vec<Finished>) {
        let left = state.ledger.unsettled(handler);
        let (held, finished) = state.ledger.remove(handler);
        // None if the start failed: they wait for the next start.
        if held > 0 {
            left.iter().for_each(|id| self.note_settled(id, handler, Settlement::HandlerRemoved));
        }
        (held, finished)
    }
}
