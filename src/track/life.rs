//! The engine's knowledge of each tracked object: its lifetime and its time in each zone.

use std::sync::Arc;

use super::PATIENCE_NS;
use crate::types::{BBox, Detection, Frame, Zone};

/// A current stay in a zone.
#[derive(Debug, Clone, PartialEq)]
struct Stay {
    zone: Arc<str>,
    entered_ns: u64,
}

/// A tracked object.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Its id.
    pub id: u64,
    /// Its label when last seen.
    pub label: Arc<str>,
    /// Its box when last seen.
    pub bbox: BBox,
    /// Frame time of the first sighting.
    pub first_ns: u64,
    /// Frame time of the last sighting.
    pub last_ns: u64,
    stays: Vec<Stay>,
}

impl Track {
    /// Time from the first to the last sighting.
    pub fn age_ns(&self) -> u64 {
        self.last_ns - self.first_ns
    }

    /// Time in `zone` since it last entered, up to the last sighting; `None` if it was last seen outside. The middle of
    /// the box's bottom edge decides. A gap no longer than the patience does not end a stay.
    pub fn dwell_ns(&self, zone: &str) -> Option<u64> {
        self.stays.iter().find(|s| &*s.zone == zone).map(|s| self.last_ns - s.entered_ns)
    }

    fn see(&mut self, now_ns: u64, detection: &Detection, zones: &[Zone], names: &[Arc<str>]) {
        if !Arc::ptr_eq(&self.label, &detection.label) {
            self.label = Arc::clone(&detection.label);
        }
        self.bbox = detection.bbox;
        self.last_ns = now_ns;
        let anchor = detection.bbox.bottom_center();
        for (zone, name) in zones.iter().zip(names) {
            let stay = self.stays.iter().position(|s| Arc::ptr_eq(&s.zone, name));
            match (zone.polygon.contains(anchor), stay) {
                (true, None) => self.stays.push(Stay { zone: Arc::clone(name), entered_ns: now_ns }),
                (false, Some(index)) => {
                    self.stays.swap_remove(index);
                }
                _ => {}
            }
        }
    }
}

/// All live tracks of one source. Clones share the tracks copy-on-write, so a strategy can hold a frame's tracks during
/// its call for the price of a pointer.
#[derive(Debug, Clone)]
pub struct Tracks {
    patience_ns: u64,
    now_ns: u64,
    /// Zone names in the order of the last frame's zones; stays share these pointers.
    names: Arc<Vec<Arc<str>>>,
    /// Ordered by id.
    tracks: Arc<Vec<Track>>,
}

impl Default for Tracks {
    fn default() -> Self {
        Self::new(PATIENCE_NS)
    }
}

impl Tracks {
    /// Creates an empty set; a track is dropped once unseen for longer than `patience_ns`.
    pub fn new(patience_ns: u64) -> Self {
        Self { patience_ns, now_ns: 0, names: Arc::default(), tracks: Arc::default() }
    }

    /// Updates the tracks from a frame whose detections have track ids: new tracks, sightings, zone entries and exits,
    /// and expired tracks.
    pub fn observe(&mut self, frame: &Frame, zones: &[Zone]) {
        self.now_ns = frame.pts_ns;
        let tracks = Arc::make_mut(&mut self.tracks);
        if self.names.len() != zones.len() || self.names.iter().zip(zones).any(|(n, z)| **n != *z.name) {
            rename(tracks, &mut self.names, zones);
        }
        for detection in &frame.detections {
            let Some(id) = detection.track_id else { continue };
            let index = match tracks.binary_search_by_key(&id, |t| t.id) {
                Ok(index) => index,
                Err(index) => {
                    tracks.insert(index, born(id, frame.pts_ns, detection));
                    index
                }
            };
            tracks[index].see(frame.pts_ns, detection, zones, &self.names);
        }
        let patience = self.patience_ns;
        tracks.retain(|t| frame.pts_ns.saturating_sub(t.last_ns) <= patience);
    }

    /// The live track with this id.
    pub fn get(&self, id: u64) -> Option<&Track> {
        self.tracks.binary_search_by_key(&id, |t| t.id).ok().map(|index| &self.tracks[index])
    }

    /// The live tracks, by ascending id.
    pub fn iter(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter()
    }

    /// Number of live tracks.
    pub fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Whether there are no live tracks.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }
}

fn born(id: u64, now_ns: u64, detection: &Detection) -> Track {
    let label = Arc::clone(&detection.label);
    Track { id, label, bbox: detection.bbox, first_ns: now_ns, last_ns: now_ns, stays: Vec::new() }
}

