//! Converts a picture to network input in one pass: resize, YUV→RGB, normalisation, three float planes.
//!
//! Reads the decoder's own samples (I420, NV12, RGB) and writes floats directly into the session's input, without an
//! intermediate picture. Rows are blended first, then columns, then the components are converted to RGB: so the colour
//! matrix runs once per output pixel instead of once per source pixel.
//!
//! **Geometry** matches `cv2.resize(INTER_LINEAR)`: half-pixel centres, two taps, edges repeated. **Chroma** matches a
//! picture first converted to RGB with each chroma sample repeated over its 2×2 pixels: the luma taps halved. Models of
//! this kind are usually fed this way, and the agreement figures of `tests/it/infer.rs` refer to it.
//!
//! [`scalar`] is the reference, [`avx2`] the same in fixed point, for CPUs that have it.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod colour;
mod scalar;
mod taps;

use crate::types::{Picture, PixelFormat, Planes};
use crate::vision::letterbox::{Fit, Placement};

use colour::Tone;
pub(super) use colour::yuv_to_rgb;
use taps::Tables;

/// Maximum picture geometries with cached resampling tables: sources that share a worker take turns.
const GEOMETRIES_MAX: usize = 16;

/// The order of the three planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// The input a network expects: value = code value (0..255) × `scale` + `offset`, per plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    /// How the picture is fitted.
    pub fit: Fit,
    /// Order of the planes.
    pub order: ChannelOrder,
    /// Factor per plane, in output order.
    pub scale: [f32; 3],
    /// Offset per plane, in output order.
    pub offset: [f32; 3],
    /// Code value of the padding, before scale and offset.
    pub pad: f32,
}

impl Recipe {
    /// Normalises to (code / 255 − mean) / std per plane.
    pub fn normalised(fit: Fit, order: ChannelOrder, mean: [f32; 3], std: [f32; 3], pad: f32) -> Self {
        let scale = std.map(|s| 1.0 / (255.0 * s));
        Self { fit, order, scale, offset: [0, 1, 2].map(|k| -mean[k] / std[k]), pad }
    }

    /// The value of the padding in plane `k`.
    fn padding(&self, k: usize) -> f32 {
        self.pad * self.scale[k] + self.offset[k]
    }
}

/// A kernel implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Plain floats, on any CPU: the reference.
    Scalar,
    /// Fixed point on AVX2 and FMA.
    Avx2,
}

impl Kernel {
    /// The fastest one that this CPU supports.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return Self::Avx2;
        }
        Self::Scalar
    }
}

/// Writes pictures into a network's input. Caches tables and row buffers, so each thread has its own.
#[derive(Debug)]
pub struct Preprocessor {
    recipe: Recipe,
    input: (usize, usize),
    kernel: Kernel,
    tables: Vec<Tables>,
    float_rows: [Vec<f32>; 3],
    fixed_rows: [Vec<i16>; 3],
}

impl Preprocessor {
    /// Creates one for an input of `input` (width, height), with this CPU's fastest kernel.
    pub fn new(recipe: Recipe, input: (usize, usize)) -> Self {
        Self::with_kernel(recipe, input, Kernel::best())
    }

    /// The same with a given kernel; an unsupported one is replaced by the scalar one.
    pub fn with_kernel(recipe: Recipe, input: (usize, usize), kernel: Kernel) -> Self {
        let kernel = if kernel == Kernel::best() { kernel } else { Kernel::Scalar };
        Self { recipe, input, kernel, tables: vec![], float_rows: Default::default(), fixed_rows: Default::default() }
    }

    /// Number of floats for one picture: three planes.
    pub fn floats(&self) -> usize {
        3 * self.input.0 * self.input.1
    }

    /// Writes `picture` into `out` and returns its placement.
    ///
    /// `painted` is the placement whose padding `out` already contains, and is updated: padding is written only once
    /// for consecutive pictures of the same size.
    ///
    /// # Panics
    /// When `out` is not [`Self::floats`] long: the caller slices it from the session's input.
    pub fn write(&mut self, picture: &Planes<'_>, out: &mut [f32], painted: &mut Option<Placement>) -> Placement {
        assert_eq!(out.len(), self.floats(), "one picture's three planes");
        let placement = Placement::new(self.recipe.fit, (picture.width, picture.height), self.input);
        if *painted != Some(placement) {
            self.paint(out);
            *painted = Some(placement);
        }
        let index = self.tables_for(picture, placement);
        let tone = Tone::new(picture, &self.recipe);
        let target = Target { placement, width: self.input.0, plane: self.input.0 * self.input.1 };
        let tables = &self.tables[index];
        match self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => avx2::write(picture, tables, &tone, target, &mut self.fixed_rows, out),
            _ => scalar::write(picture, tables, &tone, target, &mut self.float_rows, out),
        }
        placement
    }

    /// Fills an input with padding.
    pub fn paint(&self, out: &mut [f32]) {
        let plane = self.input.0 * self.input.1;
        for (k, values) in out.chunks_exact_mut(plane).enumerate() {
            values.fill(self.recipe.padding(k));
        }
    }

    fn tables_for(&mut self, picture: &Picture, placement: Placement) -> usize {
        let subsampled = picture.format != PixelFormat::Rgb;
        let key = (picture.width, picture.height, subsampled);
        if let Some(index) = self.tables.iter().position(|t| t.key == key) {
            return index;
        }
        if self.tables.len() == GEOMETRIES_MAX {
            self.tables.remove(0);
        }
        self.tables.push(Tables::new(key, placement));
        self.tables.len() - 1
    }
}

/// The output rectangle in each of the three planes.
#[derive(Debug, Clone, Copy)]
struct Target {
    placement: Placement,
    width: usize,
    plane: usize,
}

impl Target {
    /// Index of the first float of the rectangle's row `row` in plane 0.
    fn row_start(&self, row: usize) -> usize {
        (self.placement.y + row) * self.width + self.placement.x
    }
}
