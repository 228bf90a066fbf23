//! Finds connected foreground and its bounding boxes.

use super::MotionSettings;
use super::grid::Grid;
use super::mask::Mask;
use super::scene::first_set;
use crate::types::BBox;

/// Minimum cells of a blob, whatever `min_area` says.
const CELLS_MIN: f32 = 4.0;

/// A moving object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blob {
    /// Its bounding box.
    pub bbox: BBox,
    /// How clearly it differs from the background, from 0.5 (barely) to 1: r/(1+r), with r = the mean of its cells'
    /// squared deviation in units of the squared threshold.
    pub contrast: f32,
    /// Number of its foreground cells.
    cells: u32,
}

/// A run of foreground cells in one row, and the totals of its component.
#[derive(Debug, Clone, Copy)]
struct Run {
    x0: u32,
    x1: u32,
    /// Index of its parent run (union-find); itself for a root.
    parent: u32,
    y0: u32,
    y1: u32,
    left: u32,
    right: u32,
    cells: u32,
    ratio: f32,
}

/// Finds the blobs of a mask; keeps its buffers between frames.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    runs: Vec<Run>,
    found: Vec<Blob>,
}

impl Blobs {
    pub(super) fn clear(&mut self) {
        self.found.clear();
    }

    pub(super) fn found(&self) -> &[Blob] {
        &self.found
    }

    /// Finds the connected components of the joined mask, largest first. Size and contrast count only cells of the
    /// core; `ratio` is a cell's contrast.
    pub(super) fn find(&mut self, mask: &Mask, grid: &Grid, settings: &MotionSettings, ratio: impl Fn(usize) -> f32) {
        self.runs.clear();
        let mut previous = 0..0;
        for y in 0..grid.rows {
            let first = self.runs.len();
            self.find_runs(mask, grid, y, &ratio);
            let mut above = previous.start;
            for run in first..self.runs.len() {
                // Runs in both rows are sorted, so one pass pairs all that touch.
                while above < previous.end && self.runs[above].x1 <= self.runs[run].x0 {
                    above += 1;
                }
                let mut touching = above;
                while touching < previous.end && self.runs[touching].x0 < self.runs[run].x1 {
                    unite(&mut self.runs, touching, run);
                    touching += 1;
                }
            }
            previous = first..self.runs.len();
        }
        self.read(grid, settings);
    }

    fn find_runs(&mut self, mask: &Mask, grid: &Grid, y: usize, ratio: &impl Fn(usize) -> f32) {
        let row = y * grid.columns..(y + 1) * grid.columns;
        let (joined, core) = (&mask.joined[row.clone()], &mask.core[row.clone()]);
        let mut x = 0;
        while let Some(start) = first_set(joined, x) {
            let end = joined[start..].iter().position(|v| *v == 0).map_or(joined.len(), |at| start + at);
            let mut run = Run {
                x0: start as u32,
                x1: end as u32,
                parent: self.runs.len() as u32,
                y0: u32::MAX,
                y1: 0,
                left: u32::MAX,
                right: 0,
                cells: 0,
                ratio: 0.0,
            };
            for at in (start..end).filter(|at| core[*at] != 0) {
                run.left = run.left.min(at as u32);
                run.right = at as u32 + 1;
                (run.y0, run.y1) = (y as u32, y as u32 + 1);
                run.cells += 1;
                run.ratio += ratio(row.start + at);
            }
            self.runs.push(run);
            x = end;
        }
    }

    fn read(&mut self, grid: &Grid, settings: &MotionSettings) {
        let cells_min = (settings.min_area * grid.cells() as f32).max(CELLS_MIN) as u32;
        let (width, height) = (grid.size.0 as f32, grid.size.1 as f32);
        let step = grid.step as f32;
        for (index, run) in self.runs.iter().enumerate() {
            if run.parent as usize != index || run.cells < cells_min {
                continue;
            }
            // The core's own edges are exact; shrinking the joined box would be wrong at the picture's border.
            let bbox = BBox::from_corners(
                run.left as f32 * step / width,
                run.y0 as f32 * step / height,
                (run.right as f32 * step / width).min(1.0),
                (run.y1 as f32 * step / height).min(1.0),
            );
            let r = run.ratio / run.cells as f32;
            self.found.push(Blob { bbox, contrast: r / (1.0 + r), cells: run.cells });
        }
        self.found.sort_by_key(|b| std::cmp::Reverse(b.cells));
        self.found.truncate(settings.max_objects);
    }
}

fn root(runs: &mut [Run], mut index: usize) -> usize {
    while runs[index].parent as usize != index {
        let parent = runs[index].parent as usize;
        runs[index].parent = runs[parent].parent;
        index = parent;
    }
    index
}

fn unite(runs: &mut [Run], a: usize, b: usize) {
    let (a, b) = (root(runs, a), root(runs, b));
    if a == b {
        return;
    }
    let (into, from) = (a.min(b), a.max(b));
    let lost = runs[from];
    runs[from].parent = into as u32;
    let kept = &mut runs[into];
    kept.left = kept.left.min(lost.left);
    kept.right = kept.right.max(lost.right);
    kept.y0 = kept.y0.min(lost.y0);
    kept.y1 = kept.y1.max(lost.y1);
    kept.cells += lost.cells;
    kept.ratio += lost.ratio;
}
