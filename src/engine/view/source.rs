//! A source's state besides its metrics: its current state, how it got there, and the reason for it.

use std::collections::VecDeque;

use parking_lot::{Mutex, MutexGuard};

use super::score::Score;
use crate::backend::supervise::BreakerState;
use crate::backend::{SourceState, Stream};

/// Number of transitions remembered per source.
const HISTORY_MAX: usize = 32;

/// One change of a source's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Transition {
    /// When, in Unix milliseconds.
    pub(in crate::engine) unix_ms: u64,
    /// The state that it entered.
    pub(in crate::engine) state: SourceState,
    /// Why, where an attempt had failed; secrets redacted.
    pub(in crate::engine) reason: Option<String>,
}

/// A failed attempt.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Fault {
    /// Why, secrets redacted.
    pub(in crate::engine) reason: String,
    /// What has to be changed, where waiting does not help.
    pub(in crate::engine) remedy: Option<String>,
    /// The class of the error.
    pub(in crate::engine) class: &'static str,
    /// When, in Unix milliseconds.
    pub(in crate::engine) unix_ms: u64,
}

#[derive(Debug, Default)]
struct Facts {
    state: Option<SourceState>,
    error: Option<String>,
    remedy: Option<String>,
    broken: Option<String>,
    stream: Option<Stream>,
    /// The newest failed attempt; it stays when frames flow again.
    last: Option<Fault>,
    breaker: BreakerState,
    history: VecDeque<Transition>,
    score: Score,
}

/// A moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Moment {
    /// On the monotonic clock.
    pub(in crate::engine) ns: u64,
    /// On the wall clock.
    pub(in crate::engine) unix_ms: u64,
}

/// Written by the source's threads, read by status pages and the summary.
#[derive(Default)]
pub(in crate::engine) struct SourceBoard(Mutex<Facts>);

impl SourceBoard {
    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock()
    }

    /// Sets the source's state. A broken source stays failed.
    pub(in crate::engine) fn set_state(&self, state: SourceState, now: Moment) {
        let mut facts = self.lock();
        facts.score.state(matches!(state, SourceState::Running | SourceState::Waiting), now.ns);
        // Of a stall and what follows, only the failed attempt has the reason.
        let reason = match state {
            SourceState::Connecting | SourceState::Backoff { .. } | SourceState::Failed => facts.error.clone(),
            _ => None,
        };
        if state == SourceState::Running {
            (facts.error, facts.remedy) = (None, None);
        }
        let former = facts.state.replace(state);
        if former.is_none_or(|former| former.as_str() != state.as_str()) {
            facts.enter(Transition { unix_ms: now.unix_ms, state, reason });
        }
    }

    /// Records that an attempt failed and another will be made.
    pub(in crate::engine) fn set_error(&self, fault: Fault, now: Moment) {
        let mut facts = self.lock();
        facts.score.failed(now.ns);
        (facts.error, facts.remedy) = (Some(fault.reason.clone()), fault.remedy.clone());
        facts.last = Some(fault);
    }

    /// Counts frames that arrived, of which some could not be decoded.
    pub(in crate::engine) fn frames(&self, frames: u64, damaged: u64, now_ns: u64) {
        self.lock().score.frames(frames, damaged, now_ns);
    }

    /// Sets the state of the source's circuit breaker.
    pub(in crate::engine) fn set_breaker(&self, breaker: BreakerState) {
        self.lock().breaker = breaker;
    }

    /// Records what its stream is.
    pub(in crate::engine) fn set_stream(&self, stream: Stream) {
        self.lock().stream = Some(stream);
    }

    /// What its stream was when it was opened last.
    pub(in crate::engine) fn stream(&self) -> Option<Stream> {
        self.lock().stream.clone()
    }

    /// Records that the source cannot deliver any more.
    pub(in crate::engine) fn break_off(&self, reason: String, now: Moment) {
        let mut facts = self.lock();
        facts.score.failed(now.ns);
        facts.state = Some(SourceState::Failed);
        facts.error = Some(reason.clone());
        // The state came before its reason.
        match facts.history.back_mut() {
            Some(last) if last.state == SourceState::Failed => last.reason = Some(reason.clone()),
            _ => facts.enter(Transition {
                unix_ms: now.unix_ms,
                state: SourceState::Failed,
                reason: Some(reason.clone()),
            }),
        }
        facts.broken = Some(reason);
    }

    /// The current state.
    pub(in crate::engine) fn state(&self) -> SourceState {
        let facts = self.lock();
        if facts.broken.is_some() { SourceState::Failed } else { facts.state.unwrap_or(SourceState::Connecting) }
    }

    /// The last attempt's failure, until frames flow again.
    pub(in crate::engine) fn error(&self) -> Option<String> {
        self.lock().error.clone()
    }

    /// What has to be changed before it can work, if waiting does not help.
    pub(in crate::engine) fn remedy(&self) -> Option<String> {
        self.lock().remedy.clone()
    }

    /// Why it broke, if it did.
    pub(in crate::engine) fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    /// The newest failed attempt, also after frames flow again.
    pub(in crate::engine) fn last_fault(&self) -> Option<Fault> {
        self.lock().last.clone()
    }

    /// The state of the source's circuit breaker.
    pub(in crate::engine) fn breaker(&self) -> BreakerState {
        self.lock().breaker
    }

    /// The newest transitions, oldest first.
    pub(in crate::engine) fn history(&self) -> Vec<Transition> {
        self.lock().history.iter().cloned().collect()
    }

    /// How well it has done lately ([`Score`]).
    pub(in crate::engine) fn score(&self, now_ns: u64) -> Option<f64> {
        self.lock().score.read(now_ns)
    }
}

