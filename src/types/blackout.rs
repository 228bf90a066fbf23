//! Areas of a source's picture that nobody may see, and the frames that nobody may read before they are painted.

use std::sync::{Arc, OnceLock};

use super::{Frame, Picture, PixelFormat, Pixels, Planes, Point, Polygon, Range, Unreadable};

/// Code value of chroma without colour.
const NO_COLOUR: u8 = 128;

/// The areas of a source's picture that are painted black. Cloning copies a pointer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Blackout(Arc<[Polygon]>);

impl Blackout {
    /// Every pixel whose centre lies in one of these areas is black.
    pub fn new(areas: Vec<Polygon>) -> Self {
        Self(areas.into())
    }

    /// Whether nothing is painted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The areas.
    pub fn areas(&self) -> &[Polygon] {
        &self.0
    }

    /// The picture with the areas painted black, in a copy made on first read; the same picture if there are none.
    pub fn paint(&self, picture: Picture) -> Picture {
        if self.is_empty() {
            return picture;
        }
        let pixels = |stored: Picture| {
            Arc::new(Painted { areas: self.clone(), stored, planes: OnceLock::new() }) as Arc<dyn Pixels>
        };
        picture.over(pixels)
    }

    /// A copy of the planes with the areas painted.
    fn planes(&self, stored: &Planes<'_>) -> [Vec<u8>; 3] {
        let mut planes = [0, 1, 2].map(|index| stored.plane(index).to_vec());
        for y in 0..stored.height as usize {
            for area in self.areas() {
                spans(area, y, stored.width as usize, stored.height as usize, |from, to| {
                    paint(stored, &mut planes, y, from, to);
                });
            }
        }
        planes
    }
}

/// Calls `on_span` with the first pixel and the one after the last of each run of pixels in row `y` whose centres lie
/// in the area, as [`Polygon::contains`] decides.
fn spans(area: &Polygon, y: usize, width: usize, height: usize, mut on_span: impl FnMut(usize, usize)) {
    let row = (y as f32 + 0.5) / height as f32;
    let centre = |x: usize| (x as f32 + 0.5) / width as f32;
    let points = area.points();
    let edges = points.iter().zip(points.iter().cycle().skip(points.len() - 1));
    let crossed = edges.filter(|(a, b)| (a.y > row) != (b.y > row));
    let mut crossings: Vec<f32> = crossed.map(|(Point { x, y }, b)| (b.x - x) * (row - y) / (b.y - y) + x).collect();
    crossings.sort_by(f32::total_cmp);
    // The first pixel whose centre is not left of a crossing. Casting saturates; the loops mend its rounding.
    let first = |crossing: f32| {
        let mut x = ((crossing * width as f32 - 0.5).ceil() as usize).min(width);
        while x > 0 && centre(x - 1) >= crossing {
            x -= 1;
        }
        while x < width && centre(x) < crossing {
            x += 1;
        }
        x
    };
    for pair in crossings.chunks_exact(2) {
        let (from, to) = (first(pair[0]), first(pair[1]));
        if from < to {
            on_span(from, to);
        }
    }
}

/// Paints the pixels `from..to` of row `y`. A chroma sample loses its colour if one of its pixels is painted, so that
/// no painted pixel keeps any; at an edge, its neighbours in the sample keep their brightness.
fn paint(picture: &Picture, planes: &mut [Vec<u8>; 3], y: usize, from: usize, to: usize) {
    let black = match (picture.format, picture.colorimetry.range) {
        (PixelFormat::I420 | PixelFormat::Nv12, Range::Limited) => 16,
        _ => 0,
    };
    let mut fill = |plane: usize, row: usize, from: usize, to: usize, value: u8| {
        let start = row * picture.stride(plane);
        if let Some(samples) = planes[plane].get_mut(start + from..start + to) {
            samples.fill(value);
        }
    };
    let (left, right) = (from / 2, to.div_ceil(2));
    match picture.format {
        PixelFormat::Rgb => fill(0, y, from * 3, to * 3, black),
        PixelFormat::I420 => {
            fill(0, y, from, to, black);
            fill(1, y / 2, left, right, NO_COLOUR);
            fill(2, y / 2, left, right, NO_COLOUR);
        }
        PixelFormat::Nv12 => {
            fill(0, y, from, to, black);
            fill(1, y / 2, left * 2, right * 2, NO_COLOUR);
        }
    }
}

/// A picture painted on first read.
struct Painted {
    areas: Blackout,
    stored: Picture,
    planes: OnceLock<[Vec<u8>; 3]>,
}

impl Pixels for Painted {
    fn planes(&self) -> Result<[&[u8]; 3], Unreadable> {
        let stored = self.stored.planes()?;
        let [a, b, c] = self.planes.get_or_init(|| self.areas.planes(&stored));
        Ok([a, b, c])
    }
}

/// A frame as a backend delivers it. Nothing reads, encodes or judges one: its picture is reached through
/// [`mask`](Self::mask) only, so no code past the backend can forget the source's blackout.
#[derive(Debug)]
pub struct Unmasked(Frame);

impl Unmasked {
    /// A frame of a backend.
    pub fn new(frame: Frame) -> Self {
        Self(frame)
    }

    /// The frame with the blackout's areas painted when its picture is first read.
    pub fn mask(self, blackout: &Blackout) -> Frame {
        let Self(mut frame) = self;
        frame.picture = frame.picture.map(|picture| blackout.paint(picture));
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Colorimetry, Matrix};

    fn polygon(points: &[(f32, f32)]) -> Polygon {
        Polygon::new(points.iter().map(|&(x, y)| Point { x, y }).collect()).unwrap()
    }

