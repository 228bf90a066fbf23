//! The key of an alert whose strategy gives none: its object. Usually that is the track; an object that a new track
//! follows at the place of an earlier one keeps the earlier one's key.

use std::collections::VecDeque;

use crate::types::{BBox, Detection, Frame, Raised};

/// Maximum objects remembered; beyond it the least recently added one is forgotten.
const PLACES_MAX: usize = 1_000;
/// Minimum overlap of two boxes of the same object.
const SAME_IOU: f32 = 0.5;

/// An object that a rule raised alerts for.
#[derive(Debug)]
struct Place {
    rule: Box<str>,
    key: Box<str>,
    /// The track that follows it now.
    track: u64,
    bbox: BBox,
    raised_ns: u64,
}

/// See the module. One per lane.
#[derive(Debug, Default)]
pub(super) struct Places(VecDeque<Place>);

/// The track and the place of an alert's object: of its first detection that has a track.
pub(super) fn object(raised: &Raised) -> Option<(u64, &Detection)> {
    raised.detections.iter().find_map(|detection| Some((detection.track_id?, detection)))
}

impl Places {
    /// The key of the object `track` at `bbox`, of a condition that lasts for `lasts_ns`.
    pub(super) fn key(&self, rule: &str, track: u64, bbox: &BBox, frame: &Frame, lasts_ns: u64) -> String {
        let lasts = |place: &&Place| frame.pts_ns.checked_sub(place.raised_ns).is_some_and(|age_ns| age_ns < lasts_ns);
        let open = || self.0.iter().filter(|place| *place.rule == *rule).filter(lasts);
        if let Some(same) = open().find(|place| place.track == track) {
            return same.key.to_string();
        }
        // An object that is still followed is another one, however close.
        let is_seen = |track: u64| frame.detections.iter().any(|detection| detection.track_id == Some(track));
        let near = open().map(|place| (place.bbox.iou(bbox), place)).filter(|(iou, _)| *iou >= SAME_IOU);
        let nearest = near.filter(|(_, place)| !is_seen(place.track)).max_by(|(a, _), (b, _)| a.total_cmp(b));
        nearest.map_or_else(|| track.to_string(), |(_, place)| place.key.to_string())
    }

    /// Remembers that the object with this key was raised.
    pub(super) fn raised(&mut self, rule: &str, key: &str, track: u64, bbox: BBox, now_ns: u64) {
        if let Some(place) = self.0.iter_mut().find(|place| *place.key == *key && *place.rule == *rule) {
            (place.track, place.bbox, place.raised_ns) = (track, bbox, now_ns);
            return;
        }
        if self.0.len() >= PLACES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Place { rule: rule.into(), key: key.into(), track, bbox, raised_ns: now_ns });
    }

    /// Forgets objects whose conditions have ended, from the oldest on.
    pub(super) fn forget(&mut self, now_ns: u64, lasts_ns: u64) {
        let ended = |place: &Place| now_ns.checked_sub(place.raised_ns).is_none_or(|age_ns| age_ns >= lasts_ns);
        while self.0.front().is_some_and(ended) {
            self.0.pop_front();
        }
    }
}
