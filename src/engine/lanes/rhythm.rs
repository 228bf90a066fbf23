//! The frame period of a live source, and whether the next frame is worth waiting for. Pure: time is an argument.
//!
//! A worker that becomes idle finds the newest frame of a source, which may be almost a period old. If the next frame
//! is due within a small fraction of the inference time, waiting for it makes the judgement fresher by far more than
//! the wait costs.

/// The longest wait, as a share of one inference time: it bounds the loss of throughput.
const WAIT_SHARE_MAX: f64 = 0.2;
/// A frame may be late by the period divided by this; then the worker stops waiting for it.
const LATE_DIVISOR: u64 = 8;
/// A new interval has a weight of one divided by this in the moving average.
const AVERAGE_DIVISOR: u64 = 8;

/// The moving average of the time between a source's frames.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Rhythm {
    last_ns: u64,
    period_ns: u64,
}

impl Rhythm {
    /// Records the arrival of a frame.
    pub(super) fn beat(&mut self, now_ns: u64) {
        let since_ns = now_ns.saturating_sub(self.last_ns);
        if self.last_ns > 0 {
            self.period_ns = match self.period_ns {
                0 => since_ns,
                // One gap changes the average little; many gaps change it gradually.
                usual => usual - usual / AVERAGE_DIVISOR + since_ns.min(2 * usual) / AVERAGE_DIVISOR,
            };
        }
        self.last_ns = now_ns;
    }

    /// The longest useful wait for the next frame, where judging a frame takes `inference_ns`. `None`: take the last
    /// frame now.
    pub(super) fn worth_waiting(&self, now_ns: u64, inference_ns: u64) -> Option<u64> {
        if self.period_ns == 0 {
            return None;
        }
        let (age_ns, due_ns) = (now_ns.saturating_sub(self.last_ns), self.last_ns + self.period_ns);
        let limit_ns = due_ns + self.period_ns / LATE_DIVISOR;
        let left_ns = due_ns.saturating_sub(now_ns);
        // The wait must gain more than it costs: a frame that has just arrived is taken, however soon the next is due.
        let pays = 2 * left_ns <= age_ns && left_ns as f64 <= WAIT_SHARE_MAX * inference_ns as f64;
        (pays && now_ns < limit_ns).then(|| limit_ns - now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn steady(period_ms: u64) -> (Rhythm, u64) {
        let mut rhythm = Rhythm::default();
        let mut now = 1000 * MS;
        for _ in 0..50 {
            now += period_ms * MS;
            rhythm.beat(now);
        }
        (rhythm, now)
    }

    #[test]
    fn an_imminent_frame_is_waited_for_and_a_distant_one_is_not() {
        let (rhythm, last) = steady(40);
        let waits = |after_ms: u64| rhythm.worth_waiting(last + after_ms * MS, 80 * MS);
        assert_eq!([0, 10, 20].map(waits), [None; 3], "the next is too far off");
        assert_eq!(waits(30), Some(15 * MS), "due in 10 ms, and it may be 5 ms late");
        assert_eq!(waits(42), Some(3 * MS), "it is late");
        assert_eq!([45, 60, 4000].map(waits), [None; 3], "it does not come");
    }

    #[test]
    fn a_wait_never_costs_more_than_a_small_part_of_an_inference() {
        for period in [1, 5, 40, 200, 1000] {
            let (rhythm, last) = steady(period);
            for after in (0..2 * period * MS).step_by((period * MS / 50) as usize) {
                let Some(wait) = rhythm.worth_waiting(last + after, 50 * MS) else { continue };
                assert!(wait <= 10 * MS + period * MS / LATE_DIVISOR, "{period} ms apart, after {after} ns: {wait} ns");
                assert!(after >= period * MS / 2, "a fresh frame is taken");
            }
        }
    }

    #[test]
    fn without_a_known_period_nothing_is_waited_for() {
        let mut rhythm = Rhythm::default();
        assert_eq!(rhythm.worth_waiting(5 * MS, 80 * MS), None);
        rhythm.beat(7 * MS);
        assert_eq!(rhythm.worth_waiting(8 * MS, 80 * MS), None);
    }

    #[test]
    fn a_gap_does_not_change_the_period_and_a_slower_camera_does() {
        let (mut rhythm, mut now) = steady(40);
        now += 60_000 * MS;
        rhythm.beat(now);
        assert!(rhythm.period_ns < 50 * MS, "{}", rhythm.period_ns);
        for _ in 0..100 {
            now += 200 * MS;
            rhythm.beat(now);
        }
        assert!(rhythm.period_ns > 190 * MS, "{}", rhythm.period_ns);
    }
}
