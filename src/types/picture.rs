//! Pixels as delivered by the decoder: planes, strides and colorimetry behind a handle that is cheap to clone.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Sample layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Three planes: Y, U, V, with chroma subsampled 2×2.
    I420,
    /// Two planes: Y and interleaved UV, with chroma subsampled 2×2.
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

/// Colorimetry as stated in the stream's caps. Meaningless for RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Colorimetry {
    /// The matrix.
    pub matrix: Matrix,
    /// The range.
    pub range: Range,
}

/// Rotation that makes the stored samples upright. Backends deliver upright pictures and use it only internally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Orientation {
    /// Already upright.
    #[default]
    Upright,
    /// Rotate by 90° clockwise.
    Clockwise90,
    /// Rotate by 180°.
    Half,
    /// Rotate by 90° counter-clockwise.
    CounterClockwise90,
}

/// Why a picture's samples cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the picture cannot be read: {0}")]
pub struct Unreadable(pub &'static str);

/// Memory of a picture's planes: a decoder's buffer, mapped on first use, or plain vectors.
pub trait Pixels: Send + Sync {
    /// The bytes of each plane, from its first sample to the end of its last row; unused ones are empty.
    ///
    /// Called by readers of the picture, from any thread, possibly several times: memory is mapped on the first call
    /// and stays mapped until the picture is dropped.
    ///
    /// # Errors
    /// When the memory cannot be mapped.
    fn planes(&self) -> Result<[&[u8]; 3], Unreadable>;
}

/// A picture: geometry and shared, read-only pixels. Cloning copies a pointer, and nothing is read or mapped before
/// [`planes`](Picture::planes) is called.
#[derive(Clone)]
pub struct Picture {
    /// Sample layout.
    pub format: PixelFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Interpretation of the YUV values.
    pub colorimetry: Colorimetry,
    strides: [usize; 3],
    pixels: Arc<dyn Pixels>,
}

impl Picture {
    /// Creates a picture over `pixels` without accessing them. `strides` are bytes per row of each plane; unused
    /// entries are 0. `None` if it has no size, or a stride is shorter than its row.
    pub fn new(
        format: PixelFormat,
        width: u32,
        height: u32,
        colorimetry: Colorimetry,
        strides: [usize; 3],
        pixels: Arc<dyn Pixels>,
    ) -> Option<Self> {
        let picture = Self { format, width, height, colorimetry, strides, pixels };
        let fits = (0..picture.plane_count()).all(|i| strides[i] >= picture.plane_size(i).0);
        (width > 0 && height > 0 && fits).then_some(picture)
    }

    /// A picture of the same shape over the pixels that `pixels` makes of this one.
    pub(super) fn over(self, pixels: impl FnOnce(Self) -> Arc<dyn Pixels>) -> Self {
        Self { pixels: pixels(self.clone()), ..self }
    }

    /// The samples, for reading; maps them on first use.
    ///
    /// # Errors
    /// When the memory cannot be mapped, or is too short for the picture's rows, so that readers need no further
    /// checks.
    pub fn planes(&self) -> Result<Planes<'_>, Unreadable> {
        let bytes = self.pixels.planes()?;
        let whole = (0..self.plane_count()).all(|i| {
            let (row_bytes, rows) = self.plane_size(i);
            bytes[i].len() >= self.strides[i] * (rows - 1) + row_bytes
        });
        if whole {
            Ok(Planes { picture: self, bytes })
        } else {
            Err(Unreadable("its planes are shorter than its size"))
        }
    }

    /// Number of planes of the format.
    pub fn plane_count(&self) -> usize {
        match self.format {
            PixelFormat::I420 => 3,
            PixelFormat::Nv12 => 2,
            PixelFormat::Rgb => 1,
        }
    }

    /// Bytes of samples in a row of plane `index`, and its number of rows.
    pub fn plane_size(&self, index: usize) -> (usize, usize) {
        let (w, h) = (self.width as usize, self.height as usize);
        match (self.format, index) {
            (PixelFormat::Rgb, _) => (w * 3, h),
            (_, 0) => (w, h),
            (PixelFormat::I420, _) => (w.div_ceil(2), h.div_ceil(2)),
            (PixelFormat::Nv12, _) => (w.div_ceil(2) * 2, h.div_ceil(2)),
        }
    }

    /// Bytes from one row of plane `index` to the next.
    pub fn stride(&self, index: usize) -> usize {
        self.strides[index]
    }

    /// A picture over planes in vectors, with `strides` bytes from row to row; `None` if they are too short for its
    /// size.
    pub fn from_planes(
        format: PixelFormat,
        width: u32,
        height: u32,
        colorimetry: Colorimetry,
        strides: [usize; 3],
        planes: [Vec<u8>; 3],
    ) -> Option<Self> {
        let picture = Self::new(format, width, height, colorimetry, strides, Arc::new(Owned(planes)))?;
        picture.planes().is_ok().then_some(picture)
    }

    /// An RGB picture over tightly packed bytes; `None` if their number is not `width * height * 3`.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Option<Self> {
        if rgb.len() != width as usize * height as usize * 3 {
            return None;
        }
        let colorimetry = Colorimetry { matrix: Matrix::Bt601, range: Range::Full };
        let strides = [width as usize * 3, 0, 0];
        Self::from_planes(PixelFormat::Rgb, width, height, colorimetry, strides, [rgb, vec![], vec![]])
    }

    /// An I420 picture over three tightly packed planes; `None` if they are too short.
    pub fn from_i420(width: u32, height: u32, colorimetry: Colorimetry, planes: [Vec<u8>; 3]) -> Option<Self> {
        let (w, c) = (width as usize, (width as usize).div_ceil(2));
        Self::from_planes(PixelFormat::I420, width, height, colorimetry, [w, c, c], planes)
    }
}

