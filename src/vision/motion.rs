//! Background motion: what differs from what the camera usually sees, as boxes.
//!
//! The picture's luma is sampled down to about 320 columns; each cell keeps a running mean and variance of its
//! brightness on frame time. The camera's exposure (the median ratio of all cells to their means) is taken out
//! first: a white car makes the camera darken everything else. A cell that is then further from its mean than its
//! own noise explains is foreground. What stays foreground without changing becomes background after a while; until
//! then the old background is kept, so that someone who stood still leaves no ghost. A majority filter removes
//! specks, a dilation joins fragments, connected cells become a box. Pure values: the same pictures and times give
//! the same boxes. Look next at `strategy::Motion`.

use crate::types::{BBox, Picture, PixelFormat};

/// Columns the picture is sampled down to, about.
const COLUMNS: u32 = 320;
/// Least variance a cell is granted: camera noise of 2.5 levels.
const VARIANCE_MIN: f32 = 6.25;
/// Most variance a cell is granted, so that a flickering cell is not blind for good.
const VARIANCE_MAX: f32 = 400.0;
/// Time constant of learning the background.
const LEARN_S: f32 = 6.0;
/// How long a cell has to be foreground of one brightness to become background: a car that parks is part of the
/// scene after this.
const ABSORB_S: f32 = 30.0;
/// Exposure ratios taken out; beyond them the light changed, not the exposure.
const EXPOSURE: std::ops::RangeInclusive<f32> = 0.6..=1.65;
/// Share of an exposure change that a cell may be off by: cameras do not scale all brightnesses alike.
const EXPOSURE_SLACK: f32 = 0.25;
/// Share of foreground cells from which the light changed, not the scene: learn anew instead of alarming.
const LIGHT_SHARE: f32 = 0.6;
/// Fewest frames of a warm-up, however slow the camera.
const WARM_UP_FRAMES: u32 = 8;
/// A gap in frame time after which nothing learned is trusted any more.
const GAP_NS_MAX: u64 = 10_000_000_000;
/// Cells by which foreground grows to join fragments; boxes shrink back by it.
const JOIN: usize = 2;

/// What to look for.
#[derive(Debug, Clone, PartialEq)]
pub struct MotionSettings {
    /// How many standard deviations of its own noise a cell must leave its mean by. Lower sees more and errs more.
    pub threshold: f32,
    /// Smallest share of the picture that a moving thing covers.
    pub min_area: f32,
    /// Frame time to learn the background for before anything is reported.
    pub warm_up_ns: u64,
    /// Most boxes per frame, largest first.
    pub max_objects: usize,
}

impl Default for MotionSettings {
    fn default() -> Self {
        Self { threshold: 4.0, min_area: 0.0015, warm_up_ns: 1_000_000_000, max_objects: 64 }
    }
}

/// A moving thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blob {
    /// Where it is.
    pub bbox: BBox,
    /// How clearly it differs from the background, 0.5 (just) to 1: r/(1+r), r = the mean of its cells' squared
    /// deviation in units of the squared threshold.
    pub contrast: f32,
    /// Cells of foreground in it.
    cells: u32,
}

/// A run of foreground cells in one row, and what it has collected.
#[derive(Debug, Clone, Copy)]
struct Run {
    x0: u32,
    x1: u32,
    /// Index of the run this one belongs to; itself for a root.
    parent: u32,
    y0: u32,
    y1: u32,
    left: u32,
    right: u32,
    cells: u32,
    ratio: f32,
}

/// The background of one source's picture.
#[derive(Debug)]
pub struct Background {
    settings: MotionSettings,
    size: (u32, u32),
    columns: usize,
    rows: usize,
    step: usize,
    /// Frames since learning began, and when it began; `None` before the first.
    learning: Option<(u32, u64)>,
    warm: bool,
    last_ns: u64,
    luma: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    /// Of cells that are foreground: the brightness they hold, and for how many seconds they have.
    held: Vec<f32>,
    held_s: Vec<f32>,
    /// Squared deviation over squared threshold, per cell.
    ratio: Vec<f32>,
    core: Vec<u8>,
    joined: Vec<u8>,
    scratch: Vec<u8>,
    runs: Vec<Run>,
    blobs: Vec<Blob>,
}

