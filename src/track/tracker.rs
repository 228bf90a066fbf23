//! Matches detections by overlap first, then by distance, both to the position predicted from each object's velocity.
//!
//! Greedy instead of optimal assignment: with class gating the two differ on few frames, and greedy matching over a
//! sorted list is deterministic, allocation-free and cheap. Ids are never reused.

use std::sync::Arc;

use super::PATIENCE_NS;
use crate::config::TrackingPlan;
use crate::types::{BBox, Detection};

/// First pass: minimum IoU with the predicted box.
const IOU_MIN: f32 = 0.2;
/// Second pass: maximum distance between the centres, in units of the mean of the two boxes' longer sides.
const REACH: f32 = 0.6;
/// Second pass: maximum ratio of the boxes' areas.
const AREA_RATIO_MAX: f32 = 2.0;
/// Weight of a new velocity measurement.
const VELOCITY_GAIN: f32 = 0.3;
/// Maximum time over which a velocity is extrapolated; beyond it the prediction stays put, because box jitter would
/// carry it away.
const COAST_NS_MAX: u64 = 500_000_000;

/// A tracked object.
#[derive(Debug)]
struct Followed {
    id: u64,
    class_id: u32,
    label: Arc<str>,
    bbox: BBox,
    /// Velocity of the centre, in picture widths and heights per second.
    velocity: (f32, f32),
    /// Number of sightings; the second one sets the velocity without smoothing.
    hits: u32,
    last_ns: u64,
    /// Predicted box in the current frame.
    expected: BBox,
}

/// A candidate match; sorted best first.
#[derive(Debug, Clone, Copy)]
struct Pair {
    score: f32,
    track: u32,
    detection: u32,
}

/// Assigns stable ids to detections across frames, per class.
#[derive(Debug)]
pub struct Tracker {
    patience_ns: u64,
    next_id: u64,
    followed: Vec<Followed>,
    // Scratch buffers, reused so that a steady scene allocates nothing.
    pairs: Vec<Pair>,
    taken: Vec<bool>,
    given: Vec<bool>,
}

impl Default for Tracker {
    fn default() -> Self {
        Self::new(PATIENCE_NS)
    }
}

impl Tracker {
    /// The tracker for a plan; `None` if tracking is off.
    pub fn of(plan: &TrackingPlan) -> Option<Self> {
        let TrackingPlan { enabled } = plan;
        enabled.then(Self::default)
    }

    /// Creates a tracker that drops an object once unseen for longer than `patience_ns` of frame time.
    pub fn new(patience_ns: u64) -> Self {
        Self { patience_ns, next_id: 1, followed: Vec::new(), pairs: Vec::new(), taken: Vec::new(), given: Vec::new() }
    }

    /// Assigns `track_id` to the detections of the frame at `pts_ns`: the id of a matching object, or a new one.
    /// Detections with an invalid box get none.
    pub fn update(&mut self, pts_ns: u64, detections: &mut [Detection]) {
        let patience = self.patience_ns;
        self.followed.retain(|t| pts_ns.saturating_sub(t.last_ns) <= patience);
        for track in &mut self.followed {
            track.expected = expected(track, pts_ns);
        }
        self.taken.clear();
        self.taken.resize(self.followed.len(), false);
        self.given.clear();
        self.given.resize(detections.len(), false);

        self.pair(detections, |track, d| {
            let iou = track.expected.iou(&d.bbox);
            (iou >= IOU_MIN).then_some(iou)
        });
        self.assign(pts_ns, detections);
        if self.given.contains(&false) && self.taken.contains(&false) {
            self.pair(detections, nearness);
            self.assign(pts_ns, detections);
        }
        for (detection, given) in detections.iter_mut().zip(&self.given) {
            if *given {
                continue;
            }
            detection.track_id = None;
            if detection.bbox.clamped().is_some() {
                detection.track_id = Some(self.next_id);
                self.followed.push(Followed {
                    id: self.next_id,
                    class_id: detection.class_id,
                    label: Arc::clone(&detection.label),
                    bbox: detection.bbox,
                    velocity: (0.0, 0.0),
                    hits: 1,
                    last_ns: pts_ns,
                    expected: detection.bbox,
                });
                self.next_id += 1;
            }
        }
    }

    /// Lists the unmatched pairs that `score` accepts, best first; ties go to the older object, then to the earlier
    /// detection.
    fn pair(&mut self, detections: &[Detection], score: impl Fn(&Followed, &Detection) -> Option<f32>) {
        self.pairs.clear();
        for (t, track) in self.followed.iter().enumerate().filter(|(t, _)| !self.taken[*t]) {
            for (d, detection) in detections.iter().enumerate().filter(|(d, _)| !self.given[*d]) {
                if track.class_id != detection.class_id || track.label != detection.label {
                    continue;
                }
                if let Some(score) = score(track, detection) {
                    self.pairs.push(Pair { score, track: t as u32, detection: d as u32 });
                }
            }
        }
        self.pairs.sort_unstable_by(|a, b| {
            b.score.total_cmp(&a.score).then(a.track.cmp(&b.track)).then(a.detection.cmp(&b.detection))
        });
    }

