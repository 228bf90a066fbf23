//! Class-aware non-maximum suppression over candidates in input pixels.

/// A decoded box, in pixels of the network's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Left, top, right, bottom.
    pub corners: [f32; 4],
    /// 0..1.
    pub score: f32,
    /// Index of the class.
    pub class: u32,
    /// Its index in the network's output; breaks ties between equal scores.
    pub index: u32,
}

impl Candidate {
    /// Intersection over union; 0 for boxes without area.
    pub fn iou(&self, other: &Self) -> f32 {
        let [l, t, r, b] = self.corners;
        let [ol, ot, or, ob] = other.corners;
        let (w, h) = (r.min(or) - l.max(ol), b.min(ob) - t.max(ot));
        if w <= 0.0 || h <= 0.0 {
            return 0.0;
        }
        let inter = w * h;
        inter / ((r - l) * (b - t) + (or - ol) * (ob - ot) - inter).max(f32::MIN_POSITIVE)
    }
}

/// Sorts by descending score (equal ones by ascending index), drops every candidate that overlaps a better one of its
/// class by more than `threshold` (IoU), and keeps at most `max`. The result does not depend on the input order, and
/// applying it twice changes nothing.
pub fn suppress(candidates: &mut Vec<Candidate>, threshold: f32, max: usize) {
    candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));
    let mut kept = 0;
    for i in 0..candidates.len() {
        if kept == max {
            break;
        }
        let candidate = candidates[i];
        let covered = candidates[..kept].iter().any(|k| k.class == candidate.class && k.iou(&candidate) > threshold);
        if !covered {
            candidates[kept] = candidate;
            kept += 1;
        }
    }
    candidates.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(random: &mut fastrand::Rng, count: usize) -> Vec<Candidate> {
        (0..count)
            .map(|index| {
                let (x, y) = (random.f32() * 100.0, random.f32() * 100.0);
                Candidate {
                    corners: [x, y, x + random.f32() * 60.0, y + random.f32() * 60.0],
                    // Few distinct scores, so that ties occur.
                    score: (random.u32(0..20) as f32) / 20.0,
                    class: random.u32(0..3),
                    index: index as u32,
                }
            })
            .collect()
    }

    #[test]
    fn the_result_is_independent_of_order_and_stable_under_repetition() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..300 {
            let count = random.usize(0..80);
            let mut a = any(&mut random, count);
            let mut b = a.clone();
            random.shuffle(&mut b);
            let max = random.usize(1..100);
            suppress(&mut a, 0.5, max);
            suppress(&mut b, 0.5, max);
            assert_eq!(a, b);
            suppress(&mut b, 0.5, max);
            assert_eq!(a, b);
        }
    }

    #[test]
    fn what_is_kept_does_not_overlap_and_what_is_dropped_was_covered_by_a_better_one() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..300 {
            let count = random.usize(0..60);
            let before = any(&mut random, count);
            let mut kept = before.clone();
            suppress(&mut kept, 0.45, usize::MAX);
            for (i, a) in kept.iter().enumerate() {
                assert!(kept[..i].iter().all(|b| a.class != b.class || a.iou(b) <= 0.45));
            }
            for dropped in before.iter().filter(|c| !kept.contains(c)) {
                let better = |k: &&Candidate| k.class == dropped.class && k.score >= dropped.score;
                assert!(kept.iter().filter(better).any(|k| k.iou(dropped) > 0.45));
            }
        }
    }

    #[test]
    fn classes_do_not_suppress_each_other_and_the_best_fill_the_limit() {
        let at = |class, score, index| Candidate { corners: [0.0, 0.0, 10.0, 10.0], score, class, index };
        let mut both = vec![at(0, 0.5, 0), at(1, 0.6, 1), at(0, 0.4, 2)];
        suppress(&mut both, 0.5, 10);
        assert_eq!(both.iter().map(|c| (c.class, c.index)).collect::<Vec<_>>(), [(1, 1), (0, 0)]);
        suppress(&mut both, 0.5, 1);
        assert_eq!(both.len(), 1);
        assert_eq!(both[0].class, 1);
    }
}
