//! Conversion of the three components to output values.

use crate::types::{Colorimetry, Matrix, Picture, PixelFormat, Range};

use super::{ChannelOrder, Recipe};

/// Maps three blended components to the three output planes: `clamp(matrix · components + bias, 0, 255)`, then `scale`
/// and `offset`. Rows of `matrix` and all arrays are in the order of the output planes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tone {
    pub(super) matrix: [[f32; 3]; 3],
    pub(super) bias: [f32; 3],
    pub(super) scale: [f32; 3],
    pub(super) offset: [f32; 3],
}

impl Tone {
    pub(super) fn new(picture: &Picture, recipe: &Recipe) -> Self {
        let (mut matrix, mut bias) = match picture.format {
            PixelFormat::Rgb => ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0; 3]),
            PixelFormat::I420 | PixelFormat::Nv12 => yuv_to_rgb(picture.colorimetry),
        };
        if recipe.order == ChannelOrder::Bgr {
            matrix.reverse();
            bias.reverse();
        }
        Self { matrix, bias, scale: recipe.scale, offset: recipe.offset }
    }
}

/// Rows for R, G, B over Y, U, V code values, and the constant from the code values' origins.
pub(in crate::vision) fn yuv_to_rgb(colorimetry: Colorimetry) -> ([[f32; 3]; 3], [f32; 3]) {
    let (kr, kb): (f64, f64) = match colorimetry.matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
    };
    let kg = 1.0 - kr - kb;
    let (luma, black, chroma) = match colorimetry.range {
        Range::Limited => (255.0 / 219.0, 16.0, 255.0 / 224.0),
        Range::Full => (1.0, 0.0, 1.0),
    };
    let (cr, cb) = (2.0 * (1.0 - kr) * chroma, 2.0 * (1.0 - kb) * chroma);
    let rows = [[luma, 0.0, cr], [luma, -cb * kb / kg, -cr * kr / kg], [luma, cb, 0.0]];
    let bias = rows.map(|[y, u, v]| (-(y * black) - (u + v) * 128.0) as f32);
    (rows.map(|row| row.map(|c| c as f32)), bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(matrix: Matrix, range: Range, yuv: [f32; 3]) -> [f32; 3] {
        let (rows, bias) = yuv_to_rgb(Colorimetry { matrix, range });
        [0, 1, 2].map(|k| rows[k].iter().zip(yuv).map(|(c, v)| c * v).sum::<f32>() + bias[k])
    }

    #[test]
    fn black_white_and_grey_have_no_colour_in_any_matrix() {
        for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
            for (range, black, white) in [(Range::Limited, 16.0, 235.0), (Range::Full, 0.0, 255.0)] {
                for (y, expected) in [(black, 0.0), (white, 255.0)] {
                    for channel in rgb(matrix, range, [y, 128.0, 128.0]) {
                        assert!((channel - expected).abs() < 1e-2, "{matrix:?} {range:?} {y}: {channel}");
                    }
                }
            }
        }
    }

    #[test]
    fn primaries_come_out_pure() {
        // BT.709 limited code values of pure red and pure blue (ITU-R BT.709-6 §3, rounded to 8 bit).
        let red = rgb(Matrix::Bt709, Range::Limited, [63.0, 102.0, 240.0]);
        assert!((red[0] - 255.0).abs() < 2.0 && red[1].abs() < 2.0 && red[2].abs() < 2.0, "{red:?}");
        let blue = rgb(Matrix::Bt601, Range::Limited, [41.0, 240.0, 110.0]);
        assert!((blue[2] - 255.0).abs() < 2.0 && blue[0].abs() < 2.0 && blue[1].abs() < 2.0, "{blue:?}");
    }
}
