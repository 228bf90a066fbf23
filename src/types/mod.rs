//! Values shared by all layers: frames, pictures, detections, geometry, tracks, alerts and the clock.
//!
//! Nothing here does IO, starts a thread or reads a clock; time is always an argument.
//! Field names are the same in Rust, Lua, WIT and JSON.

mod alert;
mod clock;
mod detection;
mod finding;
mod frame;
mod geometry;
mod model;
mod picture;
mod text;

pub use alert::{Alert, AlertDraft, AlertId, Digest, ENGINE_RULES, HeldBy, Level, Raised};
pub use clock::Clock;
pub use detection::{Attributes, Detection, Value};
pub use finding::Finding;
pub use frame::{Frame, SourceId};
pub use geometry::{BBox, Point, Polygon, Zone};
pub use model::{Layout, Precision};
pub use picture::{Colorimetry, Matrix, Orientation, Picture, PixelFormat, Pixels, Planes, Range, Unreadable};
pub use text::{lines, one_line, without_credentials};
