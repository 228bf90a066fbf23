//! Pixel access for guests: the mean colour of a part, a part as samples, a part as JPEG.
//!
//! The decoder's planes are box-averaged to the requested size before conversion to RGB, so that conversion costs
//! depend on the result's size only. Every result is bounded by [`SIDE_MAX`]. For a picture that cannot be read, every
//! function returns `None`.

use super::jpeg;
use super::preprocess::yuv_to_rgb;
use crate::types::{BBox, Picture, PixelFormat, Planes, Range};

/// Maximum side of a result, in pixels; larger requests are reduced to it.
pub const SIDE_MAX: u32 = 2048;

/// Sample layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One plane of interleaved R, G, B bytes.
    Rgb,
    /// One plane of luma, 0..255.
    Gray,
}

/// A copied part of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crop {
    /// Layout of `data`.
    pub format: Format,
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// The samples, `stride * height` bytes.
    pub data: Vec<u8>,
}

/// Mean red, green and blue (0..255) of a part, or of the whole picture. `None` if the part lies outside the picture.
pub fn mean(picture: &Picture, part: Option<BBox>) -> Option<[f32; 3]> {
    let (area, picture) = (Area::of(picture, part)?, picture.planes().ok()?);
    let [a, b, c] = [0, 1, 2].map(|component| average(&picture, component, area));
    if picture.format == PixelFormat::Rgb {
        return Some([a, b, c]);
    }
    // The matrix is linear: converting the mean equals averaging converted pixels, except for clipped values.
    let (rows, bias) = yuv_to_rgb(picture.colorimetry);
    Some([0, 1, 2].map(|k| (rows[k][0] * a + rows[k][1] * b + rows[k][2] * c + bias[k]).clamp(0.0, 255.0)))
}

/// Copies a part, shrunk so that its longer side is at most `max_side` pixels (never enlarged). `None` if the part lies
/// outside the picture.
pub fn crop(picture: &Picture, part: BBox, format: Format, max_side: u32) -> Option<Crop> {
    let (area, picture) = (Area::of(picture, Some(part))?, &picture.planes().ok()?);
    let (w, h) = area.within(max_side);
    let data = match format {
        Format::Rgb => rgb(picture, area, w, h),
        Format::Gray => gray(picture, area, w, h),
    };
    let (width, height) = (w as u32, h as u32);
    Some(Crop { format, width, height, stride: (data.len() / h) as u32, data })
}

/// Encodes a part, or the whole picture, as JPEG, shrunk likewise. `quality` is 1..=100. `None` if the part lies
/// outside the picture.
pub fn jpeg(picture: &Picture, part: Option<BBox>, max_side: u32, quality: u8) -> Option<Vec<u8>> {
    let area = Area::of(picture, part)?;
    let (w, h) = area.within(max_side);
    jpeg::encode_area(&picture.planes().ok()?, area, (u16::try_from(w).ok()?, u16::try_from(h).ok()?), quality)
}

/// A non-empty rectangle of pixels inside its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Area {
    /// The pixels that a part touches.
    pub(super) fn of(picture: &Picture, part: Option<BBox>) -> Option<Self> {
        let (w, h) = (picture.width as usize, picture.height as usize);
        let Some(part) = part else { return Some(Self { left: 0, top: 0, right: w, bottom: h }) };
        let part = part.clamped()?;
        let span = |from: f32, to: f32, size: usize| {
            let first = ((from * size as f32).floor() as usize).min(size - 1);
            (first, ((to * size as f32).ceil() as usize).clamp(first + 1, size))
        };
        let ((left, right), (top, bottom)) = (span(part.x, part.right(), w), span(part.y, part.bottom(), h));
        Some(Self { left, top, right, bottom })
    }

    /// The output size, with a longer side of at most `max_side`.
    fn within(self, max_side: u32) -> (usize, usize) {
        let (w, h) = (self.right - self.left, self.bottom - self.top);
        let most = max_side.clamp(1, SIDE_MAX) as usize;
        let longer = w.max(h);
        if longer <= most {
            return (w, h);
        }
        let scaled = |side: usize| ((side * most + longer / 2) / longer).max(1);
        (scaled(w), scaled(h))
    }

    /// The same area in samples of a component subsampled 2×2.
    fn halved(self) -> Self {
        let Self { left, top, right, bottom } = self;
        Self { left: left / 2, top: top / 2, right: right.div_ceil(2), bottom: bottom.div_ceil(2) }
    }
}

/// One component's position in its plane, and the part of it that an area covers.
struct Samples<'a> {
    plane: &'a [u8],
    stride: usize,
    /// Bytes between samples, and before the first one.
    step: usize,
    skip: usize,
    area: Area,
}

