//! The drawing surface: a copy of a picture in packed I420.

use super::font;
use crate::types::{Picture, PixelFormat, Planes};

/// Y, U and V of a sample.
pub(super) type Colour = [u8; 3];

pub(super) const BLACK: Colour = [16, 128, 128];
pub(super) const WHITE: Colour = [235, 128, 128];

/// A rectangle in pixels; it may extend beyond the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) width: i64,
    pub(super) height: i64,
}

impl Rect {
    /// Number of pixels in both.
    pub(super) fn overlap(&self, other: &Self) -> i64 {
        let width = (self.x + self.width).min(other.x + other.width) - self.x.max(other.x);
        let height = (self.y + self.height).min(other.y + other.height) - self.y.max(other.y);
        width.max(0) * height.max(0)
    }
}

/// A picture's planes and size.
pub(super) struct Canvas {
    planes: [Vec<u8>; 3],
    pub(super) width: i64,
    pub(super) height: i64,
    /// Scale of text and lines: 1 up to a width of 959 pixels.
    pub(super) scale: i64,
}

impl Canvas {
    /// A copy of the picture; `None` for RGB, and for a picture that cannot be read.
    pub(super) fn of(picture: &Picture) -> Option<Self> {
        let planes = packed_i420(&picture.planes().ok()?)?;
        let (width, height) = (i64::from(picture.width), i64::from(picture.height));
        Some(Self { planes, width, height, scale: ((width + 320) / 640).max(1) })
    }

    /// The picture with the drawing.
    pub(super) fn finish(self, picture: &Picture) -> Option<Picture> {
        Picture::from_i420(picture.width, picture.height, picture.colorimetry, self.planes)
    }

    /// Converts a share of the width to pixels.
    pub(super) fn x(&self, share: f32) -> i64 {
        (f64::from(share) * self.width as f64).round() as i64
    }

    /// Converts a share of the height to pixels.
    pub(super) fn y(&self, share: f32) -> i64 {
        (f64::from(share) * self.height as f64).round() as i64
    }

    fn dot(&mut self, x: i64, y: i64, colour: Colour) {
        if !(0..self.width).contains(&x) || !(0..self.height).contains(&y) {
            return;
        }
        let chroma = (y / 2 * ((self.width + 1) / 2) + x / 2) as usize;
        for (plane, at) in [(y * self.width + x) as usize, chroma, chroma].into_iter().enumerate() {
            if let Some(sample) = self.planes[plane].get_mut(at) {
                *sample = colour[plane];
            }
        }
    }

    pub(super) fn fill(&mut self, area: Rect, colour: Colour) {
        for y in area.y.max(0)..(area.y + area.height).min(self.height) {
            for x in area.x.max(0)..(area.x + area.width).min(self.width) {
                self.dot(x, y, colour);
            }
        }
    }

    /// Draws the edges of a rectangle, inside it.
    pub(super) fn outline(&mut self, area: Rect, line: i64, colour: Colour) {
        let Rect { x, y, width, height } = area;
        let (thin, flat) = (line.min(width), line.min(height));
        if thin <= 0 || flat <= 0 {
            return;
        }
        self.fill(Rect { height: flat, ..area }, colour);
        self.fill(Rect { y: y + height - flat, height: flat, ..area }, colour);
        self.fill(Rect { width: thin, ..area }, colour);
        self.fill(Rect { x: x + width - thin, width: thin, ..area }, colour);
    }

    /// Draws a line between two points.
    pub(super) fn line(&mut self, from: (i64, i64), to: (i64, i64), line: i64, colour: Colour) {
        let (across, down) = (to.0 - from.0, to.1 - from.1);
        let steps = across.abs().max(down.abs()).max(1);
        for step in 0..=steps {
            let (x, y) = (from.0 + across * step / steps, from.1 + down * step / steps);
            self.fill(Rect { x: x - line / 2, y: y - line / 2, width: line, height: line }, colour);
        }
    }

    /// The size of a text with its background.
    pub(super) fn text_size(&self, text: &str) -> (i64, i64) {
        let letters = text.chars().count() as i64;
        ((letters * i64::from(font::ADVANCE) + 1) * self.scale, (i64::from(font::HEIGHT) + 2) * self.scale)
    }

    /// Draws a text on its background; `at` is the background's top left corner.
    pub(super) fn text(&mut self, at: (i64, i64), text: &str, ink: Colour, ground: Colour) {
        let ((width, height), scale) = (self.text_size(text), self.scale);
        self.fill(Rect { x: at.0, y: at.1, width, height }, ground);
        for (n, letter) in text.chars().enumerate() {
            let left = at.0 + (1 + n as i64 * i64::from(font::ADVANCE)) * scale;
            for (x, y) in (0..font::HEIGHT).flat_map(|y| (0..font::ADVANCE).map(move |x| (x, y))) {
                if font::has_ink(letter, x, y) {
                    let (x, y) = (left + i64::from(x) * scale, at.1 + (1 + i64::from(y)) * scale);
                    self.fill(Rect { x, y, width: scale, height: scale }, ink);
                }
            }
        }
    }
}

/// The picture's planes, tightly packed; `None` for RGB.
fn packed_i420(picture: &Planes<'_>) -> Option<[Vec<u8>; 3]> {
    let rows = |plane: usize| {
        let (bytes, rows) = picture.plane_size(plane);
        let (data, stride) = (picture.plane(plane), picture.stride(plane));
        (0..rows).map(move |row| &data[row * stride..row * stride + bytes])
    };
    match picture.format {
        PixelFormat::Rgb => None,
        PixelFormat::I420 => Some([0, 1, 2].map(|plane| rows(plane).flatten().copied().collect())),
        PixelFormat::Nv12 => {
            let chroma =
                |offset: usize| rows(1).flat_map(move |row| row[offset..].iter().step_by(2)).copied().collect();
            Some([rows(0).flatten().copied().collect(), chroma(0), chroma(1)])
        }
    }
}
