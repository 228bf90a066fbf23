//! YOLOv8-style outputs: class-major, boxes already in input pixels, no objectness.

use crate::vision::letterbox::Fit;
use crate::vision::nms::Candidate;
use crate::vision::preprocess::{ChannelOrder, Recipe};

use super::{Decoded, is_of_strides, score, single};

/// Decoding needs no grid, because boxes are in pixels. The number of cells only identifies the layout when it was not
/// configured.
pub(super) fn classes(shapes: &[Vec<usize>], input: (usize, usize), named: bool) -> Option<usize> {
    let (rows, places) = single(shapes)?;
    // More rows than cells most likely means swapped axes.
    let fits = is_of_strides(places, input) || named && rows < places;
    (rows > 4 && fits).then(|| rows - 4)
}

pub(super) fn recipe() -> Recipe {
    Recipe::normalised(Fit::Centre, ChannelOrder::Rgb, [0.0; 3], [1.0; 3], 114.0)
}

/// The bits of 1.0: scores compare like their bits as integers; negative values, values above one, infinities and NaN
/// have larger bits.
const ONE: u32 = 1.0_f32.to_bits();

pub(super) fn decode((shape, values): (&[usize], &[f32]), input: (usize, usize), threshold: f32) -> Decoded {
    let places = shape[1];
    let (boxes, scores) = values.split_at(4 * places);
    // Most cells are empty: one pass over all scores keeps the maximum bits per cell, which compiles to packed maxima;
    // only cells above the threshold are examined further.
    let mut best = vec![0_u32; places];
    for row in scores.chunks_exact(places) {
        for (best, score) in best.iter_mut().zip(row) {
            *best = (*best).max(score.to_bits());
        }
    }
    let mut decoded = Decoded::default();
    let lowest = threshold.max(0.0).to_bits();
    for (place, &bits) in best.iter().enumerate() {
        if bits < lowest {
            continue;
        }
        let Some((class, score)) = best_class(scores, places, place, bits) else {
            decoded.rejected += 1;
            continue;
        };
        if score < threshold {
            continue;
        }
        let [cx, cy, w, h] = [0, 1, 2, 3].map(|k| boxes[k * places + place]);
        let corners = [cx - w * 0.5, cy - h * 0.5, cx + w * 0.5, cy + h * 0.5];
        decoded.push(Candidate { corners, score, class, index: place as u32 }, input);
    }
    decoded
}

/// The class with the highest score at `place` (the first of equals); `None` if a score is invalid.
fn best_class(scores: &[f32], places: usize, place: usize, bits: u32) -> Option<(u32, f32)> {
    let column = || scores.iter().skip(place).step_by(places).enumerate();
    if bits <= ONE {
        return column().find(|(_, s)| s.to_bits() == bits).map(|(class, s)| (class as u32, *s));
    }
    let mut best = (0, -1.0);
    for (class, &value) in column() {
        let value = score(value)?;
        if value > best.1 {
            best = (class as u32, value);
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: (usize, usize) = (32, 32);
    const PLACES: usize = 16 + 4 + 1;

    /// Two classes, all zero.
    fn blank() -> Vec<f32> {
        vec![0.0; 6 * PLACES]
    }

    fn set(values: &mut [f32], place: usize, column: [f32; 6]) {
        for (k, v) in column.into_iter().enumerate() {
            values[k * PLACES + place] = v;
        }
    }

    fn run(values: &[f32]) -> Decoded {
        decode((&[6, PLACES], values), INPUT, 0.25)
    }

    #[test]
    fn shapes_are_its_own_only_with_the_grid_of_the_input() {
        let one = |rows, places, side, named| classes(&[vec![1, rows, places]], (side, side), named);
        assert_eq!(one(84, 8400, 640, false), Some(80));
        assert_eq!(one(84, 8400, 416, false), None);
        assert_eq!(one(300, 6, 640, false), None);
        assert_eq!(classes(&[vec![1, 84, 8400], vec![1, 32, 160, 160]], (640, 640), true), None);
        // Other strides: with 4 (P2), with 64 (P6), with both, two heads only, without 16.
        for places in [34_000, 8500, 34_100, 2000, 6800] {
            assert_eq!(one(84, places, 640, false), Some(80), "{places}");
        }
        assert_eq!(one(84, 9001, 640, false), None);
        assert_eq!(one(84, 9001, 640, true), Some(80), "where it is named, any number");
        for (rows, places) in [(8400, 84), (300, 6), (25_200, 85)] {
            assert_eq!(one(rows, places, 640, true), None, "swapped");
        }
    }

    #[test]
    fn a_place_above_the_threshold_becomes_a_box_of_its_best_class() {
        let mut values = blank();
        set(&mut values, 3, [16.0, 8.0, 4.0, 6.0, 0.3, 0.7]);
        set(&mut values, 4, [16.0, 8.0, 4.0, 6.0, 0.2, 0.1]);
        let decoded = run(&values);
        let expected = Candidate { corners: [14.0, 5.0, 18.0, 11.0], score: 0.7, class: 1, index: 3 };
        assert_eq!(decoded, Decoded { candidates: vec![expected], rejected: 0 });
    }

    #[test]
    fn garbage_is_refused_and_counted() {
        for garbage in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.5, -3.0] {
            let mut values = blank();
            set(&mut values, 0, [16.0, 8.0, 4.0, 6.0, garbage, 0.9]);
            set(&mut values, 1, [16.0, 8.0, 4.0, 6.0, 0.9, 0.0]);
            let decoded = run(&values);
            assert_eq!((decoded.candidates.len(), decoded.rejected), (1, 1), "score {garbage}");
        }
        for garbage in [f32::NAN, f32::INFINITY, -5.0, 1e30] {
            let mut values = blank();
            set(&mut values, 0, [16.0, 8.0, garbage, 6.0, 0.9, 0.0]);
            assert_eq!(run(&values), Decoded { candidates: vec![], rejected: 1 }, "width {garbage}");
        }
    }

    #[test]
    fn rounding_around_the_ends_of_the_range_is_no_garbage() {
        let mut values = blank();
        set(&mut values, 0, [16.0, 8.0, 4.0, 6.0, 1.0005, -0.0]);
        set(&mut values, 1, [16.0, 8.0, 4.0, 6.0, -0.0, -0.0]);
        let decoded = run(&values);
        assert_eq!((decoded.candidates.len(), decoded.rejected), (1, 0));
        assert_eq!(decoded.candidates[0].score, 1.0);
    }
}
