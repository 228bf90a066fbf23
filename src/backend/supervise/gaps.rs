//! How far apart a stream's frames usually are, and how long its silence is put up with for that. Pure: time is an argument.
//!
//! A camera that sends one picture in five seconds at night is slow, not gone. How slow it is shows in the gaps between its
//! frames, and in the frame rate that it states until enough of them were seen.

use std::collections::VecDeque;
use std::time::Duration;

/// Gaps that are remembered.
const GAPS_MAX: usize = 32;
/// Gaps of one attempt before a stream's pace counts as known.
const KNOWN_FROM: u32 = 2;
/// Gaps from which on the stated rate counts for nothing, and the longest of them for a mishap.
const SURE_FROM: usize = 8;
/// Silence is no fault before so many of the usual gaps.
const USUAL_GAPS: u32 = 3;
/// The longest silence that is put up with for a stream's own pace.
const PACE_MAX: Duration = Duration::from_secs(120);
/// The longest that the second frame of a stream of unknown pace is waited for.
const UNKNOWN_MAX: Duration = Duration::from_secs(60);

/// A source's gaps, over all attempts.
#[derive(Debug, Default)]
pub struct Gaps {
    seen: VecDeque<Duration>,
    /// When the last frame of this attempt came.
    last_ns: Option<u64>,
    /// Gaps of this attempt.
    known: u32,
    /// What the stream states of itself.
    stated: Duration,
    /// Attempts in a row that fell silent before their pace was known.
    misses: u32,
}

impl Gaps {
    /// Another attempt begins.
    pub fn start(&mut self) {
        if self.last_ns.is_some() && self.known < KNOWN_FROM {
            self.misses = self.misses.saturating_add(1);
        }
        (self.last_ns, self.known, self.stated) = (None, 0, Duration::ZERO);
    }

    /// A frame came at `now_ns`, of a stream that states `period_ns` between two.
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

    /// The longest gap that is usual: one mishap among many is none.
    fn usual(&self) -> Duration {
        let mut sorted: Vec<Duration> = self.seen.iter().copied().collect();
        sorted.sort_unstable();
        if sorted.len() >= SURE_FROM {
            sorted.pop();
            return sorted.last().copied().unwrap_or_default();
        }
        sorted.last().copied().unwrap_or_default().max(self.stated)
    }

    /// How long a silence may last, where `gap` is what was set, and `first_frame` what the first frame may take.
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

    /// The limit after frames at these times, in milliseconds; 3 s between frames, 8 s for the first.
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
            // What it states counts until it is seen.
            (vec![0], Some(5_000), 15_000),
            (every(40), Some(5_000), 3_000),
            // A pace that is not known yet is given the time of a first frame.
            (vec![0], None, 8_000),
            (vec![0, 40], Some(40), 8_000),
            (vec![0, 5_000, 10_000], None, 15_000),
            // Never for ever.
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