impl Background {
    /// Knows nothing yet.
    pub fn new(settings: MotionSettings) -> Self {
        Self {
            settings,
            size: (0, 0),
            columns: 0,
            rows: 0,
            step: 1,
            learning: None,
            warm: false,
            last_ns: 0,
            luma: Vec::new(),
            mean: Vec::new(),
            variance: Vec::new(),
            held: Vec::new(),
            held_s: Vec::new(),
            ratio: Vec::new(),
            core: Vec::new(),
            joined: Vec::new(),
            scratch: Vec::new(),
            runs: Vec::new(),
            blobs: Vec::new(),
        }
    }

    /// Whether it has seen enough to report.
    pub fn is_warm(&self) -> bool {
        self.warm
    }

    /// Takes in the picture at frame time `pts_ns` and returns what moves in it, largest first: nothing while it
    /// warms up, and nothing when the light changed as a whole.
    pub fn update(&mut self, picture: &Picture, pts_ns: u64) -> &[Blob] {
        self.blobs.clear();
        self.fit(picture);
        sample(picture, self.step, self.columns, self.rows, &mut self.luma);
        let gap_ns = pts_ns.saturating_sub(self.last_ns);
        self.last_ns = pts_ns;
        let (seen, since_ns) = match self.learning {
            Some(learning) if gap_ns <= GAP_NS_MAX => learning,
            _ => self.start_over(pts_ns),
        };
        self.learning = Some((seen.saturating_add(1), since_ns));
        if !self.warm {
            self.learn_evenly(seen);
            self.warm = seen + 1 >= WARM_UP_FRAMES && pts_ns.saturating_sub(since_ns) >= self.settings.warm_up_ns;
            return &self.blobs;
        }
        let exposure = self.exposure();
        let foreground = self.compare(exposure);
        if !EXPOSURE.contains(&exposure) || foreground as f32 > LIGHT_SHARE * self.luma.len() as f32 {
            self.start_over(pts_ns);
            self.learning = Some((1, pts_ns));
            self.learn_evenly(0);
            return &self.blobs;
        }
        self.learn(gap_ns as f32 * 1e-9, exposure);
        self.clean();
        self.connect();
        &self.blobs
    }

    /// Fits the grid to the picture; a new size starts over.
    fn fit(&mut self, picture: &Picture) {
        if self.size == (picture.width, picture.height) {
            return;
        }
        self.size = (picture.width, picture.height);
        self.step = ((picture.width + COLUMNS / 2) / COLUMNS).clamp(1, picture.height) as usize;
        self.columns = picture.width as usize / self.step;
        self.rows = picture.height as usize / self.step;
        let cells = self.columns * self.rows;
        for plane in
            [&mut self.luma, &mut self.mean, &mut self.variance, &mut self.held, &mut self.held_s, &mut self.ratio]
        {
            plane.clear();
            plane.resize(cells, 0.0);
        }
        for plane in [&mut self.core, &mut self.joined, &mut self.scratch] {
            plane.clear();
            plane.resize(cells, 0);
        }
        self.learning = None;
    }

    fn start_over(&mut self, pts_ns: u64) -> (u32, u64) {
        self.warm = false;
        (0, pts_ns)
    }

    /// Warm-up: the plain mean and variance of the `seen + 1` pictures so far.
    fn learn_evenly(&mut self, seen: u32) {
        if seen == 0 {
            self.mean.copy_from_slice(&self.luma);
            self.variance.fill(VARIANCE_MIN);
            return;
        }
        let gain = 1.0 / (seen + 1) as f32;
        for ((luma, mean), variance) in self.luma.iter().zip(&mut self.mean).zip(&mut self.variance) {
            let d = luma - *mean;
            *mean += gain * d;
            *variance = ((1.0 - gain) * (*variance + gain * d * d)).clamp(VARIANCE_MIN, VARIANCE_MAX);
        }
    }

    /// The picture's brightness against the background's: the median over a fifth of the cells, 1 where too little
    /// is bright enough to tell.
    fn exposure(&self) -> f32 {
        const BINS: usize = 512;
        let (mut bins, mut count) = ([0u32; BINS], 0u32);
        for (luma, mean) in self.luma.iter().zip(&self.mean).step_by(5).filter(|(_, mean)| **mean >= 20.0) {
            bins[((luma / mean * 128.0) as usize).min(BINS - 1)] += 1;
            count += 1;
        }
        if (count as usize) * 5 * 8 < self.luma.len() {
            return 1.0;
        }
        let mut below = 0;
        for (bin, hits) in bins.iter().enumerate() {
            if (below + hits) * 2 >= count {
                // Within the bin in proportion, so that a still scene gives 1 and not a bin's edge.
                let part = (count as f32 * 0.5 - below as f32) / *hits as f32;
                return (bin as f32 + part) / 128.0;
            }
            below += hits;
        }
        1.0
    }

