//! A frame: one picture's metadata on its way through the engine.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Detection, Picture};

/// A source's name: cheap to clone, printable, ordered. Equal to `sources[].id` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceId(Arc<str>);

impl SourceId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SourceId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for SourceId {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// When a run decided on a frame's alerts, among those of all sources. A replay decides on them in the same order, and
/// limits them by the same times.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Turns {
    /// When all of them were decided on, in Unix nanoseconds.
    pub judged_unix_ns: u64,
    /// When each was that its rules did not hold back, in the order in which they were raised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts_unix_ns: Vec<u64>,
    /// Whether the alerts of all sources were decided on in order of arrival: a source then keeps its share of the limit
    /// for a minute after its last frame.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
}

/// One picture's metadata, with an optional cheap handle to its pixels.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its source.
    pub source: SourceId,
    /// Index of the decoded frame in its source, from 0, increasing; skipped frames leave gaps.
    pub seq: u64,
    /// Frame time in nanoseconds, the time base of tracking, dwell times, throttling and scripts. Never decreases
    /// within a source. For a file it is the presentation time, for a live source the arrival on the engine's clock.
    pub pts_ns: u64,
    /// Wall-clock time of capture, nanoseconds since 1970 UTC. Only for display.
    pub captured_unix_ns: u64,
    /// Arrival in the engine, on its monotonic clock; 0 in a replay. Only for measuring latency.
    pub arrived_ns: u64,
    /// Width of the upright original picture in pixels.
    pub width: u32,
    /// Height of the upright original picture in pixels.
    pub height: u32,
    /// Detections so far.
    pub detections: Vec<Detection>,
    /// Whether the frame came with detections: then no model runs on it, even if it has pixels.
    pub detected: bool,
    /// Whether `detections` already have the backend's own track ids (DeepStream, a detections-only scene, a trace):
    /// the engine then does not track.
    pub tracked: bool,
    /// When the run that it was recorded in decided on its alerts; only in the replay of such a recording.
    pub turns: Option<Arc<Turns>>,
    /// The pixels, if the backend has them. Without them no detector runs, and `detections` stay as they are.
    pub picture: Option<Picture>,
}

impl Frame {
    /// A frame of 1 × 1 pixels at time 0 without detections, to be filled in: `Frame { pts_ns, ..Frame::empty("door",
    /// 7) }`.
    pub fn empty(source: impl Into<SourceId>, seq: u64) -> Self {
        Self {
            source: source.into(),
            seq,
            pts_ns: 0,
            captured_unix_ns: 0,
            arrived_ns: 0,
            width: 1,
            height: 1,
            detections: Vec::new(),
            detected: false,
            tracked: false,
            turns: None,
            picture: None,
        }
    }
}
