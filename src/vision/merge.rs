//! Merges the detections of several detectors for one frame.

use crate::types::Detection;

/// Drops every detection that overlaps a better one with the same label by more than `iou` (IoU), and sorts by
/// descending score. Labels are compared, not class indices, because models number classes differently. Ties keep their
/// order, so the model listed first wins.
pub fn merge(detections: &mut Vec<Detection>, iou: f32) {
    detections.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let mut kept: Vec<Detection> = Vec::with_capacity(detections.len());
    for detection in detections.drain(..) {
        let covered = kept.iter().any(|k| k.label == detection.label && k.bbox.iou(&detection.bbox) > iou);
        if !covered {
            kept.push(detection);
        }
    }
    *detections = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BBox;

    #[test]
    fn the_same_object_from_two_models_is_one_and_another_label_stays() {
        let at = |label: &str, class: u32, score: f32, x: f32| {
            Detection::new(label, class, score, BBox { x, y: 0.1, width: 0.2, height: 0.4 })
        };
        let mut all = vec![
            at("person", 0, 0.6, 0.10),
            at("person", 7, 0.9, 0.11),
            at("dog", 1, 0.5, 0.10),
            at("person", 0, 0.4, 0.6),
        ];
        merge(&mut all, 0.5);
        let seen: Vec<(&str, f32)> = all.iter().map(|d| (&*d.label, d.confidence)).collect();
        assert_eq!(seen, [("person", 0.9), ("dog", 0.5), ("person", 0.4)]);
    }
}
