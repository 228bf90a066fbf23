//! The kernel in fixed point for AVX2: blends sixteen samples of a row, and eight output pixels, at a time.
//!
//! A blended row holds 15-bit samples (code value × 128). Eight samples and their right neighbours are extracted from
//! it, by byte shuffles up to a scale of about 6 and by gathers beyond; one multiply-add blends each pair with its pair
//! of 14-bit weights. The result is code value × 2²¹, which the colour matrix takes as a float. The difference from the
//! scalar kernel stays below a tenth of a code value.
#![allow(unsafe_code, reason = "loads, stores and gathers of a SIMD kernel; bounds are stated at each block")]

use std::arch::x86_64::*;

use crate::types::{PixelFormat, Planes};

use super::colour::Tone;
use super::taps::{Columns, LANES, Tables, Taps, steps};
use super::{Kernel, Target};

/// Samples blended per step.
const STEP: usize = 16;
/// Scale of the column blend: code value × this.
const UNIT: f32 = 128.0 * super::taps::COLUMN_ONE as f32;
/// Samples past the end of a row that a gather may read.
const SLACK: usize = 8;

pub(super) fn write(
    picture: &Planes<'_>,
    tables: &Tables,
    tone: &Tone,
    target: Target,
    rows: &mut [Vec<i16>; 3],
    out: &mut [f32],
) {
    if target.placement.width < LANES {
        // Narrower than one step.
        super::scalar::write(picture, tables, tone, target, &mut Default::default(), out);
        return;
    }
    debug_assert_eq!(Kernel::best(), Kernel::Avx2);
    // SAFETY: `Preprocessor` selects this kernel only where `Kernel::best` found AVX2 and FMA.
    unsafe { write_all(picture, tables, tone, target, rows, out) }
}

#[target_feature(enable = "avx2,fma")]
fn write_all(
    picture: &Planes<'_>,
    tables: &Tables,
    tone: &Tone,
    target: Target,
    rows: &mut [Vec<i16>; 3],
    out: &mut [f32],
) {
    let tone = Lanes::new(tone);
    let planes = [0, 1, 2].map(|i| Plane::of(picture, i));
    let (luma_width, chroma_width) = (picture.width as usize, (picture.width as usize).div_ceil(2));
    let widths = match picture.format {
        PixelFormat::Rgb => [luma_width * 3, 0, 0],
        _ => [luma_width, chroma_width, chroma_width],
    };
    for (row, width) in rows.iter_mut().zip(widths) {
        row.resize(width.next_multiple_of(STEP) + STEP + SLACK, 0);
    }
    for y in 0..target.placement.height {
        let [a, b, c] = &mut *rows;
        blend_rows(&planes[0], &tables.luma[1], y, a);
        match picture.format {
            PixelFormat::Rgb => {}
            PixelFormat::I420 => {
                blend_rows(&planes[1], &tables.chroma[1], y, b);
                blend_rows(&planes[2], &tables.chroma[1], y, c);
            }
            PixelFormat::Nv12 => blend_row_pairs(&planes[1], &tables.chroma[1], y, b, c),
        }
        let start = target.row_start(y);
        if picture.format == PixelFormat::Rgb {
            columns_of_rgb(a, tables, &tone, target, start, out);
        } else {
            columns_of_yuv([a, b, c], tables, &tone, target, start, out);
        }
    }
}

/// A plane's bytes and geometry.
struct Plane<'a> {
    bytes: &'a [u8],
    stride: usize,
    row_bytes: usize,
    rows: usize,
}

impl<'a> Plane<'a> {
    fn of(picture: &Planes<'a>, index: usize) -> Self {
        if index >= picture.plane_count() {
            return Self { bytes: &[], stride: 0, row_bytes: 0, rows: 0 };
        }
        let (row_bytes, rows) = picture.plane_size(index);
        Self { bytes: picture.plane(index), stride: picture.stride(index), row_bytes, rows }
    }

    /// The two source rows for output row `y`, and the second one's 15-bit weight.
    fn pair(&self, taps: &Taps, y: usize) -> (&'a [u8], &'a [u8], i16) {
        let (first, second, weight) = taps.at(y, self.rows);
        let row = |i: usize| &self.bytes[i * self.stride..i * self.stride + self.row_bytes];
        (row(first), row(second), (weight * 32767.0).round() as i16)
    }
}

/// a + (b − a)·w, as value × 128.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn blend(a: __m256i, b: __m256i, weight: __m256i) -> __m256i {
    let difference = _mm256_slli_epi16::<7>(_mm256_sub_epi16(b, a));
    _mm256_add_epi16(_mm256_slli_epi16::<7>(a), _mm256_mulhrs_epi16(difference, weight))
}

