//! What a source shows of itself while it runs: written by its threads, read by status pages and the summary.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backend::SourceState;
use crate::types::Frame;

/// Newest frames over which the frame rate is measured.
const RATE_WINDOW: usize = 64;

#[derive(Default)]
struct Facts {
    state: Option<SourceState>,
    error: Option<String>,
    broken: Option<String>,
    dropped: BTreeMap<&'static str, u64>,
    arrivals_ns: std::collections::VecDeque<u64>,
    last_unix_ns: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct SourceBoard {
    frames: AtomicU64,
    judged: AtomicU64,
    detections: AtomicU64,
    alerts: AtomicU64,
    facts: Mutex<Facts>,
}

/// A copy of the board at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) state: SourceState,
    pub(super) frames: u64,
    pub(super) judged: u64,
    pub(super) detections: u64,
    pub(super) alerts: u64,
    pub(super) dropped: BTreeMap<&'static str, u64>,
    pub(super) fps: f64,
    pub(super) last_unix_ns: u64,
    pub(super) error: Option<String>,
    pub(super) broken: Option<String>,
}

impl SourceBoard {
    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A frame arrived from the backend.
    pub(super) fn frame(&self, frame: &Frame, unix_ns: u64) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        let mut facts = self.lock();
        facts.last_unix_ns = unix_ns;
        if facts.arrivals_ns.len() == RATE_WINDOW {
            facts.arrivals_ns.pop_front();
        }
        facts.arrivals_ns.push_back(frame.arrived_ns);
    }

    /// A frame was judged.
    pub(super) fn judged(&self, detections: usize) {
        self.judged.fetch_add(1, Ordering::Relaxed);
        self.detections.fetch_add(detections as u64, Ordering::Relaxed);
    }

    /// An alert was accepted.
    pub(super) fn alert(&self) {
        self.alerts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self, reason: &'static str, count: u64) {
        *self.lock().dropped.entry(reason).or_default() += count;
    }

    pub(super) fn state(&self, state: SourceState) {
        let mut facts = self.lock();
        if state == SourceState::Running {
            facts.error = None;
        }
        facts.state = Some(state);
    }

    pub(super) fn error(&self, reason: String) {
        self.lock().error = Some(reason);
    }

    /// The source cannot deliver any more.
    pub(super) fn break_off(&self, reason: String) {
        let mut facts = self.lock();
        facts.state = Some(SourceState::Failed);
        facts.error = Some(reason.clone());
        facts.broken = Some(reason);
    }

    /// Why the source broke off, if it did.
    pub(super) fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    /// A copy, with the frame rate as of `now_ns` on the monotonic clock.
    pub(super) fn snapshot(&self, now_ns: u64) -> Snapshot {
        let facts = self.lock();
        let state = facts.state.unwrap_or(SourceState::Connecting);
        Snapshot {
            state,
            frames: self.frames.load(Ordering::Relaxed),
            judged: self.judged.load(Ordering::Relaxed),
            detections: self.detections.load(Ordering::Relaxed),
            alerts: self.alerts.load(Ordering::Relaxed),
            dropped: facts.dropped.clone(),
            fps: if state == SourceState::Running { rate(&facts.arrivals_ns, now_ns) } else { 0.0 },
            last_unix_ns: facts.last_unix_ns,
            error: facts.error.clone(),
            broken: facts.broken.clone(),
        }
    }
}

/// Frames per second over the window; a silence longer than the usual gap lowers it at once.
fn rate(arrivals_ns: &std::collections::VecDeque<u64>, now_ns: u64) -> f64 {
    let (Some(first), Some(last)) = (arrivals_ns.front(), arrivals_ns.back()) else { return 0.0 };
    let gaps = arrivals_ns.len() as f64 - 1.0;
    if gaps < 1.0 || last <= first {
        return 0.0;
    }
    let usual_ns = (last - first) as f64 / gaps;
    let silence_ns = now_ns.saturating_sub(*last) as f64;
    1e9 / if silence_ns > 2.0 * usual_ns { silence_ns } else { usual_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_thirty_frames_a_second_reads_thirty() {
        let arrivals = (0..64u64).map(|i| 1_000_000_000 + i * 33_333_333).collect::<std::collections::VecDeque<_>>();
        let last = *arrivals.back().unwrap();
        assert!((rate(&arrivals, last + 10_000_000) - 30.0).abs() < 0.1);
        assert!(rate(&arrivals, last + 5_000_000_000) < 0.3, "a silent source does not keep its rate");
    }
}
