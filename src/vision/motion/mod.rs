//! Background motion: finds what differs from the camera's usual picture, as boxes.
//!
//! The picture's luma is sampled to about 320 columns (`grid`); each cell keeps a running mean and variance of its
//! brightness on frame time (`scene`). Exposure changes (the median ratio of the cells to their means) are compensated
//! first: a white car makes the camera darken everything else. A cell that then deviates from its mean by more than its
//! noise explains is foreground. Foreground that does not change becomes background after a while; until then the old
//! background is kept, so that a person who stood still leaves no ghost. A majority filter removes specks, a dilation
//! joins fragments (`mask`), connected cells become a box (`blob`). Pure values: the same pictures and times give the
//! same boxes. Read `strategy::Motion` next.
//!
//! Loops over all cells have no branches or divisions, so that they vectorise; branching code runs for foreground cells
//! only.

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

/// Exposure ratios to compensate; beyond them the light has changed, not the exposure.
const EXPOSURE: std::ops::RangeInclusive<f32> = 0.6..=1.65;
/// Share of foreground cells from which on the light has changed: learn again instead of reporting.
const LIGHT_SHARE: f32 = 0.6;
/// Minimum frames of a warm-up, however slow the camera.
const WARM_UP_FRAMES: u32 = 8;
/// A gap in frame time after which the background is learned again.
const GAP_NS_MAX: u64 = 10_000_000_000;
/// A longer gap is accepted if the previous gap was at least `1 / SLOW` of it: the source is that slow.
const SLOW: u64 = 3;

/// Detection settings.
#[derive(Debug, Clone, PartialEq)]
pub struct MotionSettings {
    /// How many standard deviations of its own noise a cell must deviate from its mean. Lower values find more, with
    /// more false positives.
    pub threshold: f32,
    /// Minimum share of the picture that a moving object covers.
    pub min_area: f32,
    /// Frame time for learning the background before anything is reported.
    pub warm_up_ns: u64,
    /// Maximum boxes per frame, largest first.
    pub max_objects: usize,
}

impl Default for MotionSettings {
    fn default() -> Self {
        Self { threshold: 4.0, min_area: 0.0015, warm_up_ns: 1_000_000_000, max_objects: 64 }
    }
}

/// The background model of one source.
#[derive(Debug)]
pub struct Background {
    settings: MotionSettings,
    grid: Grid,
    scene: Scene,
    mask: Mask,
    blobs: Blobs,
    /// Number of frames since learning began, and its start; `None` before the first.
    learning: Option<(u32, u64)>,
    warm: bool,
    last_ns: u64,
    /// Time between the last two frames since learning began.
    last_gap_ns: u64,
}

impl Background {
    /// Creates an empty model.
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

    /// Whether the warm-up is over.
    pub fn is_warm(&self) -> bool {
        self.warm
    }

    /// Adds the picture at frame time `pts_ns` and returns the moving objects, largest first; none during the warm-up,
    /// and none when the light changed as a whole.
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

    /// Adapts all buffers to the picture's size; a new size restarts learning.
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
