//! `sources[].streams` and `sources[].evidence`: a camera's two streams, and what is kept of one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Two streams of one camera, in place of `uri`: a small one that is analysed, a large one that is kept as evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Streams {
    /// The stream that is analysed, as `uri`: rtsp:// or rtsps://. Default none. Example: "rtsp://10.0.0.7/sub".
    pub(in crate::config) detect: Option<String>,
    /// The stream that is kept as evidence and never decoded unless somebody asks: rtsp:// or rtsps://, H.264 or H.265.
    /// It has its own connection, and may fail by itself. Default none: evidence is kept of the stream that is analysed,
    /// where `evidence` says so. Example: "rtsp://10.0.0.7/main".
    pub(in crate::config) evidence: Option<String>,
}

impl Streams {
    /// Whether nothing is set.
    pub(in crate::config) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is kept of a camera's encoded stream, in memory, for clips and pictures of what has just happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Evidence {
    /// Seconds that are kept before the newest picture, and at most one key-frame interval more. Default 10.
    /// Unit: seconds. Range 1–600. Example: 30.
    #[schemars(range(min = 1, max = 600))]
    pub(in crate::config) pre_seconds: Option<f64>,
    /// Most megabytes kept, whatever the seconds: ten seconds at 8 Mbit/s are ten. Default 64. Unit: MB. Range 1–1024.
    /// Example: 128.
    #[schemars(range(min = 1, max = 1024))]
    pub(in crate::config) max_mb: Option<u32>,
}

impl Evidence {
    /// Whether nothing is set.
    pub(in crate::config) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
