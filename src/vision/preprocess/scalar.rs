//! The kernel in plain floats: the reference for the others.

use crate::types::{PixelFormat, Planes};

use super::Target;
use super::colour::Tone;
use super::taps::{Tables, Taps};

pub(super) fn write(
    picture: &Planes<'_>,
    tables: &Tables,
    tone: &Tone,
    target: Target,
    rows: &mut [Vec<f32>; 3],
    out: &mut [f32],
) {
    let components = [0, 1, 2].map(|c| Component::of(picture, c));
    let taps = [&tables.luma, &tables.chroma, &tables.chroma];
    for row in 0..target.placement.height {
        for ((component, taps), blended) in components.iter().zip(taps).zip(rows.iter_mut()) {
            component.blend_rows(&taps[1], row, blended);
        }
        let start = target.row_start(row);
        for column in 0..target.placement.width {
            let values = [0, 1, 2].map(|c| pick(&taps[c][0], column, &rows[c]));
            for plane in 0..3 {
                let mixed = tone.matrix[plane].iter().zip(values).map(|(m, v)| m * v).sum::<f32>() + tone.bias[plane];
                out[plane * target.plane + start + column] =
                    mixed.clamp(0.0, 255.0) * tone.scale[plane] + tone.offset[plane];
            }
        }
    }
}

fn pick(taps: &Taps, column: usize, row: &[f32]) -> f32 {
    let (first, second, weight) = taps.at(column, row.len());
    row[first] + (row[second] - row[first]) * weight
}

/// One component's samples in a plane.
struct Component<'a> {
    bytes: &'a [u8],
    stride: usize,
    /// Bytes between samples, and before the first one.
    step: usize,
    skip: usize,
    width: usize,
    height: usize,
}

impl<'a> Component<'a> {
    fn of(picture: &Planes<'a>, index: usize) -> Self {
        let (plane, step, skip) = match picture.format {
            PixelFormat::I420 => (index, 1, 0),
            PixelFormat::Nv12 => (index.min(1), if index == 0 { 1 } else { 2 }, index.saturating_sub(1)),
            PixelFormat::Rgb => (0, 3, index),
        };
        let (row_bytes, height) = picture.plane_size(plane);
        let (bytes, stride) = (picture.plane(plane), picture.stride(plane));
        Self { bytes, stride, step, skip, width: row_bytes / step, height }
    }

    fn row(&self, row: usize) -> impl Iterator<Item = f32> + use<'a> {
        let start = row * self.stride + self.skip;
        let bytes = &self.bytes[start..start + (self.width - 1) * self.step + 1];
        bytes.iter().step_by(self.step).map(|&b| f32::from(b))
    }

    fn blend_rows(&self, taps: &Taps, row: usize, blended: &mut Vec<f32>) {
        let (first, second, weight) = taps.at(row, self.height);
        blended.clear();
        blended.extend(self.row(first).zip(self.row(second)).map(|(a, b)| a + (b - a) * weight));
    }
}

#[cfg(test)]
mod tests {
    use crate::types::{Colorimetry, Matrix, Picture, Range};
    use crate::vision::letterbox::Fit;
    use crate::vision::preprocess::{ChannelOrder, Kernel, Preprocessor, Recipe};

    const PLAIN: Recipe =
        Recipe { fit: Fit::TopLeft, order: ChannelOrder::Bgr, scale: [1.0; 3], offset: [0.0; 3], pad: 114.0 };

    #[test]
    fn an_rgb_picture_of_the_input_s_size_is_copied_plane_by_plane() {
        let picture = Picture::from_rgb(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let mut out = vec![0.0; 12];
        let mut painted = None;
        let mut preprocessor = Preprocessor::with_kernel(PLAIN, (2, 2), Kernel::Scalar);
        preprocessor.write(&picture.planes().unwrap(), &mut out, &mut painted);
        assert_eq!(out, [3.0, 6.0, 114.0, 114.0, 2.0, 5.0, 114.0, 114.0, 1.0, 4.0, 114.0, 114.0]);
    }

    #[test]
    fn padding_is_painted_again_only_when_the_placement_changes() {
        let grey = |w, h| Picture::from_rgb(w, h, vec![50; (w * h * 3) as usize]).unwrap();
        let mut preprocessor = Preprocessor::new(PLAIN, (8, 8));
        let (mut out, mut painted) = (vec![0.0; 3 * 64], None);
        preprocessor.write(&grey(8, 4).planes().unwrap(), &mut out, &mut painted);
        assert_eq!((out[31], out[32]), (50.0, 114.0));
        out[32] = -1.0;
        preprocessor.write(&grey(16, 8).planes().unwrap(), &mut out, &mut painted);
        assert_eq!(out[32], -1.0, "same placement: the padding is left alone");
        preprocessor.write(&grey(4, 8).planes().unwrap(), &mut out, &mut painted);
        assert_eq!((out[3], out[4], out[32]), (50.0, 114.0, 50.0));
    }

    #[test]
    fn chroma_of_a_pixel_is_the_sample_it_was_coded_with() {
        // 4x2 pixels, two chroma samples: the left half red, the right half blue (BT.709 limited).
        let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
        let planes = [vec![63, 63, 32, 32, 63, 63, 32, 32], vec![102, 240], vec![240, 118]];
        let picture = Picture::from_i420(4, 2, colorimetry, planes).unwrap();
        let mut out = vec![0.0; 3 * 8];
        let recipe = Recipe { order: ChannelOrder::Rgb, ..PLAIN };
        Preprocessor::with_kernel(recipe, (4, 2), Kernel::Scalar).write(
            &picture.planes().unwrap(),
            &mut out,
            &mut None,
        );
        let pixel = |x: usize| [out[x], out[8 + x], out[16 + x]];
        for (x, expected) in [(0, [255.0, 0.0, 0.0]), (1, [255.0, 0.0, 0.0]), (2, [0.0, 0.0, 255.0])] {
            for (got, want) in pixel(x).iter().zip(expected) {
                assert!((got - want).abs() < 2.0, "pixel {x}: {:?}", pixel(x));
            }
        }
    }
}