fn blend_one(a: u8, b: u8, weight: i16) -> i16 {
    let (a, difference) = (i32::from(a) << 7, (i32::from(b) - i32::from(a)) << 7);
    (a + ((difference * i32::from(weight) + (1 << 14)) >> 15)) as i16
}

#[target_feature(enable = "avx2,fma")]
fn blend_rows(plane: &Plane<'_>, taps: &Taps, y: usize, blended: &mut [i16]) {
    let (first, second, weight) = plane.pair(taps, y);
    let whole = first.len() / STEP * STEP;
    let w = _mm256_set1_epi16(weight);
    assert!(blended.len() >= first.len() && second.len() == first.len());
    for i in (0..whole).step_by(STEP) {
        // SAFETY: i + STEP ≤ whole ≤ the length of all three slices (asserted above).
        unsafe {
            let a = _mm256_cvtepu8_epi16(_mm_loadu_si128(first.as_ptr().add(i).cast()));
            if weight == 0 {
                // For whole-number scales the second row is not needed.
                _mm256_storeu_si256(blended.as_mut_ptr().add(i).cast(), _mm256_slli_epi16::<7>(a));
                continue;
            }
            let b = _mm256_cvtepu8_epi16(_mm_loadu_si128(second.as_ptr().add(i).cast()));
            _mm256_storeu_si256(blended.as_mut_ptr().add(i).cast(), blend(a, b, w));
        }
    }
    for i in whole..first.len() {
        blended[i] = blend_one(first[i], second[i], weight);
    }
}

/// Deinterleaves pairs (NV12's U and V) into two blended rows.
#[target_feature(enable = "avx2,fma")]
fn blend_row_pairs(plane: &Plane<'_>, taps: &Taps, y: usize, even: &mut [i16], odd: &mut [i16]) {
    let (first, second, weight) = plane.pair(taps, y);
    let pairs = first.len() / 2;
    let whole = pairs / STEP * STEP;
    let (w, low) = (_mm256_set1_epi16(weight), _mm256_set1_epi16(0xff));
    assert!(even.len() >= pairs && odd.len() >= pairs && second.len() == first.len());
    for i in (0..whole).step_by(STEP) {
        // SAFETY: 2·(i + STEP) ≤ the length of both source rows, i + STEP ≤ that of both blended rows.
        unsafe {
            let a = _mm256_loadu_si256(first.as_ptr().add(2 * i).cast());
            let b = _mm256_loadu_si256(second.as_ptr().add(2 * i).cast());
            let evens = blend(_mm256_and_si256(a, low), _mm256_and_si256(b, low), w);
            let odds = blend(_mm256_srli_epi16::<8>(a), _mm256_srli_epi16::<8>(b), w);
            _mm256_storeu_si256(even.as_mut_ptr().add(i).cast(), evens);
            _mm256_storeu_si256(odd.as_mut_ptr().add(i).cast(), odds);
        }
    }
    for i in whole..pairs {
        even[i] = blend_one(first[2 * i], second[2 * i], weight);
        odd[i] = blend_one(first[2 * i + 1], second[2 * i + 1], weight);
    }
}

/// The tone, broadcast to all lanes: scale, offset and the fixed-point unit are folded into matrix and bounds.
struct Lanes {
    matrix: [[__m256; 3]; 3],
    bias: [__m256; 3],
    /// The output values for 0 and 255.
    bounds: [[__m256; 2]; 3],
}

impl Lanes {
    #[target_feature(enable = "avx2,fma")]
    fn new(tone: &Tone) -> Self {
        let planes = [0, 1, 2];
        let ends = |k: usize| {
            let (a, b) = (tone.offset[k], 255.0 * tone.scale[k] + tone.offset[k]);
            [a.min(b), a.max(b)]
        };
        Self {
            matrix: planes.map(|k| tone.matrix[k].map(|c| _mm256_set1_ps(c * tone.scale[k] / UNIT))),
            bias: planes.map(|k| _mm256_set1_ps(tone.bias[k] * tone.scale[k] + tone.offset[k])),
            bounds: planes.map(|k| ends(k).map(|end| _mm256_set1_ps(end))),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn plane(&self, k: usize, components: [__m256; 3]) -> __m256 {
        let [m0, m1, m2] = self.matrix[k];
        let mixed = _mm256_fmadd_ps(m0, components[0], self.bias[k]);
        let mixed = _mm256_fmadd_ps(m1, components[1], mixed);
        let mixed = _mm256_fmadd_ps(m2, components[2], mixed);
        let [low, high] = self.bounds[k];
        _mm256_min_ps(_mm256_max_ps(mixed, low), high)
    }

    /// Writes eight pixels to `at` in each plane.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn store(&self, components: [__m256i; 3], plane: usize, at: usize, out: &mut [f32]) {
        // No closures or `map` here: they are compiled without the CPU features and not inlined.
        let [a, b, c] = components;
        let components = [_mm256_cvtepi32_ps(a), _mm256_cvtepi32_ps(b), _mm256_cvtepi32_ps(c)];
        assert!(at + 2 * plane + LANES <= out.len());
        for k in 0..3 {
            let values = self.plane(k, components);
            // SAFETY: at + k·plane + LANES ≤ out.len() for every k ≤ 2 (asserted above).
            unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(at + k * plane), values) };
        }
    }
}

