//! The background model: mean brightness and noise of every cell, and the cells that deviate now.

/// Minimum variance of a cell: camera noise of 2.5 levels.
const VARIANCE_MIN: f32 = 6.25;
/// Maximum variance of a cell, so that a flickering cell can still detect motion.
const VARIANCE_MAX: f32 = 400.0;
/// Time constant of learning the background.
const LEARN_S: f32 = 6.0;
/// How long a cell must be foreground at constant brightness to become background: a parked car is part of the scene
/// after this.
const ABSORB_S: f32 = 30.0;
/// Tolerance of a cell, as a share of the exposure change: cameras do not scale all brightnesses alike.
const EXPOSURE_SLACK: f32 = 0.25;
/// Step between the cells used to estimate exposure: a thousand are enough for a median, and 29 shares no factor with
/// common numbers of columns.
const EXPOSURE_EVERY: usize = 29;
/// Cells with a darker background are not used to estimate exposure.
const EXPOSURE_LUMA_MIN: f32 = 20.0;

/// Per-cell values.
#[derive(Debug, Default)]
pub(super) struct Scene {
    /// The current picture.
    pub(super) luma: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    /// 1 where the current picture differs from the background.
    pub(super) moving: Vec<u8>,
    /// `moving` of the previous picture.
    moved: Vec<u8>,
    /// For moving cells: their held brightness, and for how many seconds. Stale for all other cells.
    held: Vec<f32>,
    held_s: Vec<f32>,
    /// Even and odd rows learn alternately: seconds since each did, and which is next.
    since_s: [f32; 2],
    turn: usize,
    /// Parameters of the last `compare`.
    exposure: f32,
    slack: f32,
    threshold: f32,
}

impl Scene {
    pub(super) fn resize(&mut self, cells: usize) {
        for plane in [&mut self.luma, &mut self.mean, &mut self.variance, &mut self.held, &mut self.held_s] {
            plane.clear();
            plane.resize(cells, 0.0);
        }
        for plane in [&mut self.moving, &mut self.moved] {
            plane.clear();
            plane.resize(cells, 0);
        }
    }

    /// Warm-up: the plain mean and variance of the `seen + 1` pictures so far.
    pub(super) fn learn_evenly(&mut self, seen: u32) {
        if seen == 0 {
            self.mean.copy_from_slice(&self.luma);
            self.variance.fill(VARIANCE_MIN);
            self.moving.fill(0);
            self.since_s = [0.0; 2];
            return;
        }
        let gain = 1.0 / (seen + 1) as f32;
        for ((luma, mean), variance) in self.luma.iter().zip(&mut self.mean).zip(&mut self.variance) {
            let d = luma - *mean;
            *mean += gain * d;
            *variance = within((1.0 - gain) * (*variance + gain * d * d));
        }
    }

    /// The picture's brightness relative to the background: the median over some cells; 1 if too few cells are bright
    /// enough.
    pub(super) fn exposure(&self) -> f32 {
        const BINS: usize = 512;
        let (mut bins, mut count) = ([0u32; BINS], 0u32);
        let cells = self.luma.iter().zip(&self.mean).step_by(EXPOSURE_EVERY);
        for (luma, mean) in cells.filter(|(_, mean)| **mean >= EXPOSURE_LUMA_MIN) {
            bins[((luma / mean * 128.0) as usize).min(BINS - 1)] += 1;
            count += 1;
        }
        if (count as usize) * EXPOSURE_EVERY * 8 < self.luma.len() {
            return 1.0;
        }
        let mut below = 0;
        for (bin, hits) in bins.iter().enumerate() {
            if (below + hits) * 2 >= count {
                // Interpolate within the bin, so that a static scene yields 1 and not a bin's edge.
                let part = (count as f32 * 0.5 - below as f32) / *hits as f32;
                return (bin as f32 + part) / 128.0;
            }
            below += hits;
        }
        1.0
    }

