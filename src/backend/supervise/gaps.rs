//! Learns the usual gap between a stream's frames and how long a silence it therefore tolerates. Pure: time is an
//! argument.
//!
//! A camera that sends one picture every five seconds at night is slow, not lost. Its pace follows from the observed
//! gaps, and from the stated frame rate until enough were observed.

use std::collections::VecDeque;
use std::time::Duration;

/// Gaps remembered.
const GAPS_MAX: usize = 32;
/// Gaps within one attempt before the stream's pace counts as known.
const KNOWN_FROM: u32 = 2;
/// Gaps from which on the stated rate is ignored, and the longest gap as an outlier.
const SURE_FROM: usize = 8;
/// Usual gaps before silence is a fault.
const USUAL_GAPS: u32 = 3;
/// Upper bound on the tolerance for a slow stream.
const PACE_MAX: Duration = Duration::from_secs(120);
/// Upper bound on the wait for the second frame of a stream of unknown pace.
const UNKNOWN_MAX: Duration = Duration::from_secs(60);

/// A source's gaps, across all attempts.
#[derive(Debug, Default)]
pub struct Gaps {
    seen: VecDeque<Duration>,
    /// Arrival of this attempt's last frame.
    last_ns: Option<u64>,
    /// Number of gaps in this attempt.
    known: u32,
    /// The frame period that the stream states.
    stated: Duration,
    /// Attempts in a row that stalled before their pace was known.
    misses: u32,
}

impl Gaps {
    /// Starts another attempt.
    pub fn start(&mut self) {
        if self.last_ns.is_some() && self.known < KNOWN_FROM {
            self.misses = self.misses.saturating_add(1);
        }
        (self.last_ns, self.known, self.stated) = (None, 0, Duration::ZERO);
    }

    /// Records a frame at `now_ns`; `period_ns` is the frame period that the stream states.
    pub fn frame(&mut self, now_ns: u64, period_ns: Option<u64>) {
        self.stated = period_ns.map_or(Duration::ZERO, Duration::from_nanos);
        if let Some(last_ns) = self.last_ns.replace(now_ns) {
            if self.seen.len() == GAPS_MAX {
                self.seen.pop_front();
            }
            self.seen.push_back(Duration::from_nanos(now_ns.saturating_sub(last_ns)));
            self.known = self.known.saturating_add(1);
            if self.known >= KNOWN_FROM {
                self.misses = 0;
            }
        }
    }

    /// The longest usual gap, without a single outlier.
    fn usual(&self) -> Duration {
        let (mut longest, mut second) = (Duration::ZERO, Duration::ZERO);
        for gap in &self.seen {
            if *gap > longest {
                (longest, second) = (*gap, longest);
            } else {
                second = second.max(*gap);
            }
        }
        if self.seen.len() >= SURE_FROM { second } else { longest.max(self.stated) }
    }

    /// How long a silence may last, given the configured `gap` and `first_frame` limits.
    pub fn limit(&self, gap: Duration, first_frame: Duration) -> Duration {
        let own = self.usual().saturating_mul(USUAL_GAPS).min(PACE_MAX);
        if self.known >= KNOWN_FROM {
            return gap.max(own);
        }
        let unknown = first_frame.saturating_mul(1 << self.misses.min(6)).min(UNKNOWN_MAX.max(first_frame));
        gap.max(own).max(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// The limit after frames at these times, in milliseconds; gap limit 3 s, first frame 8 s.
    fn limit(gaps: &Gaps) -> u64 {
        gaps.limit(Duration::from_secs(3), Duration::from_secs(8)).as_millis() as u64
    }

    fn after(times_ms: &[u64], stated_ms: Option<u64>) -> Gaps {
        let mut gaps = Gaps::default();
        gaps.start();
        times_ms.iter().for_each(|at| gaps.frame(at * MS, stated_ms.map(|ms| ms * MS)));
        gaps
    }

    #[test]
    fn silence_is_measured_by_the_streams_own_pace() {
        let every = |ms: u64| (0..20).map(|n| n * ms).collect::<Vec<_>>();
        for (times, stated, expected) in [
            (every(40), None, 3_000),
            (every(40), Some(40), 3_000),
            (every(5_000), None, 15_000),
            (every(5_000), Some(40), 15_000),
            (every(1_500), None, 4_500),
            // The stated rate counts until gaps were observed.
            (vec![0], Some(5_000), 15_000),
            (every(40), Some(5_000), 3_000),
            // An unknown pace gets the first frame's limit.
            (vec![0], None, 8_000),
            (vec![0, 40], Some(40), 8_000),
            (vec![0, 5_000, 10_000], None, 15_000),
            // There is an upper bound.
            (every(90_000), None, 120_000),
            (vec![0], Some(3_600_000), 120_000),
        ] {
            assert_eq!(limit(&after(&times, stated)), expected, "{times:?} {stated:?}");
        }
    }

    #[test]
    fn one_mishap_is_no_pace() {
        let mut times: Vec<u64> = (0..20).map(|n| n * 40).collect();
        times.push(19 * 40 + 2_900);
        assert_eq!(limit(&after(&times, None)), 3_000);
        let mut gaps = after(&times, None);
        (0..40).for_each(|n| gaps.frame((10_000 + n * 2_000) * MS, None));
        assert_eq!(limit(&gaps), 6_000, "a new pace is learnt");
    }

    #[test]
    fn a_pace_that_stays_unknown_is_waited_for_longer_each_time_and_one_that_is_known_is_kept() {
        let mut gaps = Gaps::default();
        let mut limits = Vec::new();
        for _ in 0..5 {
            gaps.start();
            gaps.frame(0, None);
            limits.push(limit(&gaps));
        }
        assert_eq!(limits, [8_000, 16_000, 32_000, 60_000, 60_000]);
        (1..4).for_each(|n| gaps.frame(n * 10_000 * MS, None));
        assert_eq!(limit(&gaps), 30_000);
        gaps.start();
        gaps.frame(0, None);
        assert_eq!(limit(&gaps), 30_000, "another attempt knows it");
    }
}
