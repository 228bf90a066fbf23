//! What the strategies of a source did, minute by minute, for the log: it answers why nothing was raised.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Capture time between two entries.
const EVERY_MS: u64 = 60_000;
/// Maximum strategies of one source that are told apart.
const STRATEGIES_MAX: usize = 256;

/// What a strategy did with frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Work {
    /// Frames that it judged.
    pub judged: u64,
    /// Frames outside its `schedule`.
    pub off: u64,
    /// Frames on which it failed.
    pub faults: u64,
    /// Drafts that it raised.
    pub raised: u64,
}

impl Work {
    /// Adds other frames.
    pub fn add(&mut self, other: &Self) {
        let Self { judged, off, faults, raised } = other;
        self.judged += judged;
        self.off += off;
        self.faults += faults;
        self.raised += raised;
    }
}

/// What the strategies of a source did in some time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Seen {
    /// Capture time of the first frame, in Unix milliseconds.
    pub since_ms: u64,
    /// Frames judged.
    pub frames: u64,
    /// The strategies.
    pub strategies: BTreeMap<String, Work>,
}

impl Seen {
    /// Adds what a strategy did with a frame.
    pub(super) fn add(&mut self, strategy: &str, work: &Work) {
        if let Some(known) = self.strategies.get_mut(strategy) {
            known.add(work);
        } else if self.strategies.len() < STRATEGIES_MAX {
            self.strategies.insert(strategy.to_owned(), *work);
        }
    }

    /// Adds a frame that every strategy has seen. Returns what was seen before it, once a minute is over.
    pub(super) fn frame(&mut self, at_ms: u64) -> Option<Self> {
        // An earlier time means that the source restarted.
        let is_over = self.frames > 0 && at_ms.checked_sub(self.since_ms).is_none_or(|ms| ms >= EVERY_MS);
        let former = is_over.then(|| std::mem::take(self));
        if self.frames == 0 {
            self.since_ms = at_ms;
        }
        self.frames += 1;
        former
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_minute_is_told_once_with_what_each_strategy_did() {
        let mut seen = Seen::default();
        let mut told = Vec::new();
        for second in 0..150 {
            told.extend(seen.frame(1_000_000 + second * 1000));
            seen.add("a", &Work { judged: 1, raised: second % 2, ..Work::default() });
            seen.add("b", &Work { off: 1, ..Work::default() });
        }
        let work = |judged, off, raised| Work { judged, off, faults: 0, raised };
        let strategies = BTreeMap::from([("a".to_owned(), work(60, 0, 30)), ("b".to_owned(), work(0, 60, 0))]);
        let minute =
            |number: u64| Seen { since_ms: 1_000_000 + number * 60_000, frames: 60, strategies: strategies.clone() };
        assert_eq!(told, [minute(0), minute(1)]);
        assert_eq!(seen.frames, 30);
        assert_eq!(seen.frame(5).map(|former| former.frames), Some(30), "the source restarted");
    }
}
