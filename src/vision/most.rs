//! Limits how many detections a frame has.

use crate::types::Detection;

/// Keeps the `most` detections with the highest scores, in their order. Of equal scores, the first one is kept.
pub fn keep_best(detections: &mut Vec<Detection>, most: usize) {
    if detections.len() <= most {
        return;
    }
    let mut order: Vec<usize> = (0..detections.len()).collect();
    let score = |at: usize| detections.get(at).map_or(0.0, |detection| detection.confidence);
    order.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
    let mut kept = vec![false; detections.len()];
    for at in order.into_iter().take(most) {
        if let Some(kept) = kept.get_mut(at) {
            *kept = true;
        }
    }
    let mut kept = kept.into_iter();
    detections.retain(|_| kept.next().unwrap_or(false));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BBox;

    #[test]
    fn the_best_stay_in_their_order() {
        let bbox = BBox { x: 0.1, y: 0.1, width: 0.2, height: 0.2 };
        let all = [("a", 0.5), ("b", 0.9), ("c", 0.5), ("d", 0.7)];
        let of = |most: usize| -> Vec<String> {
            let mut all: Vec<_> = all.iter().map(|(label, score)| Detection::new(*label, 0, *score, bbox)).collect();
            keep_best(&mut all, most);
            all.iter().map(|detection| detection.label.to_string()).collect()
        };
        assert_eq!(of(4), ["a", "b", "c", "d"]);
        assert_eq!(of(3), ["a", "b", "d"]);
        assert_eq!(of(1), ["b"]);
    }
}
