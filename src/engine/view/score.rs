//! How well a source has done lately, as a number from 0 to 100. Pure: time is an argument.
//!
//! Over the last ten minutes, or since the source first ran or failed:
//!
//! `score = 100 · up · (1 − damaged) − silent − flapping`, at least 0, where
//!
//! * `up` is the share of the time in which it ran, or waited for a publisher,
//! * `damaged` is the share of its frames that could not be decoded,
//! * `silent` is 20 if it has not been up for ten seconds, 40 for thirty,
//! * `flapping` is 20 with more than five failed attempts.
//!
//! From 80 on it is `healthy`, from 60 `degraded`, from 30 `unhealthy`, below `critical`.

use std::collections::VecDeque;

const MINUTE_NS: u64 = 60_000_000_000;
/// Minutes that count.
const MINUTES: u64 = 10;
/// Since when it is not up, and what that costs; the longest first.
const SILENT: [(u64, f64); 2] = [(30_000_000_000, 40.0), (10_000_000_000, 20.0)];
/// Failed attempts that cost nothing, and what more of them cost.
const FLAPPING: (u64, f64) = (5, 20.0);

#[derive(Debug, Clone, Copy, Default)]
struct Minute {
    /// Minutes since the clock's start.
    number: u64,
    up_ns: u64,
    down_ns: u64,
    failures: u64,
    frames: u64,
    damaged: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Score {
    minutes: VecDeque<Minute>,
    /// Until when time is counted; `None` before it first ran or failed.
    counted_ns: Option<u64>,
    is_up: bool,
    /// When it was last up, or first looked at.
    up_ns: u64,
}

impl Score {
    /// The source is up from now on, or is not.
    pub(in crate::engine) fn state(&mut self, is_up: bool, now_ns: u64) {
        if self.counted_ns.is_some() || is_up {
            self.minute(now_ns);
        }
        self.is_up = is_up;
    }

    /// An attempt has failed.
    pub(in crate::engine) fn failed(&mut self, now_ns: u64) {
        self.minute(now_ns).failures += 1;
    }

    /// So many frames arrived, of which some could not be decoded.
    pub(in crate::engine) fn frames(&mut self, frames: u64, damaged: u64, now_ns: u64) {
        let minute = self.minute(now_ns);
        (minute.frames, minute.damaged) = (minute.frames + frames, minute.damaged + damaged);
    }

    /// The score; `None` before it first ran or failed.
    pub(in crate::engine) fn read(&mut self, now_ns: u64) -> Option<f64> {
        self.counted_ns?;
        self.minute(now_ns);
        let sum = |of: fn(&Minute) -> u64| self.minutes.iter().map(of).sum::<u64>();
        let (up_ns, down_ns, damaged) = (sum(|m| m.up_ns), sum(|m| m.down_ns), sum(|m| m.damaged));
        let share = |part: u64, all: u64| if all == 0 { 0.0 } else { part as f64 / all as f64 };
        let up = if up_ns + down_ns == 0 { f64::from(u8::from(self.is_up)) } else { share(up_ns, up_ns + down_ns) };
        let silent_ns = now_ns.saturating_sub(self.up_ns);
        let silent = SILENT.into_iter().find(|(after_ns, _)| silent_ns >= *after_ns).map_or(0.0, |(_, cost)| cost);
        let flapping = if sum(|m| m.failures) > FLAPPING.0 { FLAPPING.1 } else { 0.0 };
        let score = 100.0 * up * (1.0 - share(damaged, sum(|m| m.frames))) - silent - flapping;
        Some((score.max(0.0) * 10.0).round() / 10.0)
    }

    /// The present minute, with the time up to now counted.
    fn minute(&mut self, now_ns: u64) -> &mut Minute {
        let number = now_ns / MINUTE_NS;
        if self.counted_ns.is_none() {
            self.up_ns = now_ns;
        }
        let oldest_ns = (number + 1).saturating_sub(MINUTES) * MINUTE_NS;
        // What is older does not count, so a long silence is counted in few steps.
        let mut from_ns = self.counted_ns.unwrap_or(now_ns).max(oldest_ns);
        while from_ns < now_ns {
            let until_ns = ((from_ns / MINUTE_NS + 1) * MINUTE_NS).min(now_ns);
            let (is_up, minute) = (self.is_up, self.at(from_ns / MINUTE_NS));
            *(if is_up { &mut minute.up_ns } else { &mut minute.down_ns }) += until_ns - from_ns;
            from_ns = until_ns;
        }
        if self.is_up {
            self.up_ns = now_ns;
        }
        self.counted_ns = Some(self.counted_ns.unwrap_or(now_ns).max(now_ns));
        self.at(number)
    }

    fn at(&mut self, number: u64) -> &mut Minute {
        while self.minutes.front().is_some_and(|minute| minute.number + MINUTES <= number) {
            self.minutes.pop_front();
        }
        if self.minutes.back().is_none_or(|minute| minute.number < number) {
            self.minutes.push_back(Minute { number, ..Minute::default() });
        }
        let last = self.minutes.len() - 1;
        &mut self.minutes[last]
    }
}

/// The word for a score.
pub(in crate::engine) fn word(score: f64) -> &'static str {
    match score {
        80.0.. => "healthy",
        60.0.. => "degraded",
        30.0.. => "unhealthy",
        _ => "critical",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn it_is_the_share_of_time_in_which_the_source_ran() {
        let mut score = Score::default();
        score.state(false, 100 * S);
        assert_eq!(score.read(200 * S), None, "it has neither run nor failed");
        score.state(true, 200 * S);
        assert_eq!(score.read(200 * S), Some(100.0));
        score.state(false, 260 * S);
        assert_eq!(score.read(269 * S), Some(87.0));
        assert_eq!(score.read(270 * S), Some(65.7), "ten seconds of silence cost twenty");
        assert_eq!(score.read(290 * S), Some(26.7), "thirty cost forty");
        score.state(true, 320 * S);
        assert_eq!(score.read(320 * S), Some(50.0));
        assert_eq!(score.read(320 * S + 700 * S), Some(100.0), "ten minutes later it is forgotten");
    }

    #[test]
    fn damaged_frames_and_more_than_a_few_failures_cost() {
        let mut score = Score::default();
        score.state(true, 60 * S);
        score.frames(75, 0, 61 * S);
        score.frames(25, 25, 62 * S);
        assert_eq!(score.read(63 * S), Some(75.0));
        (0..5).for_each(|_| score.failed(64 * S));
        assert_eq!(score.read(65 * S), Some(75.0));
        score.failed(66 * S);
        assert_eq!(score.read(67 * S), Some(55.0));
        assert_eq!(score.read(660 * S), Some(100.0));
    }

    #[test]
    fn a_source_that_never_ran_has_none_of_it() {
        let mut score = Score::default();
        score.failed(60 * S);
        assert_eq!(score.read(60 * S), Some(0.0));
        assert_eq!(score.read(u64::MAX / 2), Some(0.0));
        assert!(score.minutes.len() <= MINUTES as usize);
    }

    #[test]
    fn the_words_have_their_limits() {
        let words = [100.0, 80.0, 79.9, 60.0, 59.9, 30.0, 29.9, 0.0].map(word);
        let all = ["healthy", "healthy", "degraded", "degraded", "unhealthy", "unhealthy", "critical", "critical"];
        assert_eq!(words, all);
    }
}
