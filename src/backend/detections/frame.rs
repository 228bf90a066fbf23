//! A frame as a message states it, and the bounds that it has to keep.
//!
//! A box may reach beyond the picture by [`BEYOND_MAX`] and is cut there: detectors do that at its edges. All other
//! values have to be as the format says; a frame with one that is not is refused as a whole, since the others may be
//! wrong, too.

use std::sync::Arc;

use super::order::Name;
use super::times::Stated;
use crate::types::{BBox, Detection, one_line};

/// Most detections of a frame.
pub(super) const OBJECTS_MAX: usize = 1000;
/// Most bytes of a label.
const LABEL_BYTES_MAX: usize = 100;
/// How far a box may reach beyond the picture, in widths and heights of it.
const BEYOND_MAX: f32 = 1.0;
/// The highest number of a frame: scripts count in 64-bit floating point.
const SEQ_MAX: u64 = 1 << 53;
/// The largest width and height.
const SIDE_MAX: u32 = 65_535;
/// Labels of a source that are kept to be shared; further ones cost their own memory.
const LABELS_MAX: usize = 64;

/// Why a message cannot be used as a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not written as the format says; how.
    Malformed(String),
    /// A value is out of its range; which.
    OutOfRange(String),
    /// It is too long, or has too much in it.
    TooLarge(String),
}

impl Refusal {
    /// The reason under which it is counted.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::OutOfRange(_) => "out_of_range",
            Self::TooLarge(_) => "too_large",
        }
    }

    /// What is wrong.
    pub(super) fn into_message(self) -> String {
        match self {
            Self::Malformed(what) | Self::OutOfRange(what) | Self::TooLarge(what) => what,
        }
    }
}

/// A frame that keeps its bounds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stating {
    /// Its number; `None` if it states none.
    pub(super) seq: Option<u64>,
    pub(super) stated: Stated,
    /// Width and height of the picture, if it states them.
    pub(super) size: Option<(u32, u32)>,
    pub(super) detections: Vec<Detection>,
}

impl Stating {
    /// What it is known by; `seq` is its number.
    pub(super) fn name(&self, seq: u64) -> Name {
        let Stated { pts_ns, unix_ns } = self.stated;
        Name { seq, own_ns: unix_ns.or(pts_ns), unix_ns }
    }
}

/// The labels of a source, shared by its detections.
#[derive(Debug, Default)]
pub(super) struct Labels(Vec<Arc<str>>);

impl Labels {
    /// The label as one line of text.
    fn share(&mut self, label: &str) -> Result<Arc<str>, Refusal> {
        if let Some(known) = self.0.iter().find(|known| ***known == *label) {
            return Ok(Arc::clone(known));
        }
        if label.is_empty() || label.len() > LABEL_BYTES_MAX {
            return Err(out_of_range(format!("a label has 1 to {LABEL_BYTES_MAX} bytes, not {}", label.len())));
        }
        let shared: Arc<str> = one_line(label).into();
        if self.0.len() < LABELS_MAX && *shared == *label {
            self.0.push(Arc::clone(&shared));
        }
        Ok(shared)
    }
}

/// A detection as a message states it; the box is `[x, y, width, height]`, 0..1 of the picture.
pub(super) struct Object<'a> {
    pub(super) label: &'a str,
    pub(super) class_id: u32,
    /// `None`: the camera states none, and 1 is taken.
    pub(super) confidence: Option<f32>,
    pub(super) bbox: [f32; 4],
    pub(super) track_id: Option<u64>,
}

impl Object<'_> {
    /// The detection, once its values keep their bounds.
    pub(super) fn check(&self, labels: &mut Labels) -> Result<Detection, Refusal> {
        let confidence = self.confidence.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&confidence) {
            return Err(out_of_range(format!("a confidence is from 0 to 1, not {confidence}")));
        }
        let [x, y, width, height] = self.bbox;
        let near = -BEYOND_MAX..=1.0 + BEYOND_MAX;
        // Not finite is not contained.
        let is_near = [x, y, x + width, y + height].iter().all(|edge| near.contains(edge));
        let stated = BBox { x, y, width, height };
        let is_inside = x >= 0.0 && y >= 0.0 && stated.right() <= 1.0 && stated.bottom() <= 1.0;
        // A box inside stays as it was stated, to the last bit.
        let inside = stated.clamped().map(|clamped| if is_inside { stated } else { clamped });
        let Some(bbox) = inside.filter(|_| is_near && width > 0.0 && height > 0.0) else {
            let what = format!("a box is [x, y, width, height] within the picture, 0 to 1, not {:?}", self.bbox);
            return Err(out_of_range(what));
        };
        let mut detection = Detection::new(labels.share(self.label)?, self.class_id, confidence, bbox);
        detection.track_id = self.track_id;
        Ok(detection)
    }
}

/// The number of a frame, once it keeps its bound.
pub(super) fn seq(seq: u64) -> Result<u64, Refusal> {
    if seq <= SEQ_MAX {
        return Ok(seq);
    }
    Err(out_of_range(format!("a frame's number is at most {SEQ_MAX}, not {seq}")))
}

/// The size of a picture, once it keeps its bounds.
pub(super) fn size(width: u32, height: u32) -> Result<(u32, u32), Refusal> {
    let is_possible = |side: u32| (1..=SIDE_MAX).contains(&side);
    if is_possible(width) && is_possible(height) {
        return Ok((width, height));
    }
    Err(out_of_range(format!("a picture has 1 to {SIDE_MAX} pixels a side, not {width}×{height}")))
}

/// That there are no more detections than may be.
pub(super) fn count(objects: usize) -> Result<(), Refusal> {
    if objects <= OBJECTS_MAX {
        return Ok(());
    }
    Err(Refusal::TooLarge(format!("a frame has at most {OBJECTS_MAX} detections, not {objects}")))
}

fn out_of_range(what: String) -> Refusal {
    Refusal::OutOfRange(what)
}
