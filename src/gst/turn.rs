//! Rotates a picture upright, according to its stream's orientation tag.
//!
//! Not done by `videoflip`: the tag may arrive after the pipeline is linked, and most streams have no tag and need no
//! extra element.

use std::sync::{Arc, OnceLock};

use crate::types::{Picture, PixelFormat, Pixels, Planes, Unreadable};

/// One of the eight orientations: sample (x, y) of the upright picture is sample (y, x) of the stored one if `swap`,
/// then mirrored along the stored picture's axes. The default is upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Turn {
    swap: bool,
    mirror_x: bool,
    mirror_y: bool,
}

impl Turn {
    /// Parses GStreamer's `image-orientation` tag; `None` for an unknown value.
    pub(super) fn from_tag(tag: &str) -> Option<Self> {
        let (swap, mirror_x, mirror_y) = match tag {
            "rotate-0" => (false, false, false),
            "rotate-90" => (true, false, true),
            "rotate-180" => (false, true, true),
            "rotate-270" => (true, true, false),
            "flip-rotate-0" => (false, true, false),
            "flip-rotate-90" => (true, true, true),
            "flip-rotate-180" => (false, false, true),
            "flip-rotate-270" => (true, false, false),
            _ => return None,
        };
        Some(Self { swap, mirror_x, mirror_y })
    }

    /// Packs it for an atomic.
    pub(super) fn to_bits(self) -> u8 {
        u8::from(self.swap) | u8::from(self.mirror_x) << 1 | u8::from(self.mirror_y) << 2
    }

    /// Unpacks [`Turn::to_bits`].
    pub(super) fn from_bits(bits: u8) -> Self {
        Self { swap: bits & 1 != 0, mirror_x: bits & 2 != 0, mirror_y: bits & 4 != 0 }
    }

    /// The upright picture: the same one if nothing changes, else an I420 copy, made on first read. `None` for RGB,
    /// which no decoder here delivers.
    pub(super) fn apply(self, picture: Picture) -> Option<Picture> {
        if self == Self::default() {
            return Some(picture);
        }
        if picture.format == PixelFormat::Rgb {
            return None;
        }
        let (w, h) = if self.swap { (picture.height, picture.width) } else { (picture.width, picture.height) };
        let (colorimetry, chroma) = (picture.colorimetry, (w as usize).div_ceil(2));
        let turned = Turned { turn: self, stored: picture, planes: OnceLock::new() };
        Picture::new(PixelFormat::I420, w, h, colorimetry, [w as usize, chroma, chroma], Arc::new(turned))
    }

    /// The three planes of the upright picture, tightly packed.
    fn planes(self, stored: &Planes<'_>) -> [Vec<u8>; 3] {
        let (w, h) = (stored.width as usize, stored.height as usize);
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        let plane = |index: usize, w, h, step, offset| {
            self.plane(&stored.plane(index)[offset..], stored.stride(index), w, h, step)
        };
        let chroma = match stored.format {
            PixelFormat::Nv12 => [plane(1, cw, ch, 2, 0), plane(1, cw, ch, 2, 1)],
            _ => [plane(1, cw, ch, 1, 0), plane(2, cw, ch, 1, 0)],
        };
        let [u, v] = chroma;
        [plane(0, w, h, 1, 0), u, v]
    }

    /// One plane of `w` x `h` samples, `step` bytes apart, rotated and tightly packed.
    fn plane(self, from: &[u8], stride: usize, w: usize, h: usize, step: usize) -> Vec<u8> {
        let (out_w, out_h) = if self.swap { (h, w) } else { (w, h) };
        let mut out = Vec::with_capacity(out_w * out_h);
        for y in 0..out_h {
            out.extend((0..out_w).map(|x| {
                let (sx, sy) = if self.swap { (y, x) } else { (x, y) };
                let sx = if self.mirror_x { w - 1 - sx } else { sx };
                let sy = if self.mirror_y { h - 1 - sy } else { sy };
                from[sy * stride + sx * step]
            }));
        }
        out
    }
}

/// A picture rotated on first read.
struct Turned {
    turn: Turn,
    stored: Picture,
    planes: OnceLock<[Vec<u8>; 3]>,
}

impl Pixels for Turned {
    fn planes(&self) -> Result<[&[u8]; 3], Unreadable> {
        let stored = self.stored.planes()?;
        let [y, u, v] = self.planes.get_or_init(|| self.turn.planes(&stored));
        Ok([y, u, v])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Colorimetry, Matrix, Range};

    const COLOR: Colorimetry = Colorimetry { matrix: Matrix::Bt601, range: Range::Limited };

    /// 3x2 luma `abc/def`, 2x1 chroma.
    fn picture() -> Picture {
        Picture::from_i420(3, 2, COLOR, [b"abcdef".to_vec(), b"uv".to_vec(), b"UV".to_vec()]).unwrap()
    }

    #[test]
    fn each_tag_turns_as_its_name_says() {
        for (tag, luma) in [
            ("rotate-0", "abcdef"),
            ("rotate-90", "daebfc"),
            ("rotate-180", "fedcba"),
            ("rotate-270", "cfbead"),
            ("flip-rotate-0", "cbafed"),
            ("flip-rotate-90", "fcebda"),
            ("flip-rotate-180", "defabc"),
            ("flip-rotate-270", "adbecf"),
        ] {
            let turn = Turn::from_tag(tag).unwrap();
            assert_eq!(Turn::from_bits(turn.to_bits()), turn);
            let turned = turn.apply(picture()).unwrap();
            assert_eq!(turned.planes().unwrap().plane(0), luma.as_bytes(), "{tag}");
            let sideways = tag.ends_with("90") || tag.ends_with("270");
            assert_eq!((turned.width, turned.height), if sideways { (2, 3) } else { (3, 2) }, "{tag}");
        }
        assert_eq!(Turn::from_tag("sideways"), None);
    }

    #[test]
    fn nv12_comes_out_as_i420() {
        // Rows are 4 bytes apart; the bytes past the third are padding.
        let planes = [b"abc.def.".to_vec(), b"uUvV".to_vec(), vec![]];
        let nv12 = Picture::from_planes(PixelFormat::Nv12, 3, 2, COLOR, [4, 4, 0], planes).unwrap();
        let turn = Turn::from_tag("rotate-180").unwrap();
        let (a, b) = (turn.apply(nv12).unwrap(), turn.apply(picture()).unwrap());
        assert_eq!(a.format, PixelFormat::I420);
        assert!((0..3).all(|i| a.planes().unwrap().plane(i) == b.planes().unwrap().plane(i)));
    }
}