/// Applies changed zones: stays in zones whose name still exists continue.
fn rename(tracks: &mut [Track], names: &mut Arc<Vec<Arc<str>>>, zones: &[Zone]) {
    let kept = |name: &str| names.iter().find(|n| &***n == name).cloned();
    let fresh: Vec<Arc<str>> =
        zones.iter().map(|z| kept(&z.name).unwrap_or_else(|| Arc::from(z.name.as_str()))).collect();
    for track in tracks {
        track.stays.retain(|stay| fresh.iter().any(|n| Arc::ptr_eq(n, &stay.zone)));
    }
    *names = Arc::new(fresh);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Point, Polygon};

    const SECOND: u64 = 1_000_000_000;

    fn zone(name: &str) -> Zone {
        let points = [(0.4, 0.4), (0.6, 0.4), (0.6, 0.9), (0.4, 0.9)].map(|(x, y)| Point { x, y });
        Zone { name: name.into(), polygon: Polygon::new(points.to_vec()).unwrap() }
    }

    fn frame(pts_ns: u64, at: Option<(f32, f32)>) -> Frame {
        let detections = at.map(|(x, foot)| {
            let mut d = Detection::new("person", 0, 0.9, BBox { x: x - 0.05, y: foot - 0.3, width: 0.1, height: 0.3 });
            d.track_id = Some(7);
            d
        });
        Frame { pts_ns, width: 100, height: 100, detections: detections.into_iter().collect(), ..Frame::empty("a", 0) }
    }

    #[test]
    fn dwell_counts_from_the_entry_and_restarts_with_the_next() {
        let zones = [zone("door")];
        let mut tracks = Tracks::default();
        let mut at = |seconds: u64, place: Option<(f32, f32)>| {
            tracks.observe(&frame(seconds * SECOND, place), &zones);
            tracks.get(7).and_then(|t| t.dwell_ns("door"))
        };
        assert_eq!(at(0, Some((0.2, 0.5))), None, "outside");
        assert_eq!(at(1, Some((0.5, 0.5))), Some(0), "enters");
        assert_eq!(at(2, Some((0.5, 0.6))), Some(SECOND));
        assert_eq!(at(3, Some((0.9, 0.6))), None, "leaves");
        assert_eq!(at(4, Some((0.5, 0.6))), Some(0), "enters again: from zero");
    }

    #[test]
    fn the_feet_decide_not_the_middle() {
        let zones = [zone("door")];
        let mut tracks = Tracks::default();
        tracks.observe(&frame(0, Some((0.5, 0.95))), &zones);
        assert_eq!(tracks.get(7).unwrap().dwell_ns("door"), None, "the box's middle is inside, its foot is not");
    }

    #[test]
    fn a_short_loss_does_not_end_a_stay_and_a_long_one_ends_the_track() {
        let zones = [zone("door")];
        let mut tracks = Tracks::default();
        tracks.observe(&frame(0, Some((0.5, 0.5))), &zones);
        tracks.observe(&frame(SECOND / 2, None), &zones);
        assert_eq!(tracks.get(7).unwrap().dwell_ns("door"), Some(0), "unseen: the stay neither ends nor grows");
        tracks.observe(&frame(SECOND, Some((0.5, 0.5))), &zones);
        assert_eq!(tracks.get(7).unwrap().dwell_ns("door"), Some(SECOND), "exactly the patience");
        tracks.observe(&frame(2 * SECOND + 1, None), &zones);
        assert!(tracks.get(7).is_none());
        tracks.observe(&frame(2 * SECOND + 2, Some((0.5, 0.5))), &zones);
        assert_eq!(tracks.get(7).unwrap().dwell_ns("door"), Some(0));
        assert_eq!(tracks.get(7).unwrap().age_ns(), 0);
    }

    #[test]
    fn changed_zones_keep_the_stays_of_those_that_remain() {
        let mut tracks = Tracks::default();
        tracks.observe(&frame(0, Some((0.5, 0.5))), &[zone("a"), zone("b")]);
        tracks.observe(&frame(SECOND, Some((0.5, 0.5))), &[zone("b"), zone("c")]);
        let track = tracks.get(7).unwrap();
        assert_eq!(track.dwell_ns("a"), None);
        assert_eq!(track.dwell_ns("b"), Some(SECOND));
        assert_eq!(track.dwell_ns("c"), Some(0));
    }

    #[test]
    fn a_clone_keeps_what_it_saw() {
        let mut tracks = Tracks::default();
        tracks.observe(&frame(0, Some((0.5, 0.5))), &[]);
        let held = tracks.clone();
        tracks.observe(&frame(SECOND / 2, Some((0.2, 0.5))), &[]);
        assert_eq!(held.get(7).unwrap().last_ns, 0);
        assert_eq!(tracks.get(7).unwrap().last_ns, SECOND / 2);
    }
}
