//! Tracks whether every source has ended, for `run` to wait on.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

#[derive(Default)]
struct Count {
    /// The engine's sources.
    present: usize,
    /// Sources whose last frame is not judged yet.
    unended: usize,
}

/// Counts the sources that have not ended.
#[derive(Default)]
pub(super) struct Unended {
    count: Mutex<Count>,
    changed: Condvar,
}

impl Unended {
    /// A source was built.
    pub(super) fn begun(&self) {
        self.count.lock().unended += 1;
    }

    /// A source's last frame is judged, or its lane was closed.
    pub(super) fn ended(&self) {
        let mut count = self.count.lock();
        count.unended = count.unended.saturating_sub(1);
        self.changed.notify_all();
    }

    /// Sets the number of sources.
    pub(super) fn set_present(&self, present: usize) {
        self.count.lock().present = present;
    }

    /// Waits until every source has ended, at most `limit`; returns whether they have. Returns false if there is no
    /// source, since one may be added.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let mut count = self.count.lock();
        let runs = |count: &mut Count| count.unended > 0 || count.present == 0;
        self.changed.wait_while_for(&mut count, runs, limit);
        !runs(&mut count)
    }
}
