//! Following objects over time: the tracker gives ids, [`Tracks`] keeps what the engine knows of each.
//!
//! Pure values and frame time; one pair per source, on its lane.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::types::{Detection, Frame, Zone};

/// Gives detections of consecutive frames stable ids.
#[derive(Debug, Default)]
pub struct Tracker {}

impl Tracker {
    /// Assigns `track_id` to the detections of the frame at `pts_ns`.
    pub fn update(&mut self, _pts_ns: u64, _detections: &mut [Detection]) {}
}

/// What the engine knows of one followed object.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Its id.
    pub id: u64,
    /// Its label when last seen.
    pub label: Arc<str>,
    /// Frame time of the first sighting.
    pub first_ns: u64,
    /// Frame time of the last sighting.
    pub last_ns: u64,
    /// Time spent in each zone since it last entered, by zone name; absent when outside.
    pub dwell_ns: BTreeMap<String, u64>,
}

/// Every living track of one source.
#[derive(Debug, Default)]
pub struct Tracks {}

impl Tracks {
    /// Takes in a judged frame: births, sightings, zone entries and exits, deaths.
    pub fn observe(&mut self, _frame: &Frame, _zones: &[Zone]) {}

    /// The track with this id, while it lives.
    pub fn get(&self, _id: u64) -> Option<&Track> {
        None
    }
}
