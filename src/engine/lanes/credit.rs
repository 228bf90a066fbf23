//! How many frames of a source the models' workers may hold: shared by its route and the pool.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Credit {
    live: bool,
    max: u64,
    /// Frames that workers took and the lane has not finished.
    taken: AtomicU64,
    /// The source runs and has not ended.
    up: AtomicBool,
}

impl Credit {
    /// For a source of which `max` frames may be under way. A finite source is bounded by its inbox.
    pub(super) fn new(live: bool, max: u64) -> Self {
        Self { live, max, taken: AtomicU64::new(0), up: AtomicBool::new(false) }
    }

    /// Whether a worker may take another frame.
    pub(super) fn left(&self) -> bool {
        !self.live || self.taken.load(Ordering::Acquire) < self.max
    }

    /// Whether another frame may come while those that workers took are under way. A live source's next frame is a
    /// whole period away then.
    pub(super) fn may_bring(&self) -> bool {
        let most = if self.live { 1 } else { self.max };
        self.up.load(Ordering::Acquire) && self.taken.load(Ordering::Acquire) < most
    }

    /// A worker took a frame.
    pub(super) fn take(&self) {
        self.taken.fetch_add(1, Ordering::AcqRel);
    }

    /// A frame that a worker took has left the lane, or was lost. `false` where none was taken.
    pub(super) fn give(&self) -> bool {
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok()
    }

    /// The source runs from now on, or does not.
    pub(super) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Release);
    }
}