    /// Fills `ratio`; returns how many cells are foreground.
    fn compare(&mut self, exposure: f32) -> usize {
        let threshold = self.settings.threshold * self.settings.threshold;
        let slack = (EXPOSURE_SLACK * (exposure - 1.0)).powi(2);
        let mut foreground = 0u32;
        for (((luma, mean), variance), ratio) in
            self.luma.iter().zip(&self.mean).zip(&self.variance).zip(&mut self.ratio)
        {
            let d = luma - exposure * mean;
            *ratio = d * d / (threshold * (variance + slack * mean * mean));
            foreground += u32::from(*ratio > 1.0);
        }
        foreground as usize
    }

    /// Background cells follow the picture; all follow the exposure; foreground cells that hold still for long
    /// enough become background.
    fn learn(&mut self, dt: f32, exposure: f32) {
        let gain = 1.0 - (-dt / LEARN_S).exp();
        let drift = 1.0 + gain * (exposure - 1.0);
        let cells = self.luma.iter().zip(&self.ratio).zip(&mut self.mean).zip(&mut self.variance);
        for ((((luma, ratio), mean), variance), (held, held_s)) in cells.zip(self.held.iter_mut().zip(&mut self.held_s))
        {
            let d = luma / exposure - *mean;
            if *ratio <= 1.0 {
                *mean = (*mean + gain * d) * drift;
                *variance = (*variance + gain * (d * d - *variance)).clamp(VARIANCE_MIN, VARIANCE_MAX);
                *held_s = 0.0;
                continue;
            }
            *mean *= drift;
            let off = luma - *held;
            // Held on to loosely: the brightness of a parked car follows the light too.
            if *held_s > 0.0 && off * off <= 9.0 * VARIANCE_MIN + 4.0 * *variance {
                *held += 0.1 * off;
                *held_s += dt;
                if *held_s >= ABSORB_S {
                    (*mean, *held_s) = (*held, 0.0);
                }
            } else {
                (*held, *held_s) = (*luma, f32::MIN_POSITIVE);
            }
        }
    }

