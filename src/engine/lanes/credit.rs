//! The number of frames of a source that the inference workers may hold, and its weight among the sources; shared by
//! its route and the pool.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Credit {
    live: bool,
    max: u64,
    /// Frames that workers took and the lane has not finished.
    taken: AtomicU64,
    /// Whether the source runs and has not ended.
    up: AtomicBool,
    /// How often its frames are taken while those of all sources wait, relative to theirs.
    weight: AtomicU32,
}

impl Credit {
    /// For a source with at most `max` frames in flight. A finite source is bounded by its inbox instead.
    pub(super) fn new(live: bool, max: u64) -> Self {
        Self { live, max, taken: AtomicU64::new(0), up: AtomicBool::new(false), weight: AtomicU32::new(1) }
    }

    /// Whether a worker may take another frame.
    pub(super) fn left(&self) -> bool {
        !self.live || self.taken.load(Ordering::Acquire) < self.max
    }

    /// Whether another frame may arrive while the taken ones are in flight. For a live source the next frame is then a
    /// whole period away.
    pub(super) fn may_bring(&self) -> bool {
        let most = if self.live { 1 } else { self.max };
        self.up.load(Ordering::Acquire) && self.taken.load(Ordering::Acquire) < most
    }

    /// A worker took a frame.
    pub(super) fn take(&self) {
        self.taken.fetch_add(1, Ordering::AcqRel);
    }

    /// A frame that a worker took has left the lane, or was dropped. `false` if none was taken.
    pub(super) fn give(&self) -> bool {
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok()
    }

    /// Its weight, at least 1.
    pub(super) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed).max(1)
    }

    /// Sets its weight.
    pub(super) fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// Sets whether the source runs.
    pub(super) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Release);
    }
}
