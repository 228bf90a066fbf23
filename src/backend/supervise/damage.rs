//! Decides when a live source's pipeline is built anew because of damaged frames. Pure: time is an argument.

use std::collections::VecDeque;

/// The window in which damaged frames are counted.
const WINDOW_NS: u64 = 10_000_000_000;
/// Shortest time between two rebuilds: where the network loses packets, a new pipeline does not help.
const REST_NS: u64 = 60_000_000_000;

/// A source's damaged frames, across all attempts.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// Number of damaged frames, by the second in which they came.
    seen: VecDeque<(u64, u64)>,
    rebuilt_ns: Option<u64>,
}

impl Damage {
    /// Counts damaged frames; returns how many there were in the window if they are `max` or more, and a rebuild is due.
    pub(super) fn count(&mut self, damaged: u64, max: u32, now_ns: u64) -> Option<u64> {
        if damaged == 0 {
            return None;
        }
        while self.seen.front().is_some_and(|(at_ns, _)| now_ns.saturating_sub(*at_ns) >= WINDOW_NS) {
            self.seen.pop_front();
        }
        match self.seen.back_mut() {
            // One entry a second at most, so that the window is bounded.
            Some((at_ns, count)) if now_ns.saturating_sub(*at_ns) < 1_000_000_000 => *count += damaged,
            _ => self.seen.push_back((now_ns, damaged)),
        }
        let total: u64 = self.seen.iter().map(|(_, count)| count).sum();
        let is_rested = self.rebuilt_ns.is_none_or(|at_ns| now_ns.saturating_sub(at_ns) >= REST_NS);
        if total < u64::from(max) || !is_rested {
            return None;
        }
        self.rebuilt_ns = Some(now_ns);
        self.seen.clear();
        Some(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn enough_damaged_frames_within_ten_seconds_are_a_reason_to_build_it_anew() {
        let mut damage = Damage::default();
        assert_eq!(damage.count(4, 5, S), None);
        assert_eq!(damage.count(0, 5, 2 * S), None);
        assert_eq!(damage.count(1, 5, 12 * S), None, "the four are too old");
        assert_eq!(damage.count(4, 5, 20 * S), Some(5));
    }

    #[test]
    fn it_is_built_anew_once_a_minute_at_most() {
        let mut damage = Damage::default();
        let rebuilt: Vec<u64> = (0..200).filter(|at| damage.count(25, 5, at * S).is_some()).collect();
        assert_eq!(rebuilt, [0, 60, 120, 180]);
        assert!(damage.seen.len() <= 11);
    }
}