    fn areas() -> Blackout {
        let notched = polygon(&[(0.11, 0.07), (0.93, 0.21), (0.52, 0.47), (0.71, 0.88), (0.18, 0.79)]);
        let corner = polygon(&[(0.8, 0.8), (1.0, 0.8), (1.0, 1.0), (0.8, 1.0)]);
        Blackout::new(vec![notched, corner])
    }

    /// A picture in one colour; its rows have bytes to spare.
    fn bright(format: PixelFormat, (width, height): (u32, u32), range: Range) -> Picture {
        let (w, c) = (width as usize, (width as usize).div_ceil(2));
        let (h, ch) = (height as usize, (height as usize).div_ceil(2));
        let (strides, sizes) = match format {
            PixelFormat::Rgb => ([w * 3 + 5, 0, 0], [(w * 3 + 5) * h, 0, 0]),
            PixelFormat::I420 => ([w + 3, c + 1, c + 2], [(w + 3) * h, (c + 1) * ch, (c + 2) * ch]),
            PixelFormat::Nv12 => ([w + 3, c * 2 + 6, 0], [(w + 3) * h, (c * 2 + 6) * ch, 0]),
        };
        let colorimetry = Colorimetry { matrix: Matrix::Bt709, range };
        let planes = sizes.map(|size| vec![201; size]);
        Picture::from_planes(format, width, height, colorimetry, strides, planes).unwrap()
    }

    /// The three components of a pixel.
    fn pixel(planes: &Planes<'_>, x: usize, y: usize) -> [u8; 3] {
        let at = |plane: usize, x: usize, y: usize| planes.plane(plane)[y * planes.stride(plane) + x];
        match planes.format {
            PixelFormat::Rgb => [0, 1, 2].map(|c| at(0, x * 3 + c, y)),
            PixelFormat::I420 => [at(0, x, y), at(1, x / 2, y / 2), at(2, x / 2, y / 2)],
            PixelFormat::Nv12 => [at(0, x, y), at(1, x / 2 * 2, y / 2), at(1, x / 2 * 2 + 1, y / 2)],
        }
    }

    #[test]
    fn every_pixel_inside_is_black_in_every_layout_and_no_other_is_touched() {
        for (format, range, black) in [
            (PixelFormat::I420, Range::Limited, [16, 128, 128]),
            (PixelFormat::I420, Range::Full, [0, 128, 128]),
            (PixelFormat::Nv12, Range::Limited, [16, 128, 128]),
            (PixelFormat::Nv12, Range::Full, [0, 128, 128]),
            (PixelFormat::Rgb, Range::Full, [0, 0, 0]),
        ] {
            for (w, h) in [(64, 48), (65, 47), (1, 1), (2, 3)] {
                let blackout = areas();
                let painted = blackout.paint(bright(format, (w, h), range));
                let planes = painted.planes().unwrap();
                let inside = |x: usize, y: usize| {
                    let p = Point { x: (x as f32 + 0.5) / w as f32, y: (y as f32 + 0.5) / h as f32 };
                    x < w as usize && y < h as usize && blackout.areas().iter().any(|area| area.contains(p))
                };
                for (x, y) in (0..h as usize).flat_map(|y| (0..w as usize).map(move |x| (x, y))) {
                    let seen = pixel(&planes, x, y);
                    let shares = (0..4).any(|i| inside(x / 2 * 2 + i % 2, y / 2 * 2 + i / 2));
                    let expected = match (inside(x, y), format) {
                        (true, _) => black,
                        // The colour of a sample that a painted pixel shares is gone.
                        (false, PixelFormat::I420 | PixelFormat::Nv12) if shares => [201, 128, 128],
                        (false, _) => [201; 3],
                    };
                    assert_eq!(seen, expected, "{format:?} {range:?} {w} x {h} at {x}, {y}");
                }
            }
        }
    }

    #[test]
    fn bytes_past_the_end_of_a_row_stay_as_they_are() {
        let picture = bright(PixelFormat::Rgb, (8, 4), Range::Full);
        let all = Blackout::new(vec![polygon(&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])]);
        let painted = all.paint(picture);
        let bytes = painted.planes().unwrap().plane(0);
        assert!(bytes.chunks(29).all(|row| row[..24] == [0; 24] && row[24..].iter().all(|byte| *byte == 201)));
    }

    #[test]
    fn a_frame_without_areas_keeps_its_own_pixels() {
        let picture = bright(PixelFormat::I420, (8, 8), Range::Limited);
        let stored = picture.planes().unwrap().plane(0).as_ptr();
        let frame = Frame { picture: Some(picture), ..Frame::empty("a", 0) };
        let frame = Unmasked::new(frame).mask(&Blackout::default());
        assert_eq!(frame.picture.unwrap().planes().unwrap().plane(0).as_ptr(), stored, "nothing is copied");
    }

    #[test]
    fn a_picture_that_cannot_be_read_cannot_be_read_painted_either() {
        struct Gone;
        impl Pixels for Gone {
            fn planes(&self) -> Result<[&[u8]; 3], Unreadable> {
                Err(Unreadable("the driver has gone"))
            }
        }
        let colorimetry = Colorimetry { matrix: Matrix::Bt601, range: Range::Full };
        let gone = Picture::new(PixelFormat::Rgb, 2, 2, colorimetry, [6, 0, 0], Arc::new(Gone)).unwrap();
        assert_eq!(areas().paint(gone).planes().unwrap_err().0, "the driver has gone");
    }
}
