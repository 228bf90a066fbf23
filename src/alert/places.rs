//! The key of an alert whose strategy gives none: its object. Usually that is the track; an object that a new track
//! follows at the place of an earlier one keeps the earlier one's key.
//!
//! An object is expected at its place for as long as it had stood there. A person who appears where another one walked
//! out of the picture is a new object.

use std::collections::VecDeque;

use crate::track::PATIENCE_NS;
use crate::types::{BBox, Detection, Frame, Raised};

/// Maximum objects remembered; beyond it the least recently raised one is forgotten.
const PLACES_MAX: usize = 1_000;
/// Minimum overlap of two boxes of the same object.
const SAME_IOU: f32 = 0.5;
/// Minimum overlap of two boxes of an object that has not moved: it allows for the detector's noise, not for another
/// person who passes the same place.
const UNMOVED_IOU: f32 = 0.9;

/// An object that a rule raised alerts for.
#[derive(Debug)]
struct Place {
    rule: Box<str>,
    key: Box<str>,
    /// The track that follows it now; none of this process before it is seen again.
    track: Option<u64>,
    bbox: BBox,
    raised_ns: u64,
    /// Its box when it came to its place, and the time then.
    came: (BBox, u64),
    /// How long its condition lasts without being raised.
    lasts_ns: u64,
    /// Its key is of another process, whose tracks had other numbers.
    is_restored: bool,
}

impl Place {
    fn lasts(&self, now_ns: u64) -> bool {
        now_ns.checked_sub(self.raised_ns).is_some_and(|age_ns| age_ns < self.lasts_ns)
    }

    /// How far a new track at `bbox` overlaps it, if it may be the same object. `former_ns` is the time of the frame
    /// before: the object is missed only on frames that came.
    fn overlap(&self, bbox: &BBox, former_ns: u64) -> Option<f32> {
        let iou = self.bbox.iou(bbox);
        let missed_ns = former_ns.saturating_sub(self.raised_ns);
        let stood_ns = self.raised_ns.saturating_sub(self.came.1);
        // How long an object stood before a restart is not known.
        let is_expected = self.track.is_none() || missed_ns <= stood_ns.max(PATIENCE_NS) || iou >= UNMOVED_IOU;
        (iou >= SAME_IOU && is_expected).then_some(iou)
    }
}

/// When an object is raised, and how long its condition lasts then.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    pub(super) now_ns: u64,
    pub(super) lasts_ns: u64,
}

/// See the module. One per lane; the least recently raised object comes first.
#[derive(Debug, Default)]
pub(super) struct Places {
    known: VecDeque<Place>,
    /// The times of this frame and of the one before.
    now_ns: u64,
    former_ns: u64,
}

/// The track and the place of an alert's object: of its first detection that has a track.
pub(super) fn object(raised: &Raised) -> Option<(u64, &Detection)> {
    raised.detections.iter().find_map(|detection| Some((detection.track_id?, detection)))
}

impl Places {
    /// Notes the time of a frame, also of one on which nothing is raised.
    pub(super) fn note(&mut self, now_ns: u64) {
        if now_ns != self.now_ns {
            self.former_ns = std::mem::replace(&mut self.now_ns, now_ns).min(now_ns);
        }
    }

    /// The key of the object `track` at `bbox`.
    pub(super) fn key(&self, rule: &str, track: u64, bbox: &BBox, frame: &Frame, when: When) -> String {
        let lasts =
            |place: &&Place| when.now_ns.checked_sub(place.raised_ns).is_some_and(|age_ns| age_ns < when.lasts_ns);
        let open = || self.known.iter().filter(|place| *place.rule == *rule).filter(lasts);
        if let Some(same) = open().find(|place| place.track == Some(track)) {
            return same.key.to_string();
        }
        // An object that is still followed is another one, however close.
        let is_seen = |track: Option<u64>| {
            track.is_some() && frame.detections.iter().any(|detection| detection.track_id == track)
        };
        let near = open().filter_map(|place| Some((place.overlap(bbox, self.former_ns)?, place)));
        let nearest = near.filter(|(_, place)| !is_seen(place.track)).max_by(|(a, _), (b, _)| a.total_cmp(b));
        if let Some((_, place)) = nearest {
            return place.key.to_string();
        }
        // A track of another process may have had the same number.
        let own = track.to_string();
        let is_taken = |key: &str| open().any(|place| place.is_restored && *place.key == *key);
        if !is_taken(&own) {
            return own;
        }
        (2..=PLACES_MAX).map(|number| format!("{own}-{number}")).find(|key| !is_taken(key)).unwrap_or(own)
    }