    /// Foreground by majority of each 3×3 neighbourhood into `core`, grown by [`JOIN`] into `joined`. Both passes
    /// are separable.
    fn clean(&mut self) {
        let (columns, rows) = (self.columns, self.rows);
        if columns < 3 || rows < 3 {
            self.core.fill(0);
            self.joined.fill(0);
            return;
        }
        for (cell, ratio) in self.joined.iter_mut().zip(&self.ratio) {
            *cell = u8::from(*ratio > 1.0);
        }
        for (row, out) in self.joined.chunks_exact(columns).zip(self.scratch.chunks_exact_mut(columns)) {
            out[0] = row[0] + row[1];
            out[columns - 1] = row[columns - 2] + row[columns - 1];
            for (three, out) in row.windows(3).zip(&mut out[1..]) {
                *out = three[0] + three[1] + three[2];
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

    /// Connected cells of `joined` become boxes; what they weigh counts cells of `core`.
    fn connect(&mut self) {
        self.runs.clear();
        let mut previous = 0..0;
        for y in 0..self.rows {
            let first = self.runs.len();
            self.find_runs(y);
            let mut above = previous.start;
            for run in first..self.runs.len() {
                // Runs of both rows are in order, so one pass pairs all that touch.
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
        let cells_min = (self.settings.min_area * self.luma.len() as f32).max(4.0) as u32;
        let (width, height) = (self.size.0 as f32, self.size.1 as f32);
        let step = self.step as f32;
        for (index, run) in self.runs.iter().enumerate() {
            if run.parent as usize != index || run.cells < cells_min {
                continue;
            }
            // The core's own edges: exact, where shrinking the joined box by JOIN errs at the picture's border.
            let bbox = BBox::from_corners(
                run.left as f32 * step / width,
                run.y0 as f32 * step / height,
                (run.right as f32 * step / width).min(1.0),
                (run.y1 as f32 * step / height).min(1.0),
            );
            let r = run.ratio / run.cells as f32;
            self.blobs.push(Blob { bbox, contrast: r / (1.0 + r), cells: run.cells });
        }
        self.blobs.sort_by_key(|b| std::cmp::Reverse(b.cells));
        self.blobs.truncate(self.settings.max_objects);
    }

    fn find_runs(&mut self, y: usize) {
        let row = y * self.columns..(y + 1) * self.columns;
        let (joined, core, ratio) = (&self.joined[row.clone()], &self.core[row.clone()], &self.ratio[row]);
        let mut x = 0;
        while let Some(start) = joined[x..].iter().position(|v| *v != 0).map(|at| x + at) {
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
                run.ratio += ratio[at];
            }
            self.runs.push(run);
            x = end;
        }
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

/// Brightness per cell: the mean of four samples a quarter in from the cell's corners, enough to halve the noise
/// and far cheaper than reading every pixel.
fn sample(picture: &Picture, step: usize, columns: usize, rows: usize, out: &mut [f32]) {
    let (plane, stride) = (picture.plane(0), picture.stride(0));
    let (near, far) = (step / 4, step - 1 - step / 4);
    for (y, out) in out.chunks_exact_mut(columns).take(rows).enumerate() {
        let row = |at: usize| &plane[(y * step + at) * stride..];
        let (upper, lower) = (row(near), row(far));
        match picture.format {
            PixelFormat::I420 | PixelFormat::Nv12 => {
                let cells = upper.chunks_exact(step).zip(lower.chunks_exact(step));
                for (out, (a, b)) in out.iter_mut().zip(cells) {
                    let sum = u16::from(a[near]) + u16::from(a[far]) + u16::from(b[near]) + u16::from(b[far]);
                    *out = f32::from(sum) * 0.25;
                }
            }
            PixelFormat::Rgb => {
                for (x, out) in out.iter_mut().enumerate() {
                    let luma = |row: &[u8], at: usize| {
                        let p = &row[(x * step + at) * 3..][..3];
                        u16::from(p[0]) + 2 * u16::from(p[1]) + u16::from(p[2])
                    };
                    let sum = luma(upper, near) + luma(upper, far) + luma(lower, near) + luma(lower, far);
                    *out = f32::from(sum) * 0.0625;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Colorimetry, Matrix, Range};

    const FRAME_NS: u64 = 40_000_000;
    const SIZE: (u32, u32) = (640, 360);

    /// A noisy grey picture with a bright square of a fifth of the height at `at`.
    fn picture(rng: &mut fastrand::Rng, base: u8, at: Option<(f32, f32)>, format: PixelFormat) -> Picture {
        let (w, h) = (SIZE.0 as usize, SIZE.1 as usize);
        let mut luma: Vec<u8> =
            (0..w * h).map(|i| base.saturating_add((i % w / 8) as u8 / 2).saturating_add(rng.u8(0..9))).collect();
        if let Some((x, y)) = at {
            let (x, y, side) = ((x * w as f32) as usize, (y * h as f32) as usize, h / 5);
            for row in y..(y + side).min(h) {
                luma[row * w + x..row * w + (x + side).min(w)].fill(base + 90);
            }
        }
        let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
        match format {
            PixelFormat::Rgb => Picture::from_rgb(SIZE.0, SIZE.1, luma.iter().flat_map(|v| [*v; 3]).collect()).unwrap(),
            _ => {
                let chroma = vec![128; w / 2 * h / 2];
                Picture::from_i420(SIZE.0, SIZE.1, colorimetry, [luma, chroma.clone(), chroma]).unwrap()
            }
        }
    }

    fn warm(rng: &mut fastrand::Rng, format: PixelFormat) -> Background {
        let mut background = Background::new(MotionSettings::default());
        for n in 0..40 {
            assert!(background.update(&picture(rng, 60, None, format), n * FRAME_NS).is_empty(), "frame {n}");
        }
        assert!(background.is_warm());
        background
    }

    #[test]
    fn a_moving_square_is_found_where_it_is() {
        for format in [PixelFormat::I420, PixelFormat::Rgb] {
            let mut rng = fastrand::Rng::with_seed(7);
            let mut background = warm(&mut rng, format);
            for n in 0..30u64 {
                let at = (0.05 + n as f32 * 0.02, 0.3);
                let blobs = background.update(&picture(&mut rng, 60, Some(at), format), (40 + n) * FRAME_NS);
                let truth = BBox { x: at.0, y: at.1, width: 0.2 * 360.0 / 640.0, height: 0.2 };
                assert_eq!(blobs.len(), 1, "frame {n}: {blobs:?}");
                assert!(blobs[0].bbox.iou(&truth) > 0.85, "frame {n}: {:?} for {truth:?}", blobs[0].bbox);
                assert!(blobs[0].contrast > 0.9, "{}", blobs[0].contrast);
            }
        }
    }

    #[test]
    fn two_squares_are_two_blobs_and_a_picture_wide_one_touches_the_edges() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut background = warm(&mut rng, PixelFormat::I420);
        let mut luma: Vec<u8> = (0..640 * 360).map(|i| 64 + (i % 640 / 8) as u8 / 2).collect();
        for y in 0..72 {
            luma[y * 640..y * 640 + 640].fill(200);
        }
        for y in 200..260 {
            luma[y * 640 + 300..y * 640 + 360].fill(200);
        }
        let chroma = vec![128; 320 * 180];
        let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
        let both = Picture::from_i420(640, 360, colorimetry, [luma, chroma.clone(), chroma]).unwrap();
        let blobs = background.update(&both, 40 * FRAME_NS);
        assert_eq!(blobs.len(), 2, "{blobs:?}");
        assert!(blobs[0].bbox.width > 0.98 && blobs[0].bbox.y < 0.01, "largest first: {:?}", blobs[0]);
    }

    #[test]
    fn black_and_static_pictures_give_nothing() {
        let black = Picture::from_rgb(640, 360, vec![0; 640 * 360 * 3]).unwrap();
        let mut background = Background::new(MotionSettings::default());
        for n in 0..200 {
            assert!(background.update(&black, n * FRAME_NS).is_empty(), "frame {n}");
        }
        let mut rng = fastrand::Rng::with_seed(1);
        let mut background = warm(&mut rng, PixelFormat::I420);
        for n in 40..300 {
            let blobs = background.update(&picture(&mut rng, 60, None, PixelFormat::I420), n * FRAME_NS);
            assert!(blobs.is_empty(), "noise at frame {n}");
        }
    }

    #[test]
    fn a_light_switched_on_is_learned_and_not_reported() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut background = warm(&mut rng, PixelFormat::I420);
        for n in 40..120 {
            let blobs = background.update(&picture(&mut rng, 120, None, PixelFormat::I420), n * FRAME_NS);
            assert!(blobs.is_empty(), "frame {n}: {blobs:?}");
        }
        assert!(background.is_warm(), "and watches again");
        let seen = background.update(&picture(&mut rng, 120, Some((0.5, 0.5)), PixelFormat::I420), 120 * FRAME_NS);
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn what_stands_still_is_taken_into_the_background_late_and_leaves_no_ghost_before() {
        let mut rng = fastrand::Rng::with_seed(9);
        let mut background = warm(&mut rng, PixelFormat::I420);
        let (mut n, mut found) = (40, Vec::new());
        let mut show = |at: Option<(f32, f32)>, frames: u64, background: &mut Background| {
            found.clear();
            for _ in 0..frames {
                n += 1;
                found.push(background.update(&picture(&mut rng, 60, at, PixelFormat::I420), n * FRAME_NS).len());
            }
            found.clone()
        };
        let stands = show(Some((0.4, 0.4)), 20 * 25, &mut background);
        assert!(stands.iter().all(|count| *count == 1), "seen for all of 20 s");
        let gone = show(None, 50, &mut background);
        assert!(gone.iter().all(|count| *count == 0), "and no ghost afterwards");
        let parks = show(Some((0.4, 0.4)), 35 * 25, &mut background);
        assert_eq!((parks[28 * 25], parks[34 * 25]), (1, 0), "part of the scene after 30 s");
    }

    #[test]
    fn a_camera_that_darkens_for_a_bright_object_shows_that_object_alone() {
        let mut rng = fastrand::Rng::with_seed(11);
        let mut background = warm(&mut rng, PixelFormat::I420);
        for n in 0..20u64 {
            let dark = 60 - n as u8;
            let at = (0.3 + n as f32 * 0.01, 0.3);
            let blobs = background.update(&picture(&mut rng, dark, Some(at), PixelFormat::I420), (40 + n) * FRAME_NS);
            assert_eq!(blobs.len(), 1, "frame {n}: {blobs:?}");
        }
    }

    #[test]
    fn odd_and_tiny_pictures_do_no_harm() {
        for (width, height) in [(1, 1), (2, 2), (7, 3), (321, 241), (1000, 2), (2, 1000)] {
            let mut background = Background::new(MotionSettings::default());
            for n in 0..60 {
                let value = if n < 40 { 10 } else { (n % 2) as u8 * 200 };
                let rgb = vec![value; (width * height * 3) as usize];
                background.update(&Picture::from_rgb(width, height, rgb).unwrap(), n * FRAME_NS);
            }
        }
    }
}
