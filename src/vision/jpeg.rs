//! Encodes pictures as JPEG for viewing: box-averaged to size, then encoded. Not for analysis.
//!
//! JPEG uses BT.601 full range; one 3×3 matrix converts from the stream's own matrix and range, so colours are right
//! for every source.

use jpeg_encoder::{Encoder, ImageBuffer, JpegColorType, SamplingFactor};

use super::pixels::{Area, shrink};
use crate::types::{Matrix, Picture, PixelFormat, Planes, Range};

/// Fixed-point one: 2^16.
const ONE: f32 = 65_536.0;

/// Encodes the picture, at most `max_width` pixels wide (never enlarged), with `quality` 1..=100. `None` for a size
/// that JPEG cannot hold, and for a picture that cannot be read.
pub fn encode(picture: &Picture, max_width: u32, quality: u8) -> Option<Vec<u8>> {
    let width = picture.width.min(max_width.max(1));
    let height = (u64::from(picture.height) * u64::from(width)).div_ceil(u64::from(picture.width)).max(1);
    let size = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    encode_area(&picture.planes().ok()?, Area::of(picture, None)?, size, quality)
}

/// Encodes a part of the picture, scaled to the given size.
pub(super) fn encode_area(
    picture: &Planes<'_>,
    area: Area,
    (width, height): (u16, u16),
    quality: u8,
) -> Option<Vec<u8>> {
    let small = Small::new(picture, area, width, height);
    let mut out = Vec::with_capacity(usize::from(width) * usize::from(height) / 4);
    let mut encoder = Encoder::new(&mut out, quality.clamp(1, 100));
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode_image(small).ok()?;
    Some(out)
}

/// A picture in JPEG's colours and final size, as planes.
struct Small {
    width: u16,
    height: u16,
    planes: [Vec<u8>; 3],
}

impl Small {
    fn new(picture: &Planes<'_>, area: Area, width: u16, height: u16) -> Self {
        let mut planes = [0, 1, 2].map(|c| shrink(picture, c, area, usize::from(width), usize::from(height)));
        recolor(picture, &mut planes);
        Self { width, height, planes }
    }
}

/// Converts the planes from the picture's colours to JPEG's, in place.
fn recolor(picture: &Picture, planes: &mut [Vec<u8>; 3]) {
    let jpeg = from_rgb(0.299, 0.114);
    let (matrix, offsets) = match picture.format {
        PixelFormat::Rgb => (jpeg, [0.0; 3]),
        _ => {
            let (matrix, range) = (picture.colorimetry.matrix, picture.colorimetry.range);
            if (matrix, range) == (Matrix::Bt601, Range::Full) {
                return;
            }
            let (kr, kb) = match matrix {
                Matrix::Bt601 => (0.299, 0.114),
                Matrix::Bt709 => (0.2126, 0.0722),
                Matrix::Bt2020 => (0.2627, 0.0593),
            };
            let (luma, chroma, black) = match range {
                Range::Limited => (255.0 / 219.0, 255.0 / 224.0, 16.0),
                Range::Full => (1.0, 1.0, 0.0),
            };
            let mut to_rgb = into_rgb(kr, kb);
            for row in &mut to_rgb {
                *row = [row[0] * luma, row[1] * chroma, row[2] * chroma];
            }
            (multiply(&jpeg, &to_rgb), [black, 128.0, 128.0])
        }
    };
    // out = matrix · (in - offsets) + [0, 128, 128], rounded.
    let fixed = matrix.map(|row| row.map(|v| (v * ONE).round() as i32));
    let add: [i32; 3] = std::array::from_fn(|i| {
        let shift: f32 = (0..3).map(|j| matrix[i][j] * offsets[j]).sum();
        let center = if i == 0 { 0.0 } else { 128.0 };
        ((center - shift + 0.5) * ONE) as i32
    });
    let [a, b, c] = planes;
    for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
        let sample = [i32::from(*a), i32::from(*b), i32::from(*c)];
        let value = |i: usize| {
            let sum = fixed[i][0] * sample[0] + fixed[i][1] * sample[1] + fixed[i][2] * sample[2] + add[i];
            (sum >> 16).clamp(0, 255) as u8
        };
        (*a, *b, *c) = (value(0), value(1), value(2));
    }
}

/// RGB → full-range YCbCr with the luma weights of red and blue.
fn from_rgb(kr: f32, kb: f32) -> [[f32; 3]; 3] {
    let kg = 1.0 - kr - kb;
    let (cb, cr) = (2.0 * (1.0 - kb), 2.0 * (1.0 - kr));
    [[kr, kg, kb], [-kr / cb, -kg / cb, (1.0 - kb) / cb], [(1.0 - kr) / cr, -kg / cr, -kb / cr]]
}

