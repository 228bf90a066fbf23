//! Frame times of a finite source: they never decrease, whatever its timestamps do.

use super::Timing;

/// Frame period of a stream that states neither timestamps nor a frame rate.
const PERIOD_NS_DEFAULT: u64 = 40_000_000;
/// How far a timestamp may lie behind the one before and still count as out of order. A larger step back rebases the
/// timeline: after a splice, or after one timestamp far ahead, time must not stand still until it is reached.
const BEHIND_NS_MAX: u64 = 1_000_000_000;

/// Presentation times across all passes of a file, nanoseconds from the first frame.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Added to timestamps.
    base_ns: u64,
    /// When the frame after the last one is due.
    next_ns: u64,
    /// The latest time so far.
    last_ns: u64,
}

impl Timeline {
    /// The time of the next frame: its timestamp, or one period after the previous frame if it has none.
    pub(super) fn frame(&mut self, timing: Timing) -> u64 {
        let period_ns = timing.period_ns.unwrap_or(PERIOD_NS_DEFAULT);
        let mut pts_ns = timing.pts_ns.map_or(self.next_ns, |pts| self.base_ns.saturating_add(pts));
        if pts_ns.saturating_add(BEHIND_NS_MAX) < self.last_ns {
            let on_ns = self.last_ns.saturating_add(period_ns);
            self.base_ns = self.base_ns.saturating_add(on_ns - pts_ns);
            pts_ns = on_ns;
        }
        self.next_ns = pts_ns.saturating_add(period_ns);
        self.last_ns = self.last_ns.max(pts_ns);
        self.last_ns
    }

    /// The next pass continues after this one's last frame.
    pub(super) fn repeat(&mut self) {
        self.base_ns = self.next_ns;
    }

    /// Start of the current pass.
    pub(super) fn base_ns(&self) -> u64 {
        self.base_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times of frames with these timestamps, milliseconds, at 10 frames a second.
    fn times(timestamps: &[Option<u64>]) -> Vec<u64> {
        let mut timeline = Timeline::default();
        let timing = |pts: &Option<u64>| Timing { pts_ns: pts.map(|ms| ms * 1_000_000), period_ns: Some(100_000_000) };
        timestamps.iter().map(|pts| timeline.frame(timing(pts)) / 1_000_000).collect()
    }

    #[test]
    fn a_frame_out_of_order_takes_the_time_of_the_one_before() {
        assert_eq!(times(&[Some(0), Some(200), Some(100), Some(300)]), [0, 200, 200, 300]);
    }

    #[test]
    fn a_timestamp_far_ahead_does_not_hold_the_time_still() {
        let hour = 3_600_000;
        let times = times(&[Some(0), Some(hour), Some(200), Some(300), Some(400)]);
        assert_eq!(times, [0, hour, hour + 100, hour + 200, hour + 300]);
    }

    #[test]
    fn a_clock_that_begins_again_goes_on() {
        assert_eq!(times(&[Some(5_000), Some(5_100), Some(0), Some(100)]), [5_000, 5_100, 5_200, 5_300]);
    }

    #[test]
    fn frames_without_timestamps_follow_each_other() {
        assert_eq!(times(&[Some(0), None, None, Some(300)]), [0, 100, 200, 300]);
    }
}