/// Eight samples, starting at `first`, with their right neighbours.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn pairs_at(row: &[i16], first: &[u32; LANES], mask: Option<&[u8; 4 * LANES]>) -> __m256i {
    // SAFETY: each of `first` is a sample of the row by construction of `Taps`, and the row is more than SLACK samples
    // longer than its samples: a window of eight samples, or a pair, from there on is inside it.
    unsafe {
        let Some(mask) = mask else {
            return _mm256_i32gather_epi32::<2>(row.as_ptr().cast(), _mm256_loadu_si256(first.as_ptr().cast()));
        };
        let window = |output: usize| row.as_ptr().add(first[output] as usize).cast::<__m128i>();
        let mask = _mm256_loadu_si256(mask.as_ptr().cast());
        let outer = _mm256_shuffle_epi8(_mm256_loadu2_m128i(window(4), window(0)), mask);
        let inner = _mm256_shuffle_epi8(_mm256_loadu2_m128i(window(6), window(2)), mask);
        _mm256_blend_epi32::<0b1100_1100>(outer, inner)
    }
}

/// Eight values from index `x` on.
#[inline]
fn eight<T>(values: &[T], x: usize) -> &[T; LANES] {
    #[allow(clippy::expect_used, reason = "`steps` yields x ≤ length − LANES; the bound is checked once here")]
    values[x..].first_chunk().expect("eight values from a step's start on")
}

/// Eight samples and their right neighbours, each pair blended by its weights.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn blend_columns(row: &[i16], taps: &Taps, columns: &Columns, step: usize, x: usize) -> __m256i {
    let mask = columns.masks.as_ref().map(|masks| &masks[step]);
    let samples = pairs_at(row, eight(&taps.first, x), mask);
    // SAFETY: `eight` returns eight weights.
    let weights = unsafe { _mm256_loadu_si256(eight(&columns.pairs, x).as_ptr().cast()) };
    _mm256_madd_epi16(samples, weights)
}

#[target_feature(enable = "avx2,fma")]
fn columns_of_yuv(
    rows: [&mut Vec<i16>; 3],
    tables: &Tables,
    tone: &Lanes,
    target: Target,
    start: usize,
    out: &mut [f32],
) {
    for (step, x) in steps(target.placement.width).enumerate() {
        let y = blend_columns(rows[0], &tables.luma[0], &tables.luma_columns, step, x);
        let u = blend_columns(rows[1], &tables.chroma[0], &tables.chroma_columns, step, x);
        let v = blend_columns(rows[2], &tables.chroma[0], &tables.chroma_columns, step, x);
        tone.store([y, u, v], target.plane, start + x, out);
    }
}

/// Three interleaved components: a pixel and its right neighbour are six consecutive samples, so one load and one
/// shuffle yield the three pairs of an output pixel; four pixels at a time are transposed into components.
#[target_feature(enable = "avx2,fma")]
fn columns_of_rgb(row: &[i16], tables: &Tables, tone: &Lanes, target: Target, start: usize, out: &mut [f32]) {
    // R0 G0 B0 R1 G1 B1 → R0 R1, G0 G1, B0 B1, nothing.
    let sort = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1));
    for x in steps(target.placement.width) {
        let first = eight(&tables.luma[0].first, x);
        // SAFETY: `eight` returns eight weights.
        let weights = unsafe { _mm256_loadu_si256(eight(&tables.luma_columns.pairs, x).as_ptr().cast()) };
        let p0 = _mm256_madd_epi16(two_pixels(row, first, 0, sort), _mm256_shuffle_epi32::<0b00_00_00_00>(weights));
        let p1 = _mm256_madd_epi16(two_pixels(row, first, 1, sort), _mm256_shuffle_epi32::<0b01_01_01_01>(weights));
        let p2 = _mm256_madd_epi16(two_pixels(row, first, 2, sort), _mm256_shuffle_epi32::<0b10_10_10_10>(weights));
        let p3 = _mm256_madd_epi16(two_pixels(row, first, 3, sort), _mm256_shuffle_epi32::<0b11_11_11_11>(weights));
        let (rg01, rg23) = (_mm256_unpacklo_epi32(p0, p1), _mm256_unpacklo_epi32(p2, p3));
        let (b01, b23) = (_mm256_unpackhi_epi32(p0, p1), _mm256_unpackhi_epi32(p2, p3));
        let components =
            [_mm256_unpacklo_epi64(rg01, rg23), _mm256_unpackhi_epi64(rg01, rg23), _mm256_unpacklo_epi64(b01, b23)];
        tone.store(components, target.plane, start + x, out);
    }
}