/// Full-range YCbCr → RGB.
fn into_rgb(kr: f32, kb: f32) -> [[f32; 3]; 3] {
    let kg = 1.0 - kr - kb;
    let (cb, cr) = (2.0 * (1.0 - kb), 2.0 * (1.0 - kr));
    [[1.0, 0.0, cr], [1.0, -cb * kb / kg, -cr * kr / kg], [1.0, cb, 0.0]]
}

fn multiply(a: &[[f32; 3]; 3], b: &[[f32; 3]; 3]) -> [[f32; 3]; 3] {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

impl ImageBuffer for Small {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let width = usize::from(self.width);
        for (plane, buffer) in self.planes.iter().zip(buffers) {
            buffer.extend_from_slice(&plane[usize::from(y) * width..][..width]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Colorimetry, Picture};

    /// Three planes of one value each.
    fn flat(format: PixelFormat, w: u32, h: u32, colorimetry: Colorimetry, value: [u8; 3]) -> Picture {
        // Strides with padding, filled with values that must not be read.
        let (row, crow) = (w as usize * 3 + 5, w as usize + 7);
        let (rows, crows) = (h as usize, (h as usize).div_ceil(2));
        let mut planes = [vec![255; row * rows], vec![255; crow * crows], vec![255; crow * crows]];
        let (cw, w_) = ((w as usize).div_ceil(2), w as usize);
        let mut put = |plane: usize, stride: usize, y: usize, x: usize, v: u8| planes[plane][y * stride + x] = v;
        for y in 0..rows {
            for x in 0..w_ {
                match format {
                    PixelFormat::Rgb => (0..3).for_each(|c| put(0, row, y, 3 * x + c, value[c])),
                    _ => put(0, row, y, x, value[0]),
                }
            }
        }
        for y in 0..crows {
            for x in 0..cw {
                match format {
                    PixelFormat::Nv12 => (1..3).for_each(|c| put(1, crow, y, 2 * x + c - 1, value[c])),
                    _ => (1..3).for_each(|c| put(c, crow, y, x, value[c])),
                }
            }
        }
        Picture::from_planes(format, w, h, colorimetry, [row, crow, crow], planes).unwrap()
    }

    #[test]
    fn colours_survive_every_format_matrix_and_range() {
        // Pure red in each colorimetry, and its value in JPEG.
        let red = [76, 85, 255];
        let cases = [
            (PixelFormat::Rgb, Matrix::Bt601, Range::Full, [255, 0, 0]),
            (PixelFormat::I420, Matrix::Bt601, Range::Full, [76, 85, 255]),
            (PixelFormat::I420, Matrix::Bt601, Range::Limited, [81, 90, 240]),
            (PixelFormat::Nv12, Matrix::Bt709, Range::Limited, [63, 102, 240]),
            (PixelFormat::I420, Matrix::Bt2020, Range::Limited, [74, 97, 240]),
        ];
        for (format, matrix, range, value) in cases {
            for (w, h) in [(64, 48), (33, 17), (1, 1)] {
                let picture = flat(format, w, h, Colorimetry { matrix, range }, value);
                let small = Small::new(
                    &picture.planes().unwrap(),
                    Area::of(&picture, None).unwrap(),
                    (w as u16).min(20),
                    (h as u16).min(10),
                );
                for (plane, want) in small.planes.iter().zip(red) {
                    assert!(plane.iter().all(|v| v.abs_diff(want) <= 2), "{format:?} {matrix:?} {range:?}: {plane:?}");
                }
            }
        }
    }

    #[test]
    fn shrinking_averages_boxes() {
        let rgb: Vec<u8> = [0u8, 100, 200, 60].iter().flat_map(|v| [*v; 3]).collect();
        let picture = Picture::from_rgb(4, 1, rgb).unwrap();
        assert_eq!(shrink(&picture.planes().unwrap(), 0, Area::of(&picture, None).unwrap(), 2, 1), [50, 130]);
    }

    #[test]
    fn it_is_a_jpeg_of_the_asked_width_and_the_right_shape() {
        let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
        for (w, h, max, want) in
            [(1920, 1080, 640, (640, 360)), (320, 240, 640, (320, 240)), (31, 1001, 10, (10, 323)), (1, 1, 640, (1, 1))]
        {
            let jpeg = encode(&flat(PixelFormat::I420, w, h, colorimetry, [100, 128, 128]), max, 75).unwrap();
            assert_eq!((&jpeg[..2], &jpeg[jpeg.len() - 2..]), (&[0xff, 0xd8][..], &[0xff, 0xd9][..]));
            // Start of frame: marker, length, precision, height, width.
            let sof = jpeg.windows(2).position(|m| m == [0xff, 0xc0]).unwrap();
            let number = |at: usize| u32::from(jpeg[sof + at]) << 8 | u32::from(jpeg[sof + at + 1]);
            assert_eq!((number(7), number(5)), want, "{w}x{h}");
        }
        assert!(encode(&flat(PixelFormat::I420, 1, 70_000, colorimetry, [0; 3]), 640, 75).is_none());
    }
}
