//! Following objects over time: the [`Tracker`] gives ids, [`Tracks`] keeps what the engine knows of each.
//!
//! Pure values and frame time; one pair per source, on its lane. A backend that tracks by itself (DeepStream, a
//! trace) skips the tracker and still feeds [`Tracks`]. Look next at `strategy::View`, which shows them to rules.

mod life;
mod tracker;

pub use life::{Track, Tracks};
pub use tracker::Tracker;

/// How long an object may go unseen before its id is given up, on frame time.
pub const PATIENCE_NS: u64 = 1_000_000_000;
