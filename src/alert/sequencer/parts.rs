//! The values that the sequencer keeps and returns.

use std::sync::Arc;

use crate::alert::digest::DigestAlert;
use crate::types::{Alert, AlertId};

/// The time that the limits count in.
pub(super) const MINUTE_NS: u64 = 60_000_000_000;

/// How the alerts of a source are ordered among those of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they arrive: a live source, one that repeats, or one that plays at its own pace.
    Arrival,
    /// By frame time: a finite source.
    Frame,
    /// By the recorded turns, else by capture time: a recorded one.
    Capture,
}

/// The times of a frame.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::alert) struct Times {
    /// Now, on the monotonic clock.
    pub(in crate::alert) arrival_ns: u64,
    /// Frame time.
    pub(in crate::alert) pts_ns: u64,
    /// Capture time.
    pub(in crate::alert) unix_ns: u64,
    /// When the recorded run came to it; only in its replay.
    pub(in crate::alert) recorded: Option<Recorded>,
}

/// When a recorded run came to a frame or an alert.
#[derive(Debug, Clone, Copy)]
pub(in crate::alert) struct Recorded {
    pub(in crate::alert) unix_ns: u64,
    /// Whether the run was in order of arrival.
    pub(in crate::alert) is_live: bool,
}

/// A decision on an alert.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::alert) enum Ruling {
    /// It is sent.
    Send(Arc<Alert>),
    /// It is held back for a digest, which does not need the picture of this one.
    Digested(Arc<Alert>, Option<AlertId>),
    /// This digest is sent; it is an alert of its own.
    Digest(DigestAlert),
    /// There are too many digests.
    Refused(Arc<Alert>),
}

/// One source.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) order: Order,
    /// Where its frame time begins on the sequencer's time.
    pub(super) base_ns: u64,
    /// The time of its last judged frame.
    pub(super) mark_ns: Option<u64>,
    /// When it last advanced, on the monotonic clock.
    pub(super) moved_ns: u64,
    /// Whether it takes part for a minute after its last frame, as it did in the live run that is replayed: the recording
    /// ends, and not the source.
    pub(super) stays: bool,
    pub(super) has_ended: bool,
}

impl Member {
    /// The time of a frame in the merge: far below the end of time, which would never be reached.
    pub(super) fn time_of(&self, times: Times) -> u64 {
        let time_ns = match self.order {
            Order::Arrival => times.arrival_ns,
            Order::Frame => self.base_ns.saturating_add(times.pts_ns),
            Order::Capture => times.recorded.map_or(times.unix_ns, |recorded| recorded.unix_ns).max(self.base_ns),
        };
        self.mark_ns.unwrap_or(0).max(time_ns).min(u64::MAX / 2)
    }

    /// Whether it takes part at this time: a live one that has delivered frames within the last minute, or one of a merge
    /// until its last frame.
    pub(super) fn takes_part(&self, mode: Mode, now_ns: u64) -> bool {
        match mode {
            Mode::Live => now_ns.saturating_sub(on_clock(self.moved_ns)) < MINUTE_NS,
            Mode::Idle | Mode::Merge => !self.is_past(now_ns),
        }
    }

    /// Whether it has ended before this time, and takes part no longer.
    pub(super) fn is_past(&self, now_ns: u64) -> bool {
        self.has_ended && self.leaves_ns().is_none_or(|leaves_ns| leaves_ns <= now_ns)
    }

    /// From when on one that has ended takes part no longer; `None` if it had no frame.
    pub(super) fn leaves_ns(&self) -> Option<u64> {
        Some(self.mark_ns?.saturating_add(if self.stays { MINUTE_NS } else { 1 }))
    }
}

/// An alert that waits for the merge.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) alert: Arc<Alert>,
    pub(super) times: Times,
}

/// How time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mode {
    /// There is no source.
    #[default]
    Idle,
    /// In order of arrival.
    Live,
    /// Merged by frame time.
    Merge,
}

/// A time on another clock, as far from its `now_ns` as it was from `former_ns`.
pub(super) fn moved(at_ns: u64, former_ns: u64, now_ns: u64) -> u64 {
    match at_ns.checked_sub(former_ns) {
        Some(ahead_ns) => now_ns.saturating_add(ahead_ns),
        None => now_ns.saturating_sub(former_ns - at_ns),
    }
}

/// The sequencer's time on the clock: a minute later than that, so that what was sent before has a time.
pub(super) fn on_clock(arrival_ns: u64) -> u64 {
    arrival_ns.saturating_add(MINUTE_NS)
}
