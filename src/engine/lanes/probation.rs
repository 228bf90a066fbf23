//! The first frames of a new version, which decide whether it stays, over all lanes that run it.
//!
//! After a swap each lane keeps the old version. A few faults on any lane fail the new version on all lanes: each rolls
//! back to its kept version at its next frame. The new version passes when every lane has seen enough frames, or on
//! timeout.
//!
//! While a change is in progress no probation ends: that of the new version has not started, and that of a version
//! which it replaces is held. If the change is confirmed, the held probation ends without a verdict, and the version
//! kept for it is kept for the new version: a rollback returns to the last version that has passed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Frames that each lane has to see.
pub(super) const FRAMES: u32 = 200;
/// Timeout on the monotonic clock, after which the version passes.
pub(super) const NS: u64 = 10_000_000_000;
/// Number of faults over all lanes that fails it.
const FAULTS_MAX: u32 = 3;

/// The version, or the one that will replace it, is not on every lane yet.
const HELD: u8 = 0;
const RUNNING: u8 = 1;
const PASSED: u8 = 2;
const FAILED: u8 = 3;
const WITHDRAWN: u8 = 4;
const REPLACED: u8 = 5;

/// Called once, by the thread that ends the probation: with the reason if it failed, with `None` if it passed.
type OnEnd = Box<dyn Fn(Option<&str>) + Send + Sync>;

/// See the module. Shared by all lanes of a version.
pub(in crate::engine) struct Probation {
    outcome: AtomicU8,
    faults: AtomicU32,
    /// Lanes that have not seen enough frames yet.
    lanes: AtomicUsize,
    until_ns: u64,
    /// The reason for the failure, which may be recorded while it is held.
    reason: Mutex<Option<String>>,
    on_end: OnEnd,
}

impl Probation {
    /// For a version that `lanes` lanes will run. It is held until [`Probation::start`].
    pub(in crate::engine) fn new(now_ns: u64, lanes: usize, on_end: OnEnd) -> Arc<Self> {
        Arc::new(Self {
            outcome: AtomicU8::new(HELD),
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

    /// The reason for the failure.
    pub(in crate::engine) fn reason(&self) -> Option<String> {
        self.reason.lock().clone()
    }

    /// Withdraws the version before every lane runs it, without a verdict. A lane that already runs it reverts the
    /// whole change between two frames.
    pub(in crate::engine) fn withdraw(&self) {
        self.turn(HELD, WITHDRAWN);
    }

    /// Holds it while another version is to replace this one: it cannot end until that one is installed or withdrawn.
    pub(in crate::engine) fn hold(&self) {
        // If it has ended meanwhile, `on_end` has been called.
        self.turn(RUNNING, HELD);
    }

    /// Starts it, or resumes it after the replacing version was withdrawn. Faults and frames in between count.
    pub(in crate::engine) fn start(&self) {
        self.turn(HELD, RUNNING);
        if self.faults.load(Ordering::Acquire) >= FAULTS_MAX {
            let reason = self.reason().unwrap_or_default();
            self.fail(&reason);
        } else if self.lanes.load(Ordering::Acquire) == 0 {
            self.pass();
        }
    }

    /// Ends it without a verdict: another version has replaced this one.
    pub(in crate::engine) fn replace(&self) {
        self.turn(HELD, REPLACED);
    }

    pub(super) fn replaced(&self) -> bool {
        self.outcome.load(Ordering::Acquire) == REPLACED
    }

    fn turn(&self, from: u8, to: u8) -> bool {
        self.outcome.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(super) fn withdrawn(&self) -> bool {
        self.outcome.load(Ordering::Acquire) == WITHDRAWN
    }

    /// Ends it if it has timed out at `now_ns` on the monotonic clock.
    pub(in crate::engine) fn expire(&self, now_ns: u64) {
        if now_ns >= self.until_ns {
            self.pass();
        }
    }

    /// Records that the version failed on a frame.
    pub(in crate::engine) fn fault(&self, message: &str) {
        if self.faults.fetch_add(1, Ordering::AcqRel) + 1 >= FAULTS_MAX {
            self.fail(message);
        }
    }

    /// Fails the version.
    pub(in crate::engine) fn fail(&self, message: &str) {
        // All under the lock, so that a reader of the outcome and the reason finds everything done.
        let mut reason = self.reason.lock();
        let first = reason.get_or_insert_with(|| message.to_owned());
        if self.turn(RUNNING, FAILED) {
            (self.on_end)(Some(first));
        }
    }

    /// Another lane starts to run the version during its probation.
    pub(in crate::engine) fn lane_joined(&self) {
        self.lanes.fetch_add(1, Ordering::AcqRel);
    }

    /// A lane has seen enough frames, or has ended.
    pub(in crate::engine) fn lane_passed(&self) {
        if self.lanes.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.pass();
        }
    }

    /// Passes the version, on timeout or once every lane has seen enough.
    pub(in crate::engine) fn pass(&self) {
        if self.turn(RUNNING, PASSED) {
            (self.on_end)(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome of each call of `on_end`.
    type Ends = Arc<Mutex<Vec<Option<String>>>>;

    fn probation(lanes: usize) -> (Arc<Probation>, Ends) {
        let ends = Ends::default();
        let sink = Arc::clone(&ends);
        let on_end = move |failed: Option<&str>| sink.lock().push(failed.map(str::to_owned));
        (Probation::new(0, lanes, Box::new(on_end)), ends)
    }

    #[test]
    fn no_probation_ends_during_a_change_and_its_events_count_afterwards() {
        let (failing, ends) = probation(1);
        ["one", "two", "three", "four"].iter().for_each(|fault| failing.fault(fault));
        failing.expire(NS);
        assert!(!failing.failed() && !failing.passed() && ends.lock().is_empty());
        failing.start();
        assert_eq!((failing.failed(), ends.lock().clone()), (true, vec![Some("three".to_owned())]));

        let (quick, ends) = probation(1);
        quick.lane_passed();
        assert!(!quick.passed());
        quick.start();
        assert_eq!((quick.passed(), ends.lock().clone()), (true, vec![None]));
    }

    #[test]
    fn a_replaced_probation_has_no_verdict_and_a_resumed_one_continues() {
        let (old, ends) = probation(1);
        old.start();
        old.fault("one");
        old.hold();
        old.lane_passed();
        old.replace();
        old.start();
        assert!(old.replaced() && !old.passed() && !old.failed() && ends.lock().is_empty());

        let (old, ends) = probation(1);
        old.start();
        old.fault("one");
        old.hold();
        old.fault("two");
        old.start();
        assert!(ends.lock().is_empty());
        old.fault("three");
        assert_eq!((old.failed(), old.reason()), (true, Some("three".to_owned())));
    }

    #[test]
    fn a_withdrawn_probation_does_not_call_back() {
        let (new, ends) = probation(1);
        (0..5).for_each(|_| new.fault("bad"));
        new.withdraw();
        new.start();
        assert!(new.withdrawn() && !new.failed() && ends.lock().is_empty());
    }
}
