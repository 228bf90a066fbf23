//! State that GStreamer callbacks share with the pulling thread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};

/// Written on GStreamer's threads, read on the source's own.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Decoded frames that reached the sink.
    pub(super) decoded: AtomicU64,
    /// Whole pictures that were given to a decoder, for a source of such.
    pub(super) offered: AtomicU64,
    /// Pictures that a decoder dropped silently.
    pub(super) undecoded: AtomicU64,
    /// The stream's orientation, as [`Turn::to_bits`](super::turn::Turn::to_bits).
    pub(super) turn: AtomicU8,
    /// A video stream was found and linked.
    pub(super) linked: AtomicBool,
    /// All streams are known, and none is video.
    pub(super) no_video: AtomicBool,
    /// The camera offers a video stream.
    pub(super) offers_video: AtomicBool,
    /// The camera offers another kind of stream.
    pub(super) offers_other: AtomicBool,
    /// RTSP sessions begun; a second one follows a redirect.
    pub(super) sessions: AtomicU32,
    /// The camera has described its stream.
    pub(super) described: AtomicBool,
    /// RTP packets have arrived.
    pub(super) packets: AtomicBool,
    /// GLib did not trust the camera's certificate and left the decision to us.
    pub(super) certificate_untrusted: AtomicBool,
    /// Why the camera's certificate was rejected.
    pub(super) certificate: OnceLock<String>,
    /// Why a file is refused because of its type.
    pub(super) refused: OnceLock<String>,
}