/// The source pixels of output pixels `i` and `i + 4`, sorted into pairs.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn two_pixels(row: &[i16], first: &[u32; LANES], i: usize, sort: __m256i) -> __m256i {
    // SAFETY: each of `first` is a pixel of the row by construction of `Taps`; eight samples from it on are read, and
    // the row is more than SLACK samples longer than its pixels.
    let samples = unsafe {
        let low = row.as_ptr().add(first[i] as usize * 3).cast::<__m128i>();
        let high = row.as_ptr().add(first[i + 4] as usize * 3).cast::<__m128i>();
        _mm256_loadu2_m128i(high, low)
    };
    _mm256_shuffle_epi8(samples, sort)
}

#[cfg(test)]
mod tests {
    use crate::types::{Colorimetry, Matrix, Picture, Range};
    use crate::vision::letterbox::Fit;
    use crate::vision::preprocess::{ChannelOrder, Preprocessor, Recipe};

    use super::*;

    fn any_picture(random: &mut fastrand::Rng) -> Picture {
        let format = random.choice([PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Rgb]).unwrap();
        let (width, height) = (random.u32(1..200), random.u32(1..90));
        let (w, h) = (width as usize, height as usize);
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        let sizes = match format {
            PixelFormat::I420 => [(w, h), (cw, ch), (cw, ch)],
            PixelFormat::Nv12 => [(w, h), (2 * cw, ch), (0, 0)],
            PixelFormat::Rgb => [(3 * w, h), (0, 0), (0, 0)],
        };
        let strides = sizes.map(|(row, _)| if row == 0 { 0 } else { row + random.usize(0..40) });
        // The last row lacks its padding, as from some decoders: nothing after it may be read.
        let planes = [0, 1, 2].map(|i| {
            let (row, rows) = sizes[i];
            let bytes = if row == 0 { 0 } else { strides[i] * (rows - 1) + row };
            (0..bytes).map(|_| random.u8(..)).collect::<Vec<_>>()
        });
        let colorimetry = Colorimetry {
            matrix: random.choice([Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020]).unwrap(),
            range: random.choice([Range::Limited, Range::Full]).unwrap(),
        };
        Picture::from_planes(format, width, height, colorimetry, strides, planes).unwrap()
    }

    #[test]
    fn it_equals_the_scalar_kernel_for_any_size_stride_format_and_fit() {
        if Kernel::best() != Kernel::Avx2 {
            println!("SKIP it_equals_the_scalar_kernel: this CPU has no AVX2");
            return;
        }
        let mut random = fastrand::Rng::with_seed(42);
        let mut worst = 0.0_f32;
        for _ in 0..400 {
            let picture = any_picture(&mut random);
            let recipe = Recipe {
                fit: random.choice([Fit::TopLeft, Fit::Centre, Fit::Stretch]).unwrap(),
                order: random.choice([ChannelOrder::Rgb, ChannelOrder::Bgr]).unwrap(),
                scale: random.choice([[1.0; 3], [0.5, 0.25, 2.0]]).unwrap(),
                offset: [0.0, 1.0, -3.0],
                pad: 114.0,
            };
            let input = (random.usize(1..150), random.usize(1..80));
            let run = |kernel| {
                let mut preprocessor = Preprocessor::with_kernel(recipe, input, kernel);
                let mut out = vec![f32::NAN; preprocessor.floats()];
                preprocessor.write(&picture.planes().unwrap(), &mut out, &mut None);
                out
            };
            let (a, b) = (run(Kernel::Scalar), run(Kernel::Avx2));
            let worst_here = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 0.255), "{picture:?} {recipe:?} {input:?}");
            worst = worst.max(worst_here);
        }
        assert!(worst < 0.1, "fixed point is nearer than the bound: {worst}");
    }
}
