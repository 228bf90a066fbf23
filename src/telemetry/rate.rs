//! Events per second over a short sliding window, on the caller's clock.

use std::collections::VecDeque;

/// Length of the window.
const WINDOW_NS: u64 = 5_000_000_000;
/// Maximum events remembered: at very high rates the window shrinks instead.
const EVENTS_MAX: usize = 256;

/// A rate meter. `n` evenly spaced events give the exact rate (intervals are counted, not events).
#[derive(Debug, Default)]
pub(super) struct Rate {
    times: VecDeque<u64>,
}

impl Rate {
    /// Records an event at `now_ns`.
    pub(super) fn note(&mut self, now_ns: u64) {
        if self.times.len() == EVENTS_MAX {
            self.times.pop_front();
        }
        self.times.push_back(now_ns);
    }

    /// Events per second as of `now_ns`; 0 once the last event is a few usual gaps old.
    pub(super) fn per_second(&mut self, now_ns: u64) -> f64 {
        while self.times.front().is_some_and(|t| now_ns.saturating_sub(*t) > WINDOW_NS) {
            self.times.pop_front();
        }
        let (Some(first), Some(last)) = (self.times.front(), self.times.back()) else { return 0.0 };
        let span = last.saturating_sub(*first);
        let gaps = self.times.len() as u64 - 1;
        if gaps == 0 || span == 0 {
            return 0.0;
        }
        // After three usual gaps, and at least a second, the events have stopped.
        let silence = now_ns.saturating_sub(*last);
        if silence > (3 * span / gaps).max(1_000_000_000) {
            return 0.0;
        }
        gaps as f64 * 1e9 / span as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_NS: u64 = 33_333_333;

    #[test]
    fn a_30_fps_source_reads_30_and_a_silent_one_0() {
        let mut rate = Rate::default();
        let mut now = 7_000_000_000;
        for _ in 0..1_000 {
            rate.note(now);
            now += FRAME_NS;
        }
        assert!((rate.per_second(now) - 30.0).abs() < 0.01, "{}", rate.per_second(now));
        assert_eq!(rate.per_second(now + 2_000_000_000), 0.0);
    }

    #[test]
    fn any_rate_is_read_exactly_and_memory_is_bounded() {
        for fps in [1.0, 5.0, 25.0, 240.0, 10_000.0] {
            let mut rate = Rate::default();
            let gap = (1e9 / fps) as u64;
            let last = (0..2_000u64).map(|i| i * gap).inspect(|t| rate.note(*t)).last().unwrap();
            let read = rate.per_second(last);
            assert!((read - fps).abs() / fps < 0.001, "{fps} reads {read}");
            assert!(rate.times.len() <= EVENTS_MAX);
        }
    }

    #[test]
    fn one_event_is_no_rate() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(5), 0.0);
        rate.note(5);
        assert_eq!(rate.per_second(6), 0.0);
    }
}
