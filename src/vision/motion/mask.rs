//! The foreground mask: specks removed, and dilated so that fragments join.

use super::grid::Grid;

/// Cells by which the mask is dilated to join fragments; boxes do not grow by it.
const JOIN: usize = 2;

/// One byte per cell, 0 or 1.
#[derive(Debug, Default)]
pub(super) struct Mask {
    /// Foreground by majority in each 3×3 neighbourhood.
    pub(super) core: Vec<u8>,
    /// `core`, dilated by [`JOIN`] in each direction.
    pub(super) joined: Vec<u8>,
    scratch: Vec<u8>,
}

impl Mask {
    pub(super) fn resize(&mut self, cells: usize) {
        for plane in [&mut self.core, &mut self.joined, &mut self.scratch] {
            plane.clear();
            plane.resize(cells, 0);
        }
    }

    /// Computes both masks from the raw foreground. Both passes are separable.
    pub(super) fn clean(&mut self, moving: &[u8], grid: &Grid) {
        let (columns, rows) = (grid.columns, grid.rows);
        if columns < 3 || rows < 3 {
            self.core.fill(0);
            self.joined.fill(0);
            return;
        }
        for (row, out) in moving.chunks_exact(columns).zip(self.scratch.chunks_exact_mut(columns)) {
            out[0] = row[0] + row[1];
            out[columns - 1] = row[columns - 2] + row[columns - 1];
            let threes = row.iter().zip(&row[1..]).zip(&row[2..]);
            for (((left, at), right), out) in threes.zip(&mut out[1..]) {
                *out = left + at + right;
            }
        }
        for y in 0..rows {
            let row = |y: usize| &self.scratch[y * columns..(y + 1) * columns];
            let (above, below) = (row(y.saturating_sub(1)), row((y + 1).min(rows - 1)));
            let out = &mut self.core[y * columns..(y + 1) * columns];
            for (((a, b), c), out) in above.iter().zip(row(y)).zip(below).zip(out) {
                *out = u8::from(a + b + c >= 5);
            }
        }
        self.join(columns, rows);
    }

    fn join(&mut self, columns: usize, rows: usize) {
        for (row, out) in self.core.chunks_exact(columns).zip(self.scratch.chunks_exact_mut(columns)) {
            out.copy_from_slice(row);
            for by in 1..=JOIN.min(columns - 1) {
                out[by..].iter_mut().zip(row).for_each(|(o, v)| *o |= v);
                out.iter_mut().zip(&row[by..]).for_each(|(o, v)| *o |= v);
            }
        }
        for y in 0..rows {
            let out = &mut self.joined[y * columns..(y + 1) * columns];
            out.fill(0);
            for from in y.saturating_sub(JOIN)..=(y + JOIN).min(rows - 1) {
                let row = &self.scratch[from * columns..(from + 1) * columns];
                out.iter_mut().zip(row).for_each(|(o, v)| *o |= v);
            }
        }
    }
}
