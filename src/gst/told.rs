//! What callbacks on GStreamer's threads tell the thread that pulls.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};

/// Written by GStreamer's threads, read by the source's own.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Decoded frames that reached the sink.
    pub(super) decoded: AtomicU64,
    /// Pictures that a decoder gave up without a word.
    pub(super) undecoded: AtomicU64,
    /// The stream's orientation, as [`Turn::to_bits`](super::turn::Turn::to_bits).
    pub(super) turn: AtomicU8,
    /// A video stream was found and linked.
    pub(super) linked: AtomicBool,
    /// The streams are known and none is video.
    pub(super) no_video: AtomicBool,
    /// The camera offers a stream of pictures.
    pub(super) offers_video: AtomicBool,
    /// It offers another.
    pub(super) offers_other: AtomicBool,
    /// Something of the stream has arrived.
    pub(super) packets: AtomicBool,
    /// Whether its certificate is accepted was asked of us.
    pub(super) asked_of_certificate: AtomicBool,
    /// Why its certificate is not accepted.
    pub(super) certificate: OnceLock<String>,
    /// What a file is that is not played because of what it is.
    pub(super) refused: OnceLock<String>,
}