impl<'a> Samples<'a> {
    fn of(picture: &Planes<'a>, component: usize, area: Area) -> Self {
        let (plane, step, skip) = match (picture.format, component) {
            (PixelFormat::Rgb, _) => (0, 3, component),
            (_, 0) => (0, 1, 0),
            (PixelFormat::I420, _) => (component, 1, 0),
            (PixelFormat::Nv12, _) => (1, 2, component - 1),
        };
        let coarse = picture.format != PixelFormat::Rgb && component > 0;
        let area = if coarse { area.halved() } else { area };
        Self { plane: picture.plane(plane), stride: picture.stride(plane), step, skip, area }
    }

    fn row(&self, y: usize) -> impl Iterator<Item = u8> + '_ {
        let start = y * self.stride + self.area.left * self.step + self.skip;
        let bytes = (self.area.right - self.area.left - 1) * self.step + 1;
        self.plane[start..start + bytes].iter().step_by(self.step).copied()
    }
}

/// The mean code value of one component.
fn average(picture: &Planes<'_>, component: usize, area: Area) -> f32 {
    let samples = Samples::of(picture, component, area);
    let Area { left, top, right, bottom } = samples.area;
    // A row's sum of 8-bit samples fits into 32 bits for up to 16 million samples.
    let sum: u64 = (top..bottom).map(|y| u64::from(samples.row(y).map(u32::from).sum::<u32>())).sum();
    (sum as f64 / ((right - left) * (bottom - top)) as f64) as f32
}

/// One component of the area, box-averaged to `w` × `h`.
pub(super) fn shrink(picture: &Planes<'_>, component: usize, area: Area, w: usize, h: usize) -> Vec<u8> {
    let samples = Samples::of(picture, component, area);
    let (columns, rows) = (samples.area.right - samples.area.left, samples.area.bottom - samples.area.top);
    // The range of samples of an output pixel; at least one, because chroma may be coarser than the output.
    let span = |i: usize, from: usize, to: usize| (i * from / to, ((i + 1) * from / to).max(i * from / to + 1));
    let mut out = Vec::with_capacity(w * h);
    let mut sums = vec![0u32; columns];
    for y in 0..h {
        let (top, bottom) = span(y, rows, h);
        sums.fill(0);
        for row in top..bottom {
            for (sum, sample) in sums.iter_mut().zip(samples.row(samples.area.top + row)) {
                *sum += u32::from(sample);
            }
        }
        for x in 0..w {
            let (left, right) = span(x, columns, w);
            let count = ((right - left) * (bottom - top)) as u64;
            let sum: u64 = sums[left..right].iter().map(|s| u64::from(*s)).sum();
            // The average of bytes fits into a byte.
            out.push(((sum + count / 2) / count) as u8);
        }
    }
    out
}

fn rgb(picture: &Planes<'_>, area: Area, w: usize, h: usize) -> Vec<u8> {
    let [a, b, c] = [0, 1, 2].map(|component| shrink(picture, component, area, w, h));
    let points = a.iter().zip(&b).zip(&c).map(|((a, b), c)| [*a, *b, *c]);
    if picture.format == PixelFormat::Rgb {
        return points.flatten().collect();
    }
    let (rows, bias) = yuv_to_rgb(picture.colorimetry);
    points
        .flat_map(|point| {
            let point = point.map(f32::from);
            // The cast saturates and thereby clips.
            [0, 1, 2]
                .map(|k| (rows[k][0] * point[0] + rows[k][1] * point[1] + rows[k][2] * point[2] + bias[k] + 0.5) as u8)
        })
        .collect()
}

