//! The history of each source's states: the last changes, for later queries.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::engine::EngineApi;
use crate::engine::live::Event;
use crate::types::{Clock, rfc3339};

/// Changes kept for each source.
pub(super) const CHANGES_MAX: usize = 50;

/// A source went into a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct StateChange {
    /// When, RFC 3339 UTC with milliseconds.
    #[schema(format = DateTime)]
    time: String,
    /// `connecting`, `running`, `stalled`, `backoff`, `failed` or `stopped`.
    state: String,
}

/// The last changes of every existing source.
#[derive(Default)]
pub(super) struct History(Mutex<BTreeMap<String, VecDeque<StateChange>>>);

impl History {
    /// A source's changes, newest first.
    pub(super) fn of(&self, source: &str) -> Vec<StateChange> {
        let sources = self.0.lock();
        sources.get(source).map(|changes| changes.iter().rev().cloned().collect()).unwrap_or_default()
    }

    fn note(&self, source: &str, state: &str, unix_ns: u64) {
        let mut sources = self.0.lock();
        let changes = sources.entry(source.to_owned()).or_default();
        if changes.back().is_some_and(|last| last.state == state) {
            return;
        }
        if changes.len() == CHANGES_MAX {
            changes.pop_front();
        }
        let time = rfc3339(unix_ns / 1_000_000);
        changes.push_back(StateChange { time, state: state.to_owned() });
    }

    /// Reads the current states: at the start, and after missed events. Forgets removed sources.
    fn read(&self, board: &dyn EngineApi, unix_ns: u64) {
        let status = board.status();
        self.0.lock().retain(|id, _| status.sources.iter().any(|source| source.id == *id));
        status.sources.iter().for_each(|source| self.note(&source.id, source.state, unix_ns));
    }

    /// Records changes until `stop`.
    pub(super) async fn keep(&self, board: &dyn EngineApi, clock: &dyn Clock, mut stop: watch::Receiver<bool>) {
        let mut events = board.events().listen();
        self.read(board, clock.unix_ns());
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match event {
                Ok(Event::State { source, state }) => {
                    let known = self.0.lock().contains_key(source.as_str());
                    self.note(source.as_str(), state, clock.unix_ns());
                    if !known {
                        // Re-reads all states, so that removed sources are forgotten and the history stays bounded.
                        self.read(board, clock.unix_ns());
                    }
                }
                Ok(_) => {}
                Err(_) => {
                    events = board.events().listen();
                    self.read(board, clock.unix_ns());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_changes_are_kept_newest_first() {
        let history = History::default();
        assert!(history.of("gate").is_empty());
        for second in 0..2 * CHANGES_MAX as u64 {
            let state = if second % 2 == 0 { "running" } else { "stalled" };
            history.note("gate", state, second * 1_000_000_000);
            // A repeated state is not a change.
            history.note("gate", state, second * 1_000_000_000 + 1);
        }
        let changes = history.of("gate");
        assert_eq!(changes.len(), CHANGES_MAX);
        assert_eq!(changes[0], StateChange { time: "1970-01-01T00:01:39.000Z".into(), state: "stalled".into() });
        assert_eq!(changes[1].state, "running");
    }
}
