//! Evidence: a source's encoded stream of the last seconds, kept in memory as it came and decoded only when a clip or a
//! picture is requested.
//!
//! [`Ring`] holds access units and is pure: no decoder, no clock. A backend that keeps evidence fills one per source and
//! gives out an [`Evidence`], from which the API takes clips and pictures. `gst::evidence` is the only such backend.

mod lag;
mod ring;
mod times;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

pub use lag::{Lag, Lags, Offset};
pub use ring::{Ring, RingLimits, Span, Unit};
pub use times::{Times, decode_times};

use crate::types::Picture;

/// The evidence of one source. Cheap calls but for [`Evidence::clip`] and [`Evidence::picture`], which block: do not
/// call those on an async thread.
pub trait Evidence: Send + Sync {
    /// What is kept now.
    fn status(&self) -> EvidenceStatus;

    /// What is kept between two moments (Unix time, nanoseconds) as an MP4 file, from the key frame at or before the
    /// first. Packets of another format than the newest of them are left out.
    ///
    /// # Errors
    /// The reason that it cannot be given.
    fn clip(&self, from_ns: u64, to_ns: u64) -> Result<Clip, NoEvidence>;

    /// The picture that the stream showed at a moment (Unix time, nanoseconds). Waits at most `wait` for it to arrive,
    /// and takes the newest one then.
    ///
    /// # Errors
    /// The reason that it cannot be given.
    fn picture(&self, at_ns: u64, wait: Duration) -> Result<Still, NoEvidence>;

    /// Which stream is kept: `detect` or `evidence`.
    fn stream(&self) -> &'static str;

    /// The time of the newest picture (Unix time, nanoseconds).
    fn newest_ns(&self) -> Option<u64>;

    /// How much later a moment is found in the ring than the source's frames say: see [`Offset`].
    fn offset(&self) -> Offset;
}

/// A clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// The file.
    pub mp4: Vec<u8>,
    /// The times of its first and last picture: Unix time, nanoseconds.
    pub covers_ns: (u64, u64),
    /// The number of its pictures.
    pub pictures: usize,
}

/// A picture of the stream.
#[derive(Debug, Clone)]
pub struct Still {
    /// Its pixels.
    pub picture: Picture,
    /// When it was shown: Unix time, nanoseconds.
    pub at_ns: u64,
}

/// The reason that a clip or a picture cannot be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoEvidence {
    /// Nothing of that time is kept; what is, from the first to the last moment (Unix time, nanoseconds).
    NotKept(Option<(u64, u64)>),
    /// The maximum number of clips and pictures is being made.
    Busy,
    /// It could not be made; why, without secrets.
    Failed(String),
}

/// What is kept of a source's encoded stream.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EvidenceStatus {
    /// `detect`: the stream that is analysed; `evidence`: a stream of its own.
    pub stream: &'static str,
    /// The state of the evidence's own stream, as that of a source; that of the source itself where it has none.
    pub state: Option<&'static str>,
    /// Seconds that are kept.
    pub seconds: f64,
    /// Bytes that are kept.
    pub bytes: u64,
    /// Encoded pictures that are kept.
    pub pictures: u64,
    /// The first moment that is kept, RFC 3339; null while there is none.
    pub from: Option<String>,
    /// The last one.
    pub to: Option<String>,
    /// The codec and the size of the newest pictures: `h264 1920x1080`; null before the first.
    pub format: Option<String>,
    /// Milliseconds by which a moment is later in the ring than the source's frames say.
    pub offset_ms: f64,
    /// How the offset was measured: `sender_reports` of both streams, or `arrival`.
    pub offset_by: &'static str,
    /// Packets that were not kept, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Attempts to bring its own stream back.
    pub reconnects: u64,
    /// Why nothing new is kept, secrets redacted; null while it is.
    pub error: Option<String>,
    /// What has to be changed before it can work; null where waiting may help.
    pub remedy: Option<String>,
}
