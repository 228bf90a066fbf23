//! The grid of cells that a picture's luma is sampled to.

use crate::types::{Picture, PixelFormat, Planes};

/// Approximate number of columns.
const COLUMNS: u32 = 320;

/// The mapping from pixels to cells.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Grid {
    pub(super) size: (u32, u32),
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// Side of a cell in pixels.
    pub(super) step: usize,
}

impl Grid {
    pub(super) fn of(picture: &Picture) -> Self {
        let step = ((picture.width + COLUMNS / 2) / COLUMNS).clamp(1, picture.height) as usize;
        Self {
            size: (picture.width, picture.height),
            columns: picture.width as usize / step,
            rows: picture.height as usize / step,
            step,
        }
    }

    pub(super) fn fits(&self, picture: &Picture) -> bool {
        self.size == (picture.width, picture.height)
    }

    pub(super) fn cells(&self) -> usize {
        self.columns * self.rows
    }

    /// Luma per cell: the mean of four samples, enough to halve the noise and far cheaper than reading every pixel. For
    /// large pictures memory reads dominate, so a large cell takes all four from its middle row.
    pub(super) fn sample(&self, picture: &Planes<'_>, out: &mut [f32]) {
        let Self { columns, rows, step, .. } = *self;
        let (plane, stride) = (picture.plane(0), picture.stride(0));
        let (_, [upper, lower]) = taps(step);
        let row = match picture.format {
            PixelFormat::I420 | PixelFormat::Nv12 => planar(step),
            PixelFormat::Rgb => packed,
        };
        let width = stride.min(columns * step * if picture.format == PixelFormat::Rgb { 3 } else { 1 });
        for (y, out) in out.chunks_exact_mut(columns).take(rows).enumerate() {
            let at = |at: usize| &plane[(y * step + at) * stride..];
            if step > 3 {
                fetch(&at(upper)[..width]);
            }
            row(at(upper), at(lower), step, out);
        }
    }
}

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Touches every cache line of a row up front: rows far apart defeat the hardware prefetcher, and sampling alone would
/// stall on each line.
fn fetch(row: &[u8]) {
    std::hint::black_box(row.iter().step_by(LINE_BYTES).fold(0, |seen, byte| seen ^ byte));
}

/// Sample positions in a cell: four columns, the first two in the first of the two rows.
const fn taps(step: usize) -> ([usize; 4], [usize; 2]) {
    let (near, far) = (step / 4, step - 1 - step / 4);
    if step < 4 {
        return ([near, far, near, far], [near, far]);
    }
    ([step / 8, 3 * step / 8, 5 * step / 8, 7 * step / 8], [step / 2; 2])
}

/// Samples one row of cells from two rows of pixels.
type Row = fn(&[u8], &[u8], usize, &mut [f32]);

/// The steps of common picture sizes (320 to 3840 columns) have specialised code; others share one function.
fn planar(step: usize) -> Row {
    match step {
        1 => fixed::<1>,
        2 => pairs,
        3 => fixed::<3>,
        4 => fixed::<4>,
        5 => fixed::<5>,
        6 => fixed::<6>,
        8 => fixed::<8>,
        12 => fixed::<12>,
        _ => any,
    }
}

fn fixed<const STEP: usize>(upper: &[u8], lower: &[u8], _step: usize, out: &mut [f32]) {
    let ([a0, a1, b0, b1], _) = const { taps(STEP) };
    let cells = upper.as_chunks::<STEP>().0.iter().zip(lower.as_chunks::<STEP>().0);
    for (out, (a, b)) in out.iter_mut().zip(cells) {
        *out = mean([a[a0], a[a1], b[b0], b[b1]]);
    }
}

/// Cells of two by two pixels: all pixels are read, so a pair is loaded at once.
fn pairs(upper: &[u8], lower: &[u8], _step: usize, out: &mut [f32]) {
    let cells = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
    for (out, (a, b)) in out.iter_mut().zip(cells) {
        let (a, b) = (u16::from_le_bytes(*a), u16::from_le_bytes(*b));
        *out = f32::from((a & 0xff) + (a >> 8) + (b & 0xff) + (b >> 8)) * 0.25;
    }
}

fn any(upper: &[u8], lower: &[u8], step: usize, out: &mut [f32]) {
    let ([a0, a1, b0, b1], _) = taps(step);
    let cells = upper.chunks_exact(step).zip(lower.chunks_exact(step));
    for (out, (a, b)) in out.iter_mut().zip(cells) {
        *out = mean([a[a0], a[a1], b[b0], b[b1]]);
    }
}

fn mean(samples: [u8; 4]) -> f32 {
    f32::from(samples.into_iter().map(u16::from).sum::<u16>()) * 0.25
}

/// Interleaved RGB: green counts twice, which approximates luma.
fn packed(upper: &[u8], lower: &[u8], step: usize, out: &mut [f32]) {
    let ([a0, a1, b0, b1], _) = taps(step);
    for (x, out) in out.iter_mut().enumerate() {
        let luma = |row: &[u8], at: usize| {
            let p = &row[(x * step + at) * 3..][..3];
            u16::from(p[0]) + 2 * u16::from(p[1]) + u16::from(p[2])
        };
        let sum = luma(upper, a0) + luma(upper, a1) + luma(lower, b0) + luma(lower, b1);
        *out = f32::from(sum) * 0.0625;
    }
}
