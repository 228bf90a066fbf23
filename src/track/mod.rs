//! Tracks objects over time: the [`Tracker`] assigns ids, [`Tracks`] keeps the state of each object.
//!
//! Pure values on frame time; one pair per source, on its lane. A backend that tracks by itself (DeepStream, a trace)
//! skips the tracker and still feeds [`Tracks`]. Read `strategy::View` next, which shows them to rules.

mod life;
mod tracker;

pub use life::{Track, Tracks};
pub use tracker::Tracker;

/// How long an object may go unseen before its id is dropped, in frame time.
pub const PATIENCE_NS: u64 = 1_000_000_000;