/// A picture whose samples are mapped. Derefs to the picture for its geometry.
#[derive(Debug, Clone, Copy)]
pub struct Planes<'a> {
    picture: &'a Picture,
    bytes: [&'a [u8]; 3],
}

impl<'a> Planes<'a> {
    /// The bytes of plane `index`; at least `stride * (rows - 1) + row_bytes` long.
    pub fn plane(&self, index: usize) -> &'a [u8] {
        self.bytes[index]
    }
}

impl Deref for Planes<'_> {
    type Target = Picture;

    fn deref(&self) -> &Picture {
        self.picture
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({:?} {}x{})", self.format, self.width, self.height)
    }
}

/// Planes in vectors.
struct Owned([Vec<u8>; 3]);

impl Pixels for Owned {
    fn planes(&self) -> Result<[&[u8]; 3], Unreadable> {
        Ok([&self.0[0], &self.0[1], &self.0[2]])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const COLOR: Colorimetry = Colorimetry { matrix: Matrix::Bt601, range: Range::Limited };

    /// Counts calls; `Err` from the second call on.
    struct Counted(AtomicUsize);

    impl Pixels for Counted {
        fn planes(&self) -> Result<[&[u8]; 3], Unreadable> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => Ok([&[1; 11], &[], &[]]),
                _ => Err(Unreadable("the driver has gone")),
            }
        }
    }

    #[test]
    fn memory_is_not_read_before_planes_are_requested() {
        let pixels = Arc::new(Counted(AtomicUsize::new(0)));
        let picture = Picture::new(PixelFormat::Rgb, 1, 2, COLOR, [8, 0, 0], pixels.clone()).unwrap();
        let again = picture.clone();
        assert_eq!((again.width, again.stride(0), again.plane_size(0)), (1, 8, (3, 2)));
        assert_eq!(pixels.0.load(Ordering::Relaxed), 0);
        assert_eq!(again.planes().unwrap().plane(0), [1; 11]);
        assert_eq!(picture.planes().unwrap_err(), Unreadable("the driver has gone"));
    }

    #[test]
    fn memory_that_is_too_short_is_an_error_of_whoever_reads_it() {
        let pixels = Arc::new(Counted(AtomicUsize::new(0)));
        let picture = Picture::new(PixelFormat::Rgb, 2, 2, COLOR, [6, 0, 0], pixels).unwrap();
        assert_eq!(picture.planes().unwrap_err().0, "its planes are shorter than its size");
    }

    #[test]
    fn a_shape_that_cannot_be_is_refused() {
        let of = |w, h, strides| Picture::from_planes(PixelFormat::Nv12, w, h, COLOR, strides, Default::default());
        assert!(of(0, 2, [8; 3]).is_none() && of(2, 0, [8; 3]).is_none());
        assert!(of(4, 2, [3, 4, 0]).is_none() && of(4, 2, [4, 3, 0]).is_none() && of(4, 2, [4, 4, 0]).is_none());
        assert!(Picture::from_rgb(2, 1, vec![0; 5]).is_none());
    }
}
