//! Generated frames to try a guest on: every label in every zone, people who stay, crowds, nobody at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::trial::Facts;
use crate::types::{BBox, Colorimetry, Detection, Frame, Matrix, Picture, Point, Polygon, Range, SourceId};

/// Maximum number of frames for one source.
const FRAMES_MAX: usize = 64;
/// Maximum number of detections per frame, as far as the frame count allows.
const DETECTIONS: usize = 96;
/// Frames for objects in zones; the rest are for crowds and empty frames.
const STANDING_MAX: usize = FRAMES_MAX - 8;
/// Seconds between frames, in a cycle: objects that stay, stay long.
const STEPS_S: [u64; 4] = [1, 9, 50, 240];
/// Size of a box as a share of the picture.
const BOX: (f32, f32) = (0.04, 0.08);
/// Grid points per side in the search for a point inside a zone.
const GRID: usize = 40;
/// Size of the picture, and its uniform brightness.
const WIDTH: u32 = 320;
const HEIGHT: u32 = 180;
const GREY: u8 = 128;
/// The label used if none is known.
const SOMETHING: &str = "person";

/// One detection to show: its label, its foot point, its track.
#[derive(Clone)]
struct Standing {
    label: Arc<str>,
    class: u32,
    feet: Point,
    track: u64,
}

/// See the module.
pub(super) struct Generated {
    source: SourceId,
    labels: Vec<Arc<str>>,
    spots: Vec<Point>,
    picture: Option<Picture>,
    chunks: Option<Vec<Vec<Standing>>>,
    seq: u64,
    now_s: u64,
}

impl Generated {
    pub(super) fn new(source: &SourceId, facts: &Facts) -> Self {
        let zones: Vec<&Polygon> = facts.zones.iter().map(|zone| &zone.polygon).collect();
        let inside = zones.iter().filter_map(|zone| spot(|at| zone.contains(at)));
        let outside = spot(|at| !zones.iter().any(|zone| zone.contains(at)));
        Self {
            source: source.clone(),
            labels: facts.labels.names.clone(),
            spots: inside.chain(outside).collect(),
            picture: facts.pixels.then(grey).flatten(),
            chunks: None,
            seq: 0,
            now_s: 0,
        }
    }

    /// The next frame; `asked` are the labels that the guest has looked up so far.
    pub(super) fn next(&mut self, asked: &BTreeSet<Arc<str>>) -> Option<Frame> {
        let seq = self.seq as usize;
        self.seq += 1;
        // The first frame is empty: it reveals lookups that do not depend on detections.
        if seq == 0 {
            return Some(self.frame(Vec::new()));
        }
        let chunks = self.chunks.take().unwrap_or_else(|| self.standing(asked));
        let each = (STANDING_MAX / chunks.len().max(1)).clamp(1, STEPS_S.len());
        let standing = chunks.len() * each;
        let at = seq - 1;
        let shown = match at.checked_sub(standing) {
            None => chunks.get(at / each).cloned().unwrap_or_default(),
            Some(0 | 1) => self.crowd(&chunks, at == standing),
            // Detected, but not tracked yet.
            Some(2) => chunks.first().cloned().unwrap_or_default(),
            Some(3) => Vec::new(),
            Some(_) => return None,
        };
        self.now_s += STEPS_S[at % STEPS_S.len()];
        let followed = at != standing + 2;
        self.chunks = Some(chunks);
        let detection = |shown: &Standing| {
            let (width, height) = BOX;
            // Scores vary over time, as real ones do.
            let confidence = if at % 4 == 3 { 0.6 } else { 0.95 };
            let bbox = BBox { x: shown.feet.x - width / 2.0, y: shown.feet.y - height, width, height };
            let bbox = bbox.clamped()?;
            let detection = Detection::new(Arc::clone(&shown.label), shown.class, confidence, bbox);
            Some(Detection { track_id: followed.then_some(shown.track), ..detection })
        };
        let detections = shown.iter().filter_map(detection).collect();
        Some(self.frame(detections))
    }

    fn frame(&self, detections: Vec<Detection>) -> Frame {
        Frame {
            pts_ns: self.now_s * 1_000_000_000,
            width: WIDTH,
            height: HEIGHT,
            detections,
            detected: true,
            tracked: true,
            picture: self.picture.clone(),
            ..Frame::empty(self.source.clone(), self.seq - 1)
        }
    }

    /// Every label at every spot, in as many frames as there is room for.
    fn standing(&self, asked: &BTreeSet<Arc<str>>) -> Vec<Vec<Standing>> {
        let mut labels = self.labels.clone();
        labels.extend(asked.iter().filter(|label| !self.labels.contains(label)).cloned());
        if labels.is_empty() {
            labels.push(SOMETHING.into());
        }
        let at = |feet: Point| labels.iter().zip(0..).map(move |(label, class)| (Arc::clone(label), class, feet));
        let all = self.spots.iter().copied().flat_map(at).zip(1..);
        let all: Vec<Standing> =
            all.map(|((label, class, feet), track)| Standing { label, class, feet, track }).collect();
        let size = DETECTIONS.max(all.len().div_ceil(STANDING_MAX));
        all.chunks(size).map(<[Standing]>::to_vec).collect()
    }

