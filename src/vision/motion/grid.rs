//! The grid that a picture's luma is sampled down to.

use crate::types::{Picture, PixelFormat};

/// Columns the picture is sampled down to, about.
const COLUMNS: u32 = 320;

/// Which pixels make a cell.
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

    /// Brightness per cell: the mean of four samples a quarter in from the cell's corners, enough to halve the noise
    /// and far cheaper than reading every pixel.
    pub(super) fn sample(&self, picture: &Picture, out: &mut [f32]) {
        let Self { columns, rows, step, .. } = *self;
        let (plane, stride) = (picture.plane(0), picture.stride(0));
        let (near, far) = taps(step);
        let row = match picture.format {
            PixelFormat::I420 | PixelFormat::Nv12 => planar(step),
            PixelFormat::Rgb => packed,
        };
        for (y, out) in out.chunks_exact_mut(columns).take(rows).enumerate() {
            let at = |at: usize| &plane[(y * step + at) * stride..];
            row(at(near), at(far), step, out);
        }
    }
}

/// The two positions within a cell, the same across and down.
const fn taps(step: usize) -> (usize, usize) {
    (step / 4, step - 1 - step / 4)
}

/// Samples one row of cells from its two rows of pixels.
type Row = fn(&[u8], &[u8], usize, &mut [f32]);

/// The sizes of usual pictures (320 to 3840 columns) have their own code, with fixed distances; others share one.
fn planar(step: usize) -> Row {
    match step {
        1 => fixed::<1>,
        2 => fixed::<2>,
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
    let (near, far) = const { taps(STEP) };
    let cells = upper.as_chunks::<STEP>().0.iter().zip(lower.as_chunks::<STEP>().0);
    for (out, (a, b)) in out.iter_mut().zip(cells) {
        *out = mean([a[near], a[far], b[near], b[far]]);
    }
}

fn any(upper: &[u8], lower: &[u8], step: usize, out: &mut [f32]) {
    let (near, far) = taps(step);
    let cells = upper.chunks_exact(step).zip(lower.chunks_exact(step));
    for (out, (a, b)) in out.iter_mut().zip(cells) {
        *out = mean([a[near], a[far], b[near], b[far]]);
    }
}

fn mean(samples: [u8; 4]) -> f32 {
    f32::from(samples.into_iter().map(u16::from).sum::<u16>()) * 0.25
}

/// Red, green and blue beside each other: green counts twice, which is luma enough.
fn packed(upper: &[u8], lower: &[u8], step: usize, out: &mut [f32]) {
    let (near, far) = taps(step);
    for (x, out) in out.iter_mut().enumerate() {
        let luma = |row: &[u8], at: usize| {
            let p = &row[(x * step + at) * 3..][..3];
            u16::from(p[0]) + 2 * u16::from(p[1]) + u16::from(p[2])
        };
        let sum = luma(upper, near) + luma(upper, far) + luma(lower, near) + luma(lower, far);
        *out = f32::from(sum) * 0.0625;
    }
}
