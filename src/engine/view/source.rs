//! A source's state besides its metrics: its current state, and the reason for it.

use parking_lot::{Mutex, MutexGuard};

use crate::backend::{SourceState, Stream};

#[derive(Debug, Clone, Default)]
struct Facts {
    state: Option<SourceState>,
    error: Option<String>,
    remedy: Option<String>,
    broken: Option<String>,
    stream: Option<Stream>,
}

/// Written by the source's threads, read by status pages and the summary.
#[derive(Default)]
pub(in crate::engine) struct SourceBoard(Mutex<Facts>);

impl SourceBoard {
    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock()
    }

    /// Sets the source's state. A broken source stays failed.
    pub(in crate::engine) fn set_state(&self, state: SourceState) {
        let mut facts = self.lock();
        if state == SourceState::Running {
            (facts.error, facts.remedy) = (None, None);
        }
        facts.state = Some(state);
    }

    /// Records that an attempt failed and another will be made.
    pub(in crate::engine) fn set_error(&self, reason: String, remedy: Option<String>) {
        let mut facts = self.lock();
        (facts.error, facts.remedy) = (Some(reason), remedy);
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
    pub(in crate::engine) fn break_off(&self, reason: String) {
        let mut facts = self.lock();
        facts.state = Some(SourceState::Failed);
        facts.error = Some(reason.clone());
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
}
