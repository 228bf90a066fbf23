//! Selects the frames to analyse: `fps` by frame time, `every` by index. Pure.

use crate::config::SourcePlan;

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// Analyse it.
    Take,
    /// Left out: above the source's frame rate limit.
    OverRate,
    /// Left out: only every n-th frame is wanted.
    NotEvery,
}

/// How early a frame may arrive and still be taken, as a share of the period and as an upper bound: cameras jitter, and
/// without this tolerance a camera at exactly the wanted rate would lose frames. It must stay below the time between
/// two frames, or the frame before the wanted one would be taken.
const EARLY_SHARE: f64 = 0.25;
const EARLY_NS_MAX: f64 = 10_000_000.0;

/// Selects among the frames of one source.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    period_ns: Option<f64>,
    every: u64,
    due_ns: Option<f64>,
}

impl Pace {
    /// As the source's plan says.
    pub(crate) fn of(plan: &SourcePlan) -> Self {
        Self::new(plan.fps, plan.every)
    }

    /// Applies a changed plan. The rate starts afresh with the next frame, unless it is unchanged.
    pub(crate) fn change(&mut self, plan: &SourcePlan) {
        let new = Self::of(plan);
        let due_ns = self.due_ns.filter(|_| new.period_ns == self.period_ns);
        *self = Self { due_ns, ..new };
    }

    /// At most `fps` frames per second of frame time, and only indices divisible by `every`.
    fn new(fps: Option<f64>, every: u32) -> Self {
        let period_ns = fps.filter(|f| f.is_finite() && *f > 0.0).map(|f| 1e9 / f);
        Self { period_ns, every: u64::from(every.max(1)), due_ns: None }
    }

    /// Decides on the frame with index `seq` and time `pts_ns`; frames come in order.
    pub(crate) fn pick(&mut self, seq: u64, pts_ns: u64) -> Pick {
        if !seq.is_multiple_of(self.every) {
            return Pick::NotEvery;
        }
        let Some(period) = self.period_ns else { return Pick::Take };
        let now = pts_ns as f64;
        let due = self.due_ns.unwrap_or(now);
        if now < due - (period * EARLY_SHARE).min(EARLY_NS_MAX) {
            return Pick::OverRate;
        }
        // Counting from the due time keeps the average rate; after a gap, missed frames are not caught up.
        self.due_ns = Some(if now > due + period { now + period } else { due + period });
        Pick::Take
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::tests::plan;

    fn taken(fps: Option<f64>, every: u32, frames: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut pace = Pace::new(fps, every);
        (0..).zip(frames).filter(|(seq, pts)| pace.pick(*seq, *pts) == Pick::Take).map(|(seq, _)| seq).collect()
    }

    #[test]
    fn without_limits_every_frame_is_taken() {
        assert_eq!(taken(None, 1, (0..100).map(|n| n * 33_333_333)).len(), 100);
    }

    #[test]
    fn every_fifth_means_0_5_10() {
        assert_eq!(taken(None, 5, (0..12).map(|n| n * 40_000_000)), [0, 5, 10]);
    }

    #[test]
    fn the_rate_is_met_on_average() {
        for (wanted, expected) in [(5.0, 50), (10.0, 100), (12.0, 120), (29.0, 290), (30.0, 300), (60.0, 300)] {
            let n = taken(Some(wanted), 1, (0..300).map(|n| n * 1_000_000_000 / 30)).len() as i64;
            assert!((n - expected).abs() <= 1, "{wanted} fps of ten seconds at 30 fps took {n}");
        }
    }

    #[test]
    fn jitter_at_the_wanted_rate_costs_no_frame() {
        let mut rng = fastrand::Rng::with_seed(3);
        let frames: Vec<u64> = (0..500u64).map(|n| n * 40_000_000 + rng.u64(0..9_000_000)).collect();
        assert_eq!(taken(Some(25.0), 1, frames.into_iter()).len(), 500);
    }

    #[test]
    fn a_changed_rate_holds_from_the_next_frame_on() {
        let mut pace = Pace::new(Some(10.0), 1);
        let count = |pace: &mut Pace, from: u64| {
            (from..from + 100).filter(|n| pace.pick(*n, n * 10_000_000) == Pick::Take).count() as i64
        };
        assert!((count(&mut pace, 0) - 10).abs() <= 1);
        pace.change(&SourcePlan { fps: Some(50.0), ..plan("cam") });
        assert!((count(&mut pace, 100) - 50).abs() <= 1);
        pace.change(&SourcePlan { every: 4, ..plan("cam") });
        assert_eq!(count(&mut pace, 200), 25);
    }

    #[test]
    fn an_unchanged_rate_keeps_its_beat() {
        let plan = SourcePlan { fps: Some(10.0), ..plan("cam") };
        let mut pace = Pace::of(&plan);
        assert_eq!(pace.pick(0, 0), Pick::Take);
        pace.change(&plan);
        assert_eq!(pace.pick(1, 50_000_000), Pick::OverRate);
    }

    #[test]
    fn after_a_gap_nothing_is_caught_up() {
        let frames = (0..10).map(|n| n * 100_000_000).chain((0..20).map(|n| 60_000_000_000 + n * 10_000_000));
        let late = taken(Some(10.0), 1, frames).into_iter().filter(|seq| *seq >= 10).count();
        assert!(late <= 3, "{late} frames taken within 200 ms at 10 fps");
    }
}
