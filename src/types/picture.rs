//! Pixels as the decoder left them: planes, strides and colorimetry behind a handle that is cheap to clone.

use std::fmt;
use std::sync::Arc;

/// How the samples are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Three planes: Y, U, V, chroma halved both ways.
    I420,
    /// Two planes: Y and interleaved UV, chroma halved both ways.
    Nv12,
    /// One plane of interleaved R, G, B bytes.
    Rgb,
}

/// The YUV→RGB matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// ITU-R BT.601 (standard definition).
    Bt601,
    /// ITU-R BT.709 (high definition).
    Bt709,
    /// ITU-R BT.2020 (ultra-high definition, non-constant luminance).
    Bt2020,
}

/// The range of code values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Range {
    /// Luma 16..235, chroma 16..240.
    Limited,
    /// 0..255.
    Full,
}

/// Colorimetry as the stream's caps state it. Meaningless for RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Colorimetry {
    /// The matrix.
    pub matrix: Matrix,
    /// The range.
    pub range: Range,
}

/// How to turn the stored samples upright. Backends deliver upright pictures and use it only while doing so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Orientation {
    /// Already upright.
    #[default]
    Upright,
    /// Turn by 90° clockwise.
    Clockwise90,
    /// Turn by 180°.
    Half,
    /// Turn by 90° counter-clockwise.
    CounterClockwise90,
}

/// Memory that holds a picture's planes. Implemented over a mapped decoder buffer, or over a plain vector.
pub trait Pixels: Send + Sync {
    /// The bytes of plane `index`, from its first sample to the end of its last row.
    fn plane(&self, index: usize) -> &[u8];
}

/// A picture: geometry plus shared, read-only pixels. Cloning copies a pointer.
#[derive(Clone)]
pub struct Picture {
    /// Sample layout.
    pub format: PixelFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What the YUV values mean.
    pub colorimetry: Colorimetry,
    strides: [usize; 3],
    pixels: Arc<dyn Pixels>,
}

impl Picture {
    /// A picture over `pixels`. `strides` are bytes per row of each plane; unused entries are 0.
    /// `None` when a plane is shorter than its rows need, so that readers need no further check.
    pub fn new(
        format: PixelFormat,
        width: u32,
        height: u32,
        colorimetry: Colorimetry,
        strides: [usize; 3],
        pixels: Arc<dyn Pixels>,
    ) -> Option<Self> {
        let picture = Self { format, width, height, colorimetry, strides, pixels };
        let fits = width > 0
            && height > 0
            && (0..picture.plane_count()).all(|i| {
                let (row_bytes, rows) = picture.plane_size(i);
                strides[i] >= row_bytes && picture.pixels.plane(i).len() >= strides[i] * (rows - 1) + row_bytes
            });
        fits.then_some(picture)
    }

    /// Number of planes of the format.
    pub fn plane_count(&self) -> usize {
        match self.format {
            PixelFormat::I420 => 3,
            PixelFormat::Nv12 => 2,
            PixelFormat::Rgb => 1,
        }
    }

    /// Bytes that carry samples in a row of plane `index`, and its number of rows.
    pub fn plane_size(&self, index: usize) -> (usize, usize) {
        let (w, h) = (self.width as usize, self.height as usize);
        match (self.format, index) {
            (PixelFormat::Rgb, _) => (w * 3, h),
            (_, 0) => (w, h),
            (PixelFormat::I420, _) => (w.div_ceil(2), h.div_ceil(2)),
            (PixelFormat::Nv12, _) => (w.div_ceil(2) * 2, h.div_ceil(2)),
        }
    }

    /// The bytes of plane `index`; at least `stride * (rows - 1) + row_bytes` long.
    pub fn plane(&self, index: usize) -> &[u8] {
        self.pixels.plane(index)
    }

    /// Bytes from one row of plane `index` to the next.
    pub fn stride(&self, index: usize) -> usize {
        self.strides[index]
    }

    /// An RGB picture over tightly packed bytes; `None` when their number is not `width * height * 3`.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Option<Self> {
        if rgb.len() != width as usize * height as usize * 3 {
            return None;
        }
        let colorimetry = Colorimetry { matrix: Matrix::Bt601, range: Range::Full };
        Self::new(
            PixelFormat::Rgb,
            width,
            height,
            colorimetry,
            [width as usize * 3, 0, 0],
            Arc::new(Packed([rgb, vec![], vec![]])),
        )
    }

    /// An I420 picture over three tightly packed planes; `None` when their sizes do not fit.
    pub fn from_i420(width: u32, height: u32, colorimetry: Colorimetry, planes: [Vec<u8>; 3]) -> Option<Self> {
        let (w, c) = (width as usize, (width as usize).div_ceil(2));
        Self::new(PixelFormat::I420, width, height, colorimetry, [w, c, c], Arc::new(Packed(planes)))
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({:?} {}x{})", self.format, self.width, self.height)
    }
}

/// Planes in vectors of our own.
struct Packed([Vec<u8>; 3]);

impl Pixels for Packed {
    fn plane(&self, index: usize) -> &[u8] {
        &self.0[index]
    }
}