    /// Many detections of a few labels, side by side; `first` is before they have moved.
    fn crowd(&self, chunks: &[Vec<Standing>], first: bool) -> Vec<Standing> {
        let some: Vec<&Standing> = chunks.iter().flatten().take(4).collect();
        let many = (0..DETECTIONS as u64).zip(some.into_iter().cycle());
        let moved = if first { 0.0 } else { 0.02 };
        many.map(|(n, one)| {
            let feet = match self.spots.get(n as usize % self.spots.len().max(1)) {
                Some(spot) if n < DETECTIONS as u64 / 2 => *spot,
                _ => Point { x: 0.05 + (n % 12) as f32 * 0.08 + moved, y: 0.1 + (n / 12) as f32 * 0.1 },
            };
            Standing { feet, track: 10_000 + n, ..one.clone() }
        })
        .collect()
    }
}

/// A grid point that matches, the nearest to the picture's centre.
fn spot(is_meant: impl Fn(Point) -> bool) -> Option<Point> {
    let at = |n: usize| (n as f32 + 0.5) / GRID as f32;
    let all = (0..GRID * GRID).map(|n| Point { x: at(n % GRID), y: at(n / GRID) });
    let far = |p: &Point| (p.x - 0.5).abs() + (p.y - 0.5).abs();
    all.filter(|p| is_meant(*p)).min_by(|a, b| far(a).total_cmp(&far(b)))
}

fn grey() -> Option<Picture> {
    let colorimetry = Colorimetry { matrix: Matrix::Bt601, range: Range::Limited };
    let (luma, chroma) = ((WIDTH * HEIGHT) as usize, (WIDTH.div_ceil(2) * HEIGHT.div_ceil(2)) as usize);
    Picture::from_i420(WIDTH, HEIGHT, colorimetry, [vec![GREY; luma], vec![GREY; chroma], vec![GREY; chroma]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Labels;
    use crate::track::Tracks;
    use crate::types::Zone;

    fn facts(labels: usize, zones: usize) -> Facts {
        let corner = |x: f32, y: f32| Point { x, y };
        let zone = |n: usize| {
            let x = n as f32 / zones as f32;
            let right = x + 0.9 / zones as f32;
            let points = vec![corner(x, 0.2), corner(right, 0.2), corner(right, 0.9), corner(x, 0.9)];
            Zone { name: format!("z{n}"), polygon: Polygon::new(points).unwrap() }
        };
        let names = (0..labels).map(|n| format!("label {n}").into()).collect();
        Facts { zones: (0..zones).map(zone).collect(), labels: Labels { names, others: None }, pixels: true }
    }

    #[test]
    fn every_label_is_in_every_zone_within_the_frame_limit() {
        for (labels, zones) in [(1, 0), (3, 1), (80, 3), (80, 20), (1000, 5)] {
            let facts = facts(labels, zones);
            let mut generated = Generated::new(&SourceId::from("a"), &facts);
            let mut tracks = Tracks::new(u64::MAX);
            let (mut frames, mut met, mut longest, mut empty) = (0, BTreeSet::new(), 0, 0);
            while let Some(frame) = generated.next(&BTreeSet::new()) {
                frames += 1;
                tracks.observe(&frame, &facts.zones);
                empty += usize::from(frame.detections.is_empty());
                assert!(frame.picture.is_some());
                for detection in &frame.detections {
                    for zone in facts.zones.iter().filter(|z| z.polygon.contains(detection.bbox.bottom_center())) {
                        met.insert((detection.label.clone(), zone.name.clone()));
                        let track = detection.track_id.and_then(|id| tracks.get(id));
                        longest = track.and_then(|t| t.dwell_ns(&zone.name)).unwrap_or(0).max(longest);
                    }
                }
            }
            assert_eq!(met.len(), labels * zones, "{labels} labels, {zones} zones");
            assert!(frames <= FRAMES_MAX && empty >= 2, "{frames} frames for {labels} labels in {zones} zones");
            assert!(zones == 0 || labels * zones > 1000 || longest > 50_000_000_000, "{longest} ns");
        }
    }

    #[test]
    fn requested_labels_are_shown_if_no_label_is_known() {
        let mut generated = Generated::new(&SourceId::from("a"), &facts(0, 1));
        let asked = BTreeSet::from([Arc::<str>::from("group")]);
        let frames = std::iter::from_fn(|| generated.next(&asked));
        let shown: BTreeSet<Arc<str>> = frames.flat_map(|f| f.detections.into_iter().map(|d| d.label)).collect();
        assert_eq!(shown, asked);
    }
}
