//! What callbacks on GStreamer's threads tell the thread that pulls.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};

/// Written by GStreamer's threads, read by the source's own.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Decoded frames that reached the sink.
    pub(super) decoded: AtomicU64,
    /// The stream's orientation, as [`Turn::to_bits`](super::turn::Turn::to_bits).
    pub(super) turn: AtomicU8,
    /// A video stream was found and linked.
    pub(super) linked: AtomicBool,
    /// The streams are known and none is video.
    pub(super) no_video: AtomicBool,
    /// What a file is that is not played because of what it is.
    pub(super) refused: OnceLock<String>,
}