    /// Fills `moving`; returns the number of foreground cells.
    pub(super) fn compare(&mut self, exposure: f32, threshold: f32) -> usize {
        std::mem::swap(&mut self.moving, &mut self.moved);
        self.exposure = exposure;
        self.slack = (EXPOSURE_SLACK * (exposure - 1.0)).powi(2);
        self.threshold = threshold * threshold;
        let (slack, threshold) = (self.slack, self.threshold);
        let cells = self.luma.iter().zip(&self.mean).zip(&self.variance);
        for (((luma, mean), variance), moving) in cells.zip(&mut self.moving) {
            let d = luma - exposure * mean;
            *moving = u8::from(d * d > threshold * (variance + slack * mean * mean));
        }
        // Sums of up to 255 fit into a byte, which keeps them in vector registers.
        self.moving.chunks(255).map(|cells| usize::from(cells.iter().sum::<u8>())).sum()
    }

    /// A cell's squared deviation over its squared threshold; valid until `learn`.
    pub(super) fn ratio(&self, cell: usize) -> f32 {
        let (mean, variance) = (self.mean[cell], self.variance[cell]);
        let d = self.luma[cell] - self.exposure * mean;
        d * d / (self.threshold * (variance + self.slack * mean * mean))
    }

    /// Updates the background: background cells follow the picture, `dt` seconds after the previous one; all cells
    /// follow the exposure; foreground cells that stay constant for long enough become background. Each picture updates
    /// half of the rows, which is often enough for a time constant of seconds, at half the cost.
    pub(super) fn learn(&mut self, dt: f32, columns: usize) {
        self.since_s = self.since_s.map(|since| since + dt);
        self.turn = 1 - self.turn;
        let gain = 1.0 - (-std::mem::take(&mut self.since_s[self.turn]) / LEARN_S).exp();
        let drift = 1.0 + gain * (self.exposure - 1.0);
        let darker = 1.0 / self.exposure;
        let seen = self.luma.chunks_exact(columns).zip(self.moving.chunks_exact(columns));
        let known = self.mean.chunks_exact_mut(columns).zip(self.variance.chunks_exact_mut(columns));
        for ((luma, moving), (mean, variance)) in seen.zip(known).skip(self.turn).step_by(2) {
            for (((luma, moving), mean), variance) in luma.iter().zip(moving).zip(mean).zip(variance) {
                let gain = if *moving == 0 { gain } else { 0.0 };
                let d = luma * darker - *mean;
                *mean = (*mean + gain * d) * drift;
                *variance = within(*variance + gain * (d * d - *variance));
            }
        }
        self.hold(dt);
    }

    fn hold(&mut self, dt: f32) {
        let mut from = 0;
        while let Some(cell) = first_set(&self.moving, from) {
            from = cell + 1;
            let (luma, held, held_s) = (self.luma[cell], &mut self.held[cell], &mut self.held_s[cell]);
            let off = luma - *held;
            let holding = self.moved[cell] != 0 && *held_s > 0.0;
            // Loosely, because the brightness of a parked car also follows the light.
            if holding && off * off <= 9.0 * VARIANCE_MIN + 4.0 * self.variance[cell] {
                *held += 0.1 * off;
                *held_s += dt;
                if *held_s >= ABSORB_S {
                    (self.mean[cell], *held_s) = (*held, 0.0);
                }
            } else {
                (*held, *held_s) = (luma, f32::MIN_POSITIVE);
            }
        }
    }
}

fn within(variance: f32) -> f32 {
    variance.clamp(VARIANCE_MIN, VARIANCE_MAX)
}

/// The first cell at or after `from` that is not 0. Zero cells, the majority, are skipped sixteen at a time.
pub(super) fn first_set(cells: &[u8], from: usize) -> Option<usize> {
    let rest = cells.get(from..)?;
    let (sixteens, _) = rest.as_chunks::<16>();
    let empty = sixteens.iter().take_while(|cells| u128::from_ne_bytes(**cells) == 0).count() * 16;
    rest[empty..].iter().position(|cell| *cell != 0).map(|at| from + empty + at)
}
