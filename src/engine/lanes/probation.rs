//! A new version's first frames: whether it stays, over all lanes that run it.
//!
//! After a swap each lane keeps the old version. A few faults on any lane fail the new version on all: each goes back
//! to the version it kept at its next frame. The new version has passed when every lane has seen enough frames, or the
//! time is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Frames each lane has to see.
pub(super) const FRAMES: u32 = 200;
/// Time after which it has passed all the same, on the monotonic clock.
pub(super) const NS: u64 = 10_000_000_000;
/// Faults over all lanes that fail it.
const FAULTS_MAX: u32 = 3;

const RUNNING: u8 = 0;
const PASSED: u8 = 1;
const FAILED: u8 = 2;
const WITHDRAWN: u8 = 3;

/// Called once, by whichever thread finds out: with the reason where it failed, with `None` where it passed.
type OnEnd = Box<dyn Fn(Option<&str>) + Send + Sync>;

/// See the module. Shared by all lanes of a version.
pub(in crate::engine) struct Probation {
    outcome: AtomicU8,
    faults: AtomicU32,
    /// Lanes that have not seen enough frames yet.
    lanes: AtomicUsize,
    until_ns: u64,
    reason: Mutex<Option<String>>,
    on_end: OnEnd,
}

impl Probation {
    /// For a version that starts now on so many lanes.
    pub(in crate::engine) fn new(now_ns: u64, lanes: usize, on_end: OnEnd) -> Arc<Self> {
        Arc::new(Self {
            outcome: AtomicU8::new(RUNNING),
            faults: AtomicU32::new(0),
            lanes: AtomicUsize::new(lanes),
            until_ns: now_ns + NS,
            reason: Mutex::default(),
            on_end,
        })
    }

    pub(in crate::engine) fn failed(&self) -> bool {
        self.outcome.load(Ordering::Acquire) == FAILED
    }

    pub(in crate::engine) fn passed(&self) -> bool {
        self.outcome.load(Ordering::Acquire) == PASSED
    }

    /// Why it failed.
    pub(in crate::engine) fn reason(&self) -> Option<String> {
        self.reason.lock().clone()
    }

    /// The version is taken back before every lane runs it, and nothing is said of it. A lane that does goes back with
    /// the rest of its change, between two frames.
    pub(in crate::engine) fn withdraw(&self) {
        // One that has ended by itself meanwhile has said so.
        let _ = self.outcome.compare_exchange(RUNNING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(super) fn withdrawn(&self) -> bool {
        self.outcome.load(Ordering::Acquire) == WITHDRAWN
    }

    /// Ends it where its time is over at `now_ns` on the monotonic clock.
    pub(in crate::engine) fn expire(&self, now_ns: u64) {
        if now_ns >= self.until_ns {
            self.pass();
        }
    }

    /// The version failed a frame.
    pub(in crate::engine) fn fault(&self, message: &str) {
        if self.faults.fetch_add(1, Ordering::AcqRel) + 1 >= FAULTS_MAX {
            self.fail(message);
        }
    }

    /// The version fails for good.
    pub(in crate::engine) fn fail(&self, message: &str) {
        // All under the lock, so that whoever sees the outcome and asks for the reason finds everything done.
        let mut reason = self.reason.lock();
        if self.outcome.compare_exchange(RUNNING, FAILED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            *reason = Some(message.to_owned());
            (self.on_end)(Some(message));
        }
    }

    /// Another lane starts with the version while it is on probation.
    pub(in crate::engine) fn lane_joined(&self) {
        self.lanes.fetch_add(1, Ordering::AcqRel);
    }

    /// A lane has seen enough frames, or has ended.
    pub(in crate::engine) fn lane_passed(&self) {
        if self.lanes.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.pass();
        }
    }

    /// The time is over, or every lane has seen enough, or a later version takes its place.
    pub(in crate::engine) fn pass(&self) {
        if self.outcome.compare_exchange(RUNNING, PASSED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            (self.on_end)(None);
        }
    }
}
