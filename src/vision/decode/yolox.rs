//! YOLOX outputs: cell-major raw grid; objectness and class scores already activated.

use crate::vision::letterbox::Fit;
use crate::vision::nms::Candidate;
use crate::vision::preprocess::{ChannelOrder, Recipe};

use super::{Decoded, score, single, strides_in_a_row};

pub(super) fn classes(shapes: &[Vec<usize>], input: (usize, usize)) -> Option<usize> {
    let (places, row) = single(shapes)?;
    (row > 5).then_some(())?;
    strides_in_a_row(places, input).map(|_| row - 5)
}

pub(super) fn recipe() -> Recipe {
    Recipe { fit: Fit::TopLeft, order: ChannelOrder::Bgr, scale: [1.0; 3], offset: [0.0; 3], pad: 114.0 }
}

pub(super) fn decode((shape, values): (&[usize], &[f32]), input: (usize, usize), threshold: f32) -> Decoded {
    let mut decoded = Decoded::default();
    let mut rows = values.chunks_exact(shape[1]).enumerate();
    for &stride in strides_in_a_row(shape[0], input).unwrap_or_default() {
        let (columns, lines) = (input.0 / stride, input.1 / stride);
        for (cell, (index, row)) in (0..columns * lines).zip(&mut rows) {
            let (x, y) = ((cell % columns) as f32, (cell / columns) as f32);
            read_row(row, [x, y, stride as f32], index as u32, threshold, input, &mut decoded);
        }
    }
    decoded
}

fn read_row(
    row: &[f32],
    [x, y, stride]: [f32; 3],
    index: u32,
    threshold: f32,
    input: (usize, usize),
    into: &mut Decoded,
) {
    // A class score is at most 1, so objectness alone rules out most cells. NaN is not below the threshold.
    if (0.0..threshold).contains(&row[4]) {
        return;
    }
    let Some((class, score)) = best_class(row) else {
        into.rejected += 1;
        return;
    };
    if score < threshold {
        return;
    }
    let (cx, cy) = ((row[0] + x) * stride, (row[1] + y) * stride);
    let (w, h) = (row[2].exp() * stride * 0.5, row[3].exp() * stride * 0.5);
    into.push(Candidate { corners: [cx - w, cy - h, cx + w, cy + h], score, class, index }, input);
}

/// The class with the highest score (the first of equals) and objectness × score; `None` if one is invalid.
fn best_class(row: &[f32]) -> Option<(u32, f32)> {
    let objectness = score(row[4])?;
    let mut best = (0, -1.0);
    for (class, &value) in row[5..].iter().enumerate() {
        let value = score(value)?;
        if value > best.1 {
            best = (class as u32, value);
        }
    }
    Some((best.0, best.1 * objectness))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: (usize, usize) = (64, 32);
    const PLACES: usize = 8 * 4 + 4 * 2 + 2;
    const ROW: usize = 7;

    fn run(set: &[(usize, [f32; ROW])]) -> Decoded {
        let mut values = vec![0.0; PLACES * ROW];
        for (place, row) in set {
            values[place * ROW..(place + 1) * ROW].copy_from_slice(row);
        }
        decode((&[PLACES, ROW], &values), INPUT, 0.25)
    }

    #[test]
    fn shapes_are_its_own_only_with_the_grid_of_the_input() {
        assert_eq!(classes(&[vec![1, 3549, 85]], (416, 416)), Some(80));
        assert_eq!(classes(&[vec![1, 25200, 85]], (640, 640)), None);
        assert_eq!(classes(&[vec![1, 8400, 5]], (640, 640)), None);
        for places in [34_000, 8500, 2000] {
            assert_eq!(classes(&[vec![1, places, 85]], (640, 640)), Some(80), "{places}");
        }
    }

    #[test]
    fn offsets_count_from_the_cell_and_sizes_in_strides() {
        // Stride 8, column 3, line 1; then stride 16, column 2, line 1; then stride 32, column 1.
        let log = |v: f32| v.ln();
        let decoded = run(&[
            (8 + 3, [0.5, 0.25, log(2.0), log(1.0), 0.9, 0.1, 0.8]),
            (32 + 4 + 2, [0.0, 0.0, log(1.0), log(1.0), 0.8, 0.5, 0.5]),
            (32 + 8 + 1, [0.5, 0.5, log(1.0), log(0.5), 1.0, 1.0, 0.0]),
        ]);
        let corners: Vec<_> = decoded.candidates.iter().map(|c| c.corners.map(f32::round)).collect();
        assert_eq!(corners, [[20.0, 6.0, 36.0, 14.0], [24.0, 8.0, 40.0, 24.0], [32.0, 8.0, 64.0, 24.0]]);
        let classes: Vec<_> = decoded.candidates.iter().map(|c| c.class).collect();
        assert_eq!(classes, [1, 0, 0], "the first of equal scores wins");
        assert!((decoded.candidates[0].score - 0.72).abs() < 1e-6);
    }

    #[test]
    fn garbage_is_refused_and_counted() {
        for garbage in [f32::NAN, f32::INFINITY, 2.0] {
            assert_eq!(run(&[(0, [0.0, 0.0, 0.0, 0.0, garbage, 0.9, 0.0])]).rejected, 1, "objectness {garbage}");
            assert_eq!(run(&[(0, [0.0, 0.0, 0.0, 0.0, 0.9, garbage, 0.0])]).rejected, 1, "class {garbage}");
        }
        assert_eq!(run(&[(0, [0.0, 0.0, 0.0, 0.0, -1.0, 0.9, 0.0])]).rejected, 1);
        for size in [f32::NAN, f32::INFINITY, 80.0] {
            let decoded = run(&[(0, [0.0, 0.0, size, 0.0, 0.9, 0.9, 0.0])]);
            assert_eq!((decoded.candidates.len(), decoded.rejected), (0, 1), "log width {size}");
        }
    }
}
