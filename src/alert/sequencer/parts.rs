//! The values that the sequencer keeps and returns.

use std::sync::Arc;

use super::super::digest::Held;
use crate::types::Alert;

/// How the alerts of a source are ordered among those of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they arrive: a live source, or one that repeats.
    Arrival,
    /// By frame time: a finite source.
    Frame,
    /// By capture time: a recorded one.
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
}

/// A decision on an alert.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::alert) enum Ruling {
    /// It is sent.
    Send(Arc<Alert>),
    /// It is held back for a digest.
    Digested(Arc<Alert>),
    /// This digest is sent; it is an alert of its own.
    Digest(Arc<Alert>),
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
    pub(super) has_ended: bool,
}

impl Member {
    /// The time of a frame in the merge: far below the end of time, which would never be reached.
    pub(super) fn time_of(&self, times: Times) -> u64 {
        let time_ns = match self.order {
            Order::Arrival => times.arrival_ns,
            Order::Frame => self.base_ns.saturating_add(times.pts_ns),
            Order::Capture => times.unix_ns.max(self.base_ns),
        };
        self.mark_ns.unwrap_or(0).max(time_ns).min(u64::MAX / 2)
    }

    /// Whether it has ended before this time.
    pub(super) fn is_past(&self, now_ns: u64) -> bool {
        self.has_ended && self.mark_ns.is_none_or(|mark_ns| mark_ns < now_ns)
    }
}

/// An alert that waits for the merge.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) alert: Arc<Alert>,
    pub(super) times: Times,
}

/// Alerts of one rule of one source that wait for their digest.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) held: Held,
    pub(super) ready_ns: u64,
    /// The times of the last one, and the sequencer's time then.
    pub(super) last: (Times, u64),
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
