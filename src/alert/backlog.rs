//! How a handler's queue has grown over the last minute. Pure: time is an argument.

use std::collections::VecDeque;

/// Time between two samples.
const SAMPLE_EVERY_NS: u64 = 10_000_000_000;
/// Samples kept: the oldest is a minute old.
const SAMPLES_MAX: usize = 7;

/// The latest samples of a queue's length.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// When, and how many alerts waited; oldest first.
    samples: VecDeque<(u64, usize)>,
}

impl Backlog {
    /// Takes a sample, if one is due.
    pub(super) fn sample(&mut self, pending: usize, now_ns: u64) {
        if self.samples.back().is_some_and(|(at_ns, _)| now_ns < at_ns + SAMPLE_EVERY_NS) {
            return;
        }
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((now_ns, pending));
    }

    /// How many more alerts wait than a minute ago; 0 if the queue was empty meanwhile, or for the first minute.
    pub(super) fn growth(&self, pending: usize) -> usize {
        let was_empty = self.samples.iter().skip(1).any(|(_, pending)| *pending == 0);
        match self.samples.front() {
            Some((_, before)) if self.samples.len() >= SAMPLES_MAX && !was_empty => pending.saturating_sub(*before),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// The growth after samples of these lengths, ten seconds apart.
    fn grown(pending: &[usize]) -> usize {
        let mut backlog = Backlog::default();
        for (index, pending) in pending.iter().enumerate() {
            let at_ns = index as u64 * SAMPLE_EVERY_NS;
            backlog.sample(*pending, at_ns);
            // One that is not due does not count.
            backlog.sample(0, at_ns + SECOND);
        }
        backlog.growth(pending.last().copied().unwrap_or(0))
    }

    #[test]
    fn a_queue_grows_if_more_wait_than_a_minute_ago_and_it_was_never_empty() {
        assert_eq!(grown(&[0, 10, 20, 30, 40, 50, 60]), 60);
        assert_eq!(grown(&[0, 0, 10, 20, 30, 40, 50, 60]), 60, "the minute moves on");
        assert_eq!(grown(&[10, 20, 30, 0, 40, 50, 60]), 0, "it was empty, so its receiver keeps up");
        assert_eq!(grown(&[60, 50, 40, 30, 20, 10, 5]), 0, "it shrinks");
        assert_eq!(grown(&[0, 10, 20, 30]), 0, "too early to say");
    }
}
