//! What a source's stream is.

use serde::Serialize;
use utoipa::ToSchema;

/// A source's stream, as its first picture showed it; again after each change of size and each new attempt.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
pub struct Stream {
    /// The codec, `H.264`; null for a stream that needs no decoder, or another one.
    pub codec: Option<String>,
    /// The decoder's GStreamer element, `avdec_h264`; null where none is needed.
    pub decoder: Option<String>,
    /// Whether the decoder works in hardware.
    pub hardware: bool,
    /// How its packets come, `tcp` or `udp`; null for what no network brings.
    pub transport: Option<String>,
    /// Width of its pictures, in pixels.
    pub width: u32,
    /// Height of its pictures, in pixels.
    pub height: u32,
    /// Frames per second that the stream states; null where it states none.
    pub fps: Option<f64>,
}
