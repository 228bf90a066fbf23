//! One picture's metadata on its way through the engine.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Detection, Picture};

/// A source's name: cheap to clone, printable, ordered. The same text as `sources[].id` in the config.
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

/// One picture's metadata, with an optional cheap handle to its pixels.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Where it came from.
    pub source: SourceId,
    /// Index of the decoded frame in its source, from 0, growing; frames that were skipped leave gaps.
    pub seq: u64,
    /// Frame time in nanoseconds: what tracking, dwell, throttling and scripts judge on. Never runs backwards
    /// within a source. A file's is its presentation time; a live source's is its arrival on the engine's clock.
    pub pts_ns: u64,
    /// Wall-clock time of capture, nanoseconds since 1970 UTC. Only for what people read.
    pub captured_unix_ns: u64,
    /// When it entered the engine, on the engine's monotonic clock; 0 in a replay. Only for measuring latency.
    pub arrived_ns: u64,
    /// Width of the upright original picture in pixels.
    pub width: u32,
    /// Height of the upright original picture in pixels.
    pub height: u32,
    /// What was seen so far.
    pub detections: Vec<Detection>,
    /// Whether detections come with it: no model runs over it, though it has pixels.
    pub detected: bool,
    /// Whether `detections` already carry the backend's own track ids (DeepStream, a detections-only scene, a
    /// trace): the engine then does not track again.
    pub tracked: bool,
    /// The pixels, where the backend has them. Without them nothing is detected: `detections` are what there is.
    pub picture: Option<Picture>,
}

impl Frame {
    /// A frame of 1 × 1 pixels at time 0 with nothing in it, to be filled in:
    /// `Frame { pts_ns, ..Frame::empty("door", 7) }`.
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
            picture: None,
        }
    }
}