fn gray(picture: &Planes<'_>, area: Area, w: usize, h: usize) -> Vec<u8> {
    if picture.format == PixelFormat::Rgb {
        let [r, g, b] = [0, 1, 2].map(|component| shrink(picture, component, area, w, h));
        let brightness = |((r, g), b): ((&u8, &u8), &u8)| {
            (0.299 * f32::from(*r) + 0.587 * f32::from(*g) + 0.114 * f32::from(*b) + 0.5) as u8
        };
        return r.iter().zip(&g).zip(&b).map(brightness).collect();
    }
    let mut luma = shrink(picture, 0, area, w, h);
    if picture.colorimetry.range == Range::Limited {
        luma.iter_mut().for_each(|y| *y = ((f32::from(*y) - 16.0) * (255.0 / 219.0) + 0.5) as u8);
    }
    luma
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Colorimetry, Matrix};

    const LIMITED: Colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
    /// Red and blue in BT.709, limited.
    const RED: [u8; 3] = [63, 102, 240];
    const BLUE: [u8; 3] = [32, 240, 118];

    fn bbox(x: f32, y: f32, width: f32, height: f32) -> BBox {
        BBox { x, y, width, height }
    }

    /// Left half red, right half blue, with row padding filled with white.
    fn halves(format: PixelFormat, w: usize, h: usize) -> Picture {
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        let strides = [w * 3 + 5, w * 2 + 7, w + 9];
        let mut planes = [vec![235; strides[0] * h], vec![235; strides[1] * ch], vec![235; strides[2] * ch]];
        for y in 0..h {
            for x in 0..w {
                let colour = if x < w / 2 { RED } else { BLUE };
                let pure = if x < w / 2 { [255, 0, 0] } else { [0, 0, 255] };
                match format {
                    PixelFormat::Rgb => planes[0][y * strides[0] + x * 3..][..3].copy_from_slice(&pure),
                    _ => planes[0][y * strides[0] + x] = colour[0],
                }
            }
        }
        for (y, x) in (0..ch).flat_map(|y| (0..cw).map(move |x| (y, x))) {
            let colour = if x < cw / 2 { RED } else { BLUE };
            match format {
                PixelFormat::Nv12 => planes[1][y * strides[1] + x * 2..][..2].copy_from_slice(&colour[1..]),
                _ => (1..3).for_each(|c| planes[c][y * strides[c] + x] = colour[c]),
            }
        }
        Picture::from_planes(format, w as u32, h as u32, LIMITED, strides, planes).unwrap()
    }

    fn near(got: [f32; 3], want: [f32; 3]) -> bool {
        got.iter().zip(want).all(|(g, w)| (g - w).abs() < 2.5)
    }

    #[test]
    fn the_mean_is_in_true_colours_whatever_the_layout() {
        for format in [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Rgb] {
            let picture = halves(format, 64, 36);
            let of = |part| mean(&picture, part).unwrap();
            assert!(near(of(Some(bbox(0.0, 0.0, 0.5, 1.0))), [255.0, 0.0, 0.0]), "{format:?}");
            assert!(near(of(Some(bbox(0.5, 0.2, 0.9, 0.1))), [0.0, 0.0, 255.0]), "{format:?}: cut to the picture");
            assert!(near(of(None), [127.5, 0.0, 127.5]), "{format:?}: {:?}", of(None));
        }
    }

    #[test]
    fn a_crop_is_shrunk_to_its_longer_side_and_never_enlarged() {
        for format in [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Rgb] {
            let picture = halves(format, 64, 36);
            let whole = crop(&picture, bbox(0.0, 0.0, 1.0, 1.0), Format::Rgb, 16).unwrap();
            assert_eq!((whole.width, whole.height, whole.stride, whole.data.len()), (16, 9, 48, 48 * 9));
            assert!(near([0, 1, 2].map(|k| f32::from(whole.data[k])), [255.0, 0.0, 0.0]), "{format:?}");
            assert!(near([45, 46, 47].map(|k| f32::from(whole.data[k])), [0.0, 0.0, 255.0]), "{format:?}");
            let small = crop(&picture, bbox(0.0, 0.0, 0.1, 0.1), Format::Gray, 640).unwrap();
            assert_eq!((small.width, small.height, small.stride, small.data.len()), (7, 4, 7, 28));
            let bright = if format == PixelFormat::Rgb { 76 } else { 55 };
            assert!(small.data.iter().all(|v| v.abs_diff(bright) <= 1), "{format:?}: {:?}", small.data);
        }
    }

    #[test]
    fn odd_sizes_and_single_pixels_are_pictures_too() {
        for format in [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Rgb] {
            for (w, h) in [(1, 1), (3, 5), (17, 1), (1, 33)] {
                let picture = halves(format, w, h);
                for part in [bbox(0.0, 0.0, 1.0, 1.0), bbox(0.99, 0.99, 0.5, 0.5), bbox(0.5, 0.5, 1e-6, 1e-6)] {
                    assert!(mean(&picture, Some(part)).is_some());
                    for max in [0, 1, 2, u32::MAX] {
                        let crop = crop(&picture, part, Format::Rgb, max).unwrap();
                        assert_eq!(crop.data.len() as u32, crop.stride * crop.height, "{format:?} {w}x{h} {max}");
                        assert!(jpeg(&picture, Some(part), max, 80).is_some());
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_outside_is_none() {
        let picture = halves(PixelFormat::I420, 8, 8);
        for part in [bbox(1.5, 0.0, 1.0, 1.0), bbox(f32::NAN, 0.0, 1.0, 1.0), bbox(0.1, 0.1, 0.0, 0.5)] {
            assert_eq!(mean(&picture, Some(part)), None);
            assert_eq!(crop(&picture, part, Format::Rgb, 8), None);
            assert_eq!(jpeg(&picture, Some(part), 8, 80), None);
        }
    }

    #[test]
    fn what_is_handed_out_is_bounded() {
        let picture = Picture::from_rgb(5000, 2, vec![9; 30_000]).unwrap();
        let crop = crop(&picture, bbox(0.0, 0.0, 1.0, 1.0), Format::Gray, u32::MAX).unwrap();
        assert_eq!((crop.width, crop.height), (SIDE_MAX, 1));
        assert!(crop.data.iter().all(|v| *v == 9));
    }
}
