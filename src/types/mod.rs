//! Values shared by all layers: frames, pictures, detections, geometry, tracks, alerts, local time and the
//! clock.
//!
//! Nothing here does IO, starts a thread or reads a clock; time is always an argument.
//! Field names are the same in Rust, Lua, WIT and JSON.

mod alert;
mod blackout;
mod breaker;
mod clock;
mod detection;
mod finding;
mod frame;
mod geometry;
mod local_time;
mod model;
mod picture;
mod rfc3339;
mod schedule;
mod text;

pub use alert::{
    Alert, AlertDraft, AlertId, Digest, ENGINE_RULES, EXPIRES_SECONDS_MAX, HeldBy, InEvidence, Level, Raised, Resolve,
    TAG_BYTES_MAX, TAGS_MAX, add_tags, wrong_tag,
};
pub use blackout::{Blackout, Unmasked};
pub use breaker::BreakerState;
pub use clock::Clock;
#[cfg(test)]
pub(crate) use clock::TestClock;
pub use detection::{Attributes, Detection, Value};
pub use finding::Finding;
pub use frame::{Frame, SourceId, Turns};
pub use geometry::{BBox, Point, Polygon, Zone};
pub use local_time::{LocalTime, Period, TimeZone, Weekday};
pub use model::{Layout, Precision};
pub use picture::{Colorimetry, Matrix, Orientation, Picture, PixelFormat, Pixels, Planes, Range, Unreadable};
pub use rfc3339::{rfc3339, since_epoch};
pub use schedule::{DAY_MINUTES, Hours, Schedule};
pub use text::{count, count_are, lines, one_line, seconds, unix_ms, without_credentials};
