//! Background motion: what differs from what the camera usually sees, as boxes.
//!
//! The picture's luma is sampled down to about 320 columns (`grid`); each cell keeps a running mean and variance of
//! its brightness on frame time (`scene`). The camera's exposure (the median ratio of all cells to their means) is
//! taken out first: a white car makes the camera darken everything else. A cell that is then further from its mean
//! than its own noise explains is foreground. What stays foreground without changing becomes background after a
//! while; until then the old background is kept, so that someone who stood still leaves no ghost. A majority filter
//! removes specks, a dilation joins fragments (`mask`), connected cells become a box (`blob`). Pure values: the same
//! pictures and times give the same boxes. Look next at `strategy::Motion`.
//!
//! Everything that touches each cell is a plain loop without branches or divisions, which the compiler turns into
//! vector code; what branches is done for foreground cells only.

mod blob;
mod grid;
mod mask;
mod scene;
#[cfg(test)]
mod tests;

pub use blob::Blob;

use blob::Blobs;
use grid::Grid;
use mask::Mask;
use scene::Scene;

use crate::types::{Picture, Planes};

/// Exposure ratios taken out; beyond them the light changed, not the exposure.
const EXPOSURE: std::ops::RangeInclusive<f32> = 0.6..=1.65;
/// Share of foreground cells from which the light changed, not the scene: learn anew instead of alarming.
const LIGHT_SHARE: f32 = 0.6;
/// Fewest frames of a warm-up, however slow the camera.
const WARM_UP_FRAMES: u32 = 8;
/// A gap in frame time after which nothing learned is trusted any more.
const GAP_NS_MAX: u64 = 10_000_000_000;
/// A longer one is no gap where the time between the two frames before was at least one in so many of it: the source is
/// that slow.
const SLOW: u64 = 3;

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

/// The background of one source's picture.
#[derive(Debug)]
pub struct Background {
    settings: MotionSettings,
    grid: Grid,
    scene: Scene,
    mask: Mask,
    blobs: Blobs,
    /// Frames since learning began, and when it began; `None` before the first.
    learning: Option<(u32, u64)>,
    warm: bool,
    last_ns: u64,
    /// Time between the last two frames since learning began.
    last_gap_ns: u64,
}

impl Background {
    /// Knows nothing yet.
    pub fn new(settings: MotionSettings) -> Self {
        Self {
            settings,
            grid: Grid::default(),
            scene: Scene::default(),
            mask: Mask::default(),
            blobs: Blobs::default(),
            learning: None,
            warm: false,
            last_ns: 0,
            last_gap_ns: 0,
        }
    }

    /// Whether it has seen enough to report.
    pub fn is_warm(&self) -> bool {
        self.warm
    }

    /// Takes in the picture at frame time `pts_ns` and returns what moves in it, largest first: nothing while it
    /// warms up, and nothing when the light changed as a whole.
    pub fn update(&mut self, picture: &Planes<'_>, pts_ns: u64) -> &[Blob] {
        self.blobs.clear();
        self.fit(picture);
        self.grid.sample(picture, &mut self.scene.luma);
        let gap_ns = pts_ns.saturating_sub(self.last_ns);
        self.last_ns = pts_ns;
        let last_gap_ns = std::mem::replace(&mut self.last_gap_ns, self.learning.map_or(0, |_| gap_ns));
        let (seen, since_ns) = match self.learning {
            Some(learning) if gap_ns <= GAP_NS_MAX.max(last_gap_ns.saturating_mul(SLOW)) => learning,
            _ => self.start_over(pts_ns),
        };
        self.learning = Some((seen.saturating_add(1), since_ns));
        if !self.warm {
            self.scene.learn_evenly(seen);
            self.warm = seen + 1 >= WARM_UP_FRAMES && pts_ns.saturating_sub(since_ns) >= self.settings.warm_up_ns;
            return self.blobs.found();
        }
        let exposure = self.scene.exposure();
        let foreground = self.scene.compare(exposure, self.settings.threshold);
        if !EXPOSURE.contains(&exposure) || foreground as f32 > LIGHT_SHARE * self.grid.cells() as f32 {
            self.start_over(pts_ns);
            self.learning = Some((1, pts_ns));
            self.scene.learn_evenly(0);
            return self.blobs.found();
        }
        if foreground > 0 {
            self.mask.clean(&self.scene.moving, &self.grid);
            self.blobs.find(&self.mask, &self.grid, &self.settings, |cell| self.scene.ratio(cell));
        }
        self.scene.learn(gap_ns as f32 * 1e-9, self.grid.columns);
        self.blobs.found()
    }

    /// Fits everything to the picture's size; a new one starts over.
    fn fit(&mut self, picture: &Picture) {
        if self.grid.fits(picture) {
            return;
        }
        self.grid = Grid::of(picture);
        self.scene.resize(self.grid.cells());
        self.mask.resize(self.grid.cells());
        self.learning = None;
    }

    fn start_over(&mut self, pts_ns: u64) -> (u32, u64) {
        self.warm = false;
        (0, pts_ns)
    }
}
