//! Places a picture inside a network's input, and maps boxes back to 0..1 of the original picture.

use crate::types::BBox;

/// How a picture is fitted into the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fit {
    /// Keeps the aspect ratio, in the top-left corner, with padding for the rest (YOLOX).
    TopLeft,
    /// Keeps the aspect ratio, centred, with padding on two sides (Ultralytics).
    Centre,
    /// Stretches over the whole input.
    Stretch,
}

/// The rectangle of the input that a picture covers, in input pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Left edge.
    pub x: usize,
    /// Top edge.
    pub y: usize,
    /// Width, at least 1.
    pub width: usize,
    /// Height, at least 1.
    pub height: usize,
}

impl Placement {
    /// Places a picture of `source` (width, height) into an input of `input` (width, height); all at least 1.
    ///
    /// Sizes and margins are rounded like in the models' training tools: YOLOX truncates, Ultralytics rounds and puts
    /// the odd padding pixel at the bottom and the right.
    pub fn new(fit: Fit, source: (u32, u32), input: (usize, usize)) -> Self {
        let (sw, sh) = (f64::from(source.0), f64::from(source.1));
        let (iw, ih) = (input.0 as f64, input.1 as f64);
        let ratio = (iw / sw).min(ih / sh);
        let size = |side: f64, limit: usize| ((side * ratio).round() as usize).clamp(1, limit);
        // Rounding errors just below a whole number must not lose a pixel.
        let cut = |side: f64, limit: usize| ((side * ratio + 1e-9).floor() as usize).clamp(1, limit);
        match fit {
            Fit::Stretch => Self { x: 0, y: 0, width: input.0, height: input.1 },
            Fit::TopLeft => Self { x: 0, y: 0, width: cut(sw, input.0), height: cut(sh, input.1) },
            Fit::Centre => {
                let (width, height) = (size(sw, input.0), size(sh, input.1));
                Self { x: (input.0 - width) / 2, y: (input.1 - height) / 2, width, height }
            }
        }
    }

    /// Maps a box in input pixels (corners) to 0..1 of the original picture, without clamping.
    pub fn to_picture(&self, corners: [f32; 4]) -> BBox {
        let [x0, y0, x1, y1] = corners;
        let (x, y) = (self.x as f32, self.y as f32);
        let (w, h) = (self.width as f32, self.height as f32);
        BBox { x: (x0 - x) / w, y: (y0 - y) / h, width: (x1 - x0) / w, height: (y1 - y0) / h }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aspect_ratio_is_kept_and_the_padding_lies_where_the_fit_says() {
        let at = |fit, source, input| {
            let p = Placement::new(fit, source, input);
            (p.x, p.y, p.width, p.height)
        };
        assert_eq!(at(Fit::TopLeft, (480, 360), (416, 416)), (0, 0, 416, 312));
        assert_eq!(at(Fit::Centre, (1920, 1080), (640, 640)), (0, 140, 640, 360));
        assert_eq!(at(Fit::Centre, (1080, 1920), (640, 640)), (140, 0, 360, 640));
        assert_eq!(at(Fit::Centre, (100, 75), (640, 641)), (0, 80, 640, 480));
        assert_eq!(at(Fit::Stretch, (480, 360), (320, 240)), (0, 0, 320, 240));
    }

    #[test]
    fn a_picture_of_any_shape_covers_at_least_one_pixel_and_never_leaves_the_input() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2000 {
            let source = (random.u32(1..8000), random.u32(1..8000));
            let input = (random.usize(1..1300), random.usize(1..1300));
            for fit in [Fit::TopLeft, Fit::Centre, Fit::Stretch] {
                let p = Placement::new(fit, source, input);
                assert!(p.width >= 1 && p.height >= 1, "{source:?} {input:?} {p:?}");
                assert!(p.x + p.width <= input.0 && p.y + p.height <= input.1, "{source:?} {input:?} {p:?}");
            }
        }
    }

    #[test]
    fn the_way_back_undoes_the_way_in() {
        let mut random = fastrand::Rng::with_seed(8);
        for fit in [Fit::TopLeft, Fit::Centre, Fit::Stretch] {
            for _ in 0..200 {
                let p = Placement::new(fit, (random.u32(16..4000), random.u32(16..4000)), (640, 384));
                let (w, h) = (p.width as f32, p.height as f32);
                let original = BBox { x: 0.25, y: 0.125, width: 0.5, height: 0.25 };
                let corners = [
                    p.x as f32 + original.x * w,
                    p.y as f32 + original.y * h,
                    p.x as f32 + original.right() * w,
                    p.y as f32 + original.bottom() * h,
                ];
                let back = p.to_picture(corners);
                assert!((back.x - original.x).abs() < 1e-4 && (back.width - original.width).abs() < 1e-3);
                assert!((back.y - original.y).abs() < 1e-3 && (back.height - original.height).abs() < 1e-3);
            }
        }
    }
}
