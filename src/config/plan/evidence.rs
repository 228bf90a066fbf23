//! What is kept of a camera's encoded stream.

use std::time::Duration;

use super::camera::Camera;

/// The evidence of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct EvidencePlan {
    /// The stream that is kept; `None`: the one that is analysed.
    pub stream: Option<Box<Camera>>,
    /// Time that is kept before the newest picture.
    pub time: Duration,
    /// Maximum bytes that are kept.
    pub bytes_max: usize,
}

impl EvidencePlan {
    /// Evidence of the stream that is analysed: ten seconds, at most 64 MB.
    pub fn new(stream: Option<Box<Camera>>) -> Self {
        Self { stream, time: Duration::from_secs(10), bytes_max: 64_000_000 }
    }
}