    /// Remembers that the object with this key was raised.
    pub(super) fn raised(&mut self, rule: &str, key: &str, track: u64, bbox: BBox, when: When) {
        let When { now_ns: raised_ns, lasts_ns } = when;
        let known = self.position(rule, key).and_then(|at| self.known.remove(at));
        let mut place = known.unwrap_or_else(|| Place {
            rule: rule.into(),
            key: key.into(),
            track: None,
            bbox,
            raised_ns,
            came: (bbox, raised_ns),
            lasts_ns,
            is_restored: false,
        });
        if !place.lasts(raised_ns) || place.came.0.iou(&bbox) < SAME_IOU {
            place.came = (bbox, raised_ns);
        }
        self.add(Place { track: Some(track), bbox, raised_ns, lasts_ns, ..place });
    }

    /// Remembers an object of another process, after those that were raised before it.
    pub(super) fn restore(&mut self, rule: &str, key: &str, bbox: BBox, when: When) {
        let When { now_ns: raised_ns, lasts_ns } = when;
        let (rule, key) = (rule.into(), key.into());
        self.add(Place {
            rule,
            key,
            track: None,
            bbox,
            raised_ns,
            came: (bbox, raised_ns),
            lasts_ns,
            is_restored: true,
        });
    }

    fn add(&mut self, place: Place) {
        if self.known.len() >= PLACES_MAX {
            self.known.pop_front();
        }
        self.known.push_back(place);
    }

    /// Where the object with this key was last raised.
    pub(super) fn bbox(&self, rule: &str, key: &str) -> Option<BBox> {
        self.position(rule, key).and_then(|at| self.known.get(at)).map(|place| place.bbox)
    }

    fn position(&self, rule: &str, key: &str) -> Option<usize> {
        self.known.iter().position(|place| *place.key == *key && *place.rule == *rule)
    }

    /// Forgets objects whose conditions have ended, from the oldest on.
    pub(super) fn forget(&mut self, now_ns: u64) {
        while self.known.front().is_some_and(|place| !place.lasts(now_ns)) {
            self.known.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: BBox = BBox { x: 0.1, y: 0.1, width: 0.2, height: 0.2 };
    const FAR: BBox = BBox { x: 0.7, y: 0.7, width: 0.2, height: 0.2 };

    fn at(now_ns: u64) -> When {
        When { now_ns, lasts_ns: 60 }
    }

    #[test]
    fn an_object_that_stays_is_not_forgotten_for_those_that_pass() {
        let mut places = Places::default();
        let frame = Frame::empty("gate", 0);
        places.raised("r", "1", 1, BOX, at(0));
        for track in 2..3 * PLACES_MAX as u64 {
            places.forget(track);
            places.raised("r", &track.to_string(), track, FAR, at(track));
            places.raised("r", "1", 1, BOX, at(track));
            assert!(places.known.len() <= 62, "those that left are forgotten: {}", places.known.len());
        }
        assert_eq!(places.key("r", 9_999, &BOX, &frame, at(3_000)), "1", "another track at its place");
    }

    #[test]
    fn an_object_of_another_process_keeps_its_key_and_no_new_track_takes_that() {
        let mut places = Places::default();
        let frame = Frame::empty("gate", 0);
        places.restore("r", "7", BOX, at(0));
        assert_eq!(places.key("r", 7, &FAR, &frame, at(1)), "7-2", "elsewhere: another object");
        assert_eq!(places.key("s", 7, &FAR, &frame, at(1)), "7", "of another rule");
        assert_eq!(places.key("r", 1, &BOX, &frame, at(1)), "7");
        places.raised("r", "7", 1, BOX, at(1));
        places.raised("r", "7-2", 7, FAR, at(1));
        assert_eq!(
            (places.key("r", 1, &BOX, &frame, at(2)), places.key("r", 7, &FAR, &frame, at(2))),
            ("7".into(), "7-2".into())
        );
        assert_eq!(places.key("r", 7, &FAR, &frame, at(62)), "7", "both have ended");
    }
}