impl Facts {
    fn enter(&mut self, transition: Transition) {
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(transition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Moment {
        Moment { ns: second * 1_000_000_000, unix_ms: second * 1_000 }
    }

    fn fault(reason: &str, second: u64) -> Fault {
        Fault { reason: reason.into(), remedy: None, class: "transient", unix_ms: second * 1_000 }
    }

    #[test]
    fn the_history_has_each_transition_with_its_time_and_reason() {
        let board = SourceBoard::default();
        board.set_state(SourceState::Connecting, at(1));
        board.set_state(SourceState::Running, at(2));
        board.set_state(SourceState::Stalled, at(5));
        board.set_error(fault("no frame for 3.0 s", 5), at(5));
        board.set_state(SourceState::Backoff { attempt: 1 }, at(5));
        board.set_state(SourceState::Backoff { attempt: 2 }, at(6));
        board.set_state(SourceState::Running, at(8));
        let told: Vec<(u64, &str, Option<String>)> =
            board.history().into_iter().map(|t| (t.unix_ms, t.state.as_str(), t.reason)).collect();
        let reason = Some("no frame for 3.0 s".to_owned());
        assert_eq!(
            told,
            [
                (1_000, "connecting", None),
                (2_000, "running", None),
                (5_000, "stalled", None),
                (5_000, "backoff", reason.clone()),
                (8_000, "running", None)
            ]
        );
        assert_eq!(board.error(), None, "it runs again");
        assert_eq!(board.last_fault().map(|fault| fault.reason), reason, "the last error stays");
    }

    #[test]
    fn the_history_is_bounded() {
        let board = SourceBoard::default();
        for second in 0..100 {
            let state = if second % 2 == 0 { SourceState::Running } else { SourceState::Stalled };
            board.set_state(state, at(second));
        }
        let history = board.history();
        assert_eq!((history.len(), history[0].unix_ms, history[31].unix_ms), (HISTORY_MAX, 68_000, 99_000));
    }

    #[test]
    fn a_broken_source_has_its_reason_in_the_history() {
        let board = SourceBoard::default();
        board.set_state(SourceState::Connecting, at(1));
        board.set_state(SourceState::Failed, at(2));
        board.break_off("it is cut off".into(), at(2));
        let last = board.history().pop().unwrap();
        assert_eq!((last.state, last.reason.as_deref()), (SourceState::Failed, Some("it is cut off")));
        assert_eq!(board.history().len(), 2);
    }
}
