//! The two source samples and weights of each output sample.

use crate::vision::letterbox::Placement;

/// For each output sample: `first` and `first + 1` with weights 1 − `weight` and `weight`. At the far edge the weight
/// is 0 and `first + 1` may not exist.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taps {
    pub(super) first: Vec<u32>,
    pub(super) weight: Vec<f32>,
}

impl Taps {
    /// Half-pixel centres, edges repeated, as `cv2.resize(INTER_LINEAR)`.
    fn linear(source: u32, output: usize) -> Self {
        let scale = f64::from(source) / output as f64;
        let last = source - 1;
        let (first, weight) = (0..output)
            .map(|i| {
                let at = ((i as f64 + 0.5) * scale - 0.5).max(0.0);
                let first = (at.floor() as u32).min(last);
                let weight = if first == last { 0.0 } else { (at - f64::from(first)) as f32 };
                (first, weight)
            })
            .unzip();
        Self { first, weight }
    }

    /// The same taps on samples that each cover two neighbours: two taps on the same sample become one.
    fn halved(&self) -> Self {
        let (first, weight) = self
            .first
            .iter()
            .zip(&self.weight)
            .map(|(&first, &weight)| (first / 2, if first % 2 == 0 { 0.0 } else { weight }))
            .unzip();
        Self { first, weight }
    }

    /// Output sample `i`: both source samples (the last one repeated at the edge) and the second one's weight.
    pub(super) fn at(&self, i: usize, samples: usize) -> (usize, usize, f32) {
        let first = self.first[i] as usize;
        (first, (first + 1).min(samples - 1), self.weight[i])
    }
}

/// The taps of one picture geometry.
#[derive(Debug)]
pub(super) struct Tables {
    /// Width, height, and whether chroma is subsampled.
    pub(super) key: (u32, u32, bool),
    /// Columns and rows of the first component (luma), or of all three of RGB.
    pub(super) luma: [Taps; 2],
    /// Columns and rows of the other two components.
    pub(super) chroma: [Taps; 2],
    /// The columns in the format of the fixed-point kernel.
    pub(super) luma_columns: Columns,
    /// The same for chroma.
    pub(super) chroma_columns: Columns,
}

impl Tables {
    pub(super) fn new(key: (u32, u32, bool), placement: Placement) -> Self {
        let (width, height, subsampled) = key;
        let luma = [Taps::linear(width, placement.width), Taps::linear(height, placement.height)];
        let chroma = if subsampled { [luma[0].halved(), luma[1].halved()] } else { luma.clone() };
        let (luma_columns, chroma_columns) = (Columns::new(&luma[0]), Columns::new(&chroma[0]));
        Self { key, luma, chroma, luma_columns, chroma_columns }
    }
}

/// Fixed-point one of the column weights.
pub(super) const COLUMN_ONE: i32 = 1 << 14;

/// Output samples per step of the fixed-point kernel.
pub(super) const LANES: usize = 8;

/// Start of each step in a row: every eight samples, with the last step overlapping the one before. A row has at least
/// one step's samples.
pub(super) fn steps(width: usize) -> impl Iterator<Item = usize> {
    (0..width.div_ceil(LANES)).map(move |i| (i * LANES).min(width - LANES))
}

/// Column taps in the format of the fixed-point kernel.
#[derive(Debug)]
pub(super) struct Columns {
    /// Per output sample, the 14-bit weights of its two taps.
    pub(super) pairs: Vec<i32>,
    /// Per step, the bytes to take from its four windows; `None` if a window is too narrow, which requires gathers.
    ///
    /// A window is eight 16-bit samples, starting at the first tap of an even output sample; it must contain the taps
    /// of that sample and the next. The windows of outputs 0 and 4 are the two halves of one register, those of 2 and 6
    /// of another: so outputs 0, 1, 4, 5 come from the first and 2, 3, 6, 7 from the second, with the same mask.
    pub(super) masks: Option<Vec<[u8; 4 * LANES]>>,
}

impl Columns {
    fn new(taps: &Taps) -> Self {
        let pair = |w: &f32| {
            let second = (w * COLUMN_ONE as f32).round() as i32;
            (COLUMN_ONE - second) | (second << 16)
        };
        let width = taps.first.len();
        let masks = if width < LANES { None } else { steps(width).map(|x| mask(&taps.first[x..x + LANES])).collect() };
        Self { pairs: taps.weight.iter().map(pair).collect(), masks }
    }
}

fn mask(first: &[u32]) -> Option<[u8; 4 * LANES]> {
    let mut mask = [0; 4 * LANES];
    for (output, bytes) in mask.chunks_exact_mut(4).enumerate() {
        let byte = u8::try_from((first[output] - first[output & !1]) * 2).ok().filter(|b| b + 3 < 16)?;
        bytes.copy_from_slice(&[byte, byte + 1, byte + 2, byte + 3]);
    }
    Some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_takes_every_middle_sample() {
        let taps = Taps::linear(12, 4);
        assert_eq!(taps.first, [1, 4, 7, 10]);
        assert!(taps.weight.iter().all(|w| w.abs() < 1e-6));
    }

    #[test]
    fn doubling_repeats_the_edges_and_blends_quarters() {
        let taps = Taps::linear(3, 6);
        assert_eq!(taps.first, [0, 0, 0, 1, 1, 2]);
        assert_eq!(taps.weight, [0.0, 0.25, 0.75, 0.25, 0.75, 0.0]);
    }

    #[test]
    fn halved_taps_blend_only_across_two_chroma_samples() {
        let taps = Taps { first: vec![0, 1, 2, 3], weight: vec![0.5; 4] };
        let halved = taps.halved();
        assert_eq!(halved.first, [0, 0, 1, 1]);
        assert_eq!(halved.weight, [0.0, 0.5, 0.0, 0.5]);
    }

    #[test]
    fn the_last_sample_of_an_odd_width_stays_inside_the_chroma() {
        for width in 1..40_u32 {
            for output in 1..40 {
                let halved = Taps::linear(width, output).halved();
                let samples = width.div_ceil(2);
                for (first, weight) in halved.first.iter().zip(&halved.weight) {
                    assert!(first + u32::from(*weight > 0.0) < samples, "{width} → {output}");
                }
            }
        }
    }
}