    fn assign(&mut self, pts_ns: u64, detections: &mut [Detection]) {
        for pair in &self.pairs {
            let (t, d) = (pair.track as usize, pair.detection as usize);
            if self.taken[t] || self.given[d] {
                continue;
            }
            (self.taken[t], self.given[d]) = (true, true);
            let track = &mut self.followed[t];
            detections[d].track_id = Some(track.id);
            see(track, &detections[d].bbox, pts_ns);
        }
    }
}

/// The box predicted for `pts_ns` at constant velocity.
fn expected(track: &Followed, pts_ns: u64) -> BBox {
    let dt = pts_ns.saturating_sub(track.last_ns).min(COAST_NS_MAX) as f32 * 1e-9;
    BBox { x: track.bbox.x + track.velocity.0 * dt, y: track.bbox.y + track.velocity.1 * dt, ..track.bbox }
}

/// Updates an object from its new box.
fn see(track: &mut Followed, bbox: &BBox, pts_ns: u64) {
    let dt = pts_ns.saturating_sub(track.last_ns) as f32 * 1e-9;
    if dt > 0.0 {
        let (was, is) = (track.bbox.center(), bbox.center());
        let measured = ((is.x - was.x) / dt, (is.y - was.y) / dt);
        let gain = if track.hits == 1 { 1.0 } else { VELOCITY_GAIN };
        track.velocity.0 += gain * (measured.0 - track.velocity.0);
        track.velocity.1 += gain * (measured.1 - track.velocity.1);
    }
    track.bbox = *bbox;
    track.last_ns = pts_ns;
    track.hits = track.hits.saturating_add(1);
}

/// Score 0..1 for boxes of similar size with close centres, best 1; `None` otherwise. Catches objects that move by more
/// than their own size between two frames.
fn nearness(track: &Followed, detection: &Detection) -> Option<f32> {
    let (a, b) = (&track.expected, &detection.bbox);
    let (small, large) = (a.area().min(b.area()), a.area().max(b.area()));
    let (p, q) = (a.center(), b.center());
    let reach = REACH * 0.5 * (a.width.max(a.height) + b.width.max(b.height));
    let distance = (p.x - q.x).hypot(p.y - q.y);
    // Also false for boxes that are not finite.
    (small > 0.0 && large <= small * AREA_RATIO_MAX && distance <= reach).then(|| 1.0 - distance / reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_NS: u64 = 40_000_000;

    fn person(x: f32, y: f32) -> Detection {
        Detection::new("person", 0, 0.9, BBox { x, y, width: 0.05, height: 0.15 })
    }

    #[test]
    fn two_people_who_cross_keep_their_ids() {
        let mut tracker = Tracker::default();
        let mut first = Vec::new();
        for n in 0..50u64 {
            let s = n as f32 * 0.016;
            // They meet in the middle, one a little lower than the other.
            let mut seen = [person(0.1 + s, 0.40), person(0.9 - s, 0.44)];
            if n % 2 == 1 {
                seen.swap(0, 1);
            }
            tracker.update(n * FRAME_NS, &mut seen);
            if n % 2 == 1 {
                seen.swap(0, 1);
            }
            let ids = seen.map(|d| d.track_id.unwrap());
            if n == 0 {
                first = ids.to_vec();
            }
            assert_eq!(ids.to_vec(), first, "frame {n}");
        }
    }

    #[test]
    fn an_object_unseen_for_less_than_the_patience_keeps_its_id_and_after_that_gets_a_new_one() {
        for (gap, same) in [(900_000_000, true), (1_100_000_000, false)] {
            let mut tracker = Tracker::default();
            let mut a = [person(0.5, 0.5)];
            tracker.update(0, &mut a);
            tracker.update(FRAME_NS, &mut []);
            let mut b = [person(0.5, 0.5)];
            tracker.update(gap, &mut b);
            assert_eq!(a[0].track_id == b[0].track_id, same, "gap {gap}");
        }
    }

    #[test]
    fn classes_do_not_mix_and_ids_are_not_reused() {
        let mut tracker = Tracker::default();
        let mut a = [person(0.5, 0.5)];
        tracker.update(0, &mut a);
        let mut b = [Detection::new("car", 2, 0.9, a[0].bbox)];
        tracker.update(FRAME_NS, &mut b);
        assert_eq!((a[0].track_id, b[0].track_id), (Some(1), Some(2)));
    }

    #[test]
    fn an_object_that_outruns_its_own_width_is_followed_by_its_motion() {
        let mut tracker = Tracker::default();
        for n in 0..10u64 {
            let mut seen = [person(0.05 + n as f32 * 0.08, 0.5)];
            tracker.update(n * FRAME_NS, &mut seen);
            assert_eq!(seen[0].track_id, Some(1), "frame {n}");
        }
    }

    #[test]
    fn a_box_that_is_none_gets_no_id() {
        let mut tracker = Tracker::default();
        let mut seen = [person(f32::NAN, 0.5), person(0.2, 0.2)];
        tracker.update(0, &mut seen);
        assert_eq!((seen[0].track_id, seen[1].track_id), (None, Some(1)));
    }
}
