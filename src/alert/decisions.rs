//! Which decisions are logged. A condition that lasts is raised on every frame: of equal decisions on one key, the log
//! has the first and then at most one a second, which counts those in between. Frame time only, so that a replay logs
//! the same.

use std::collections::HashMap;

/// Minimum frame time between two equal decisions in the log.
const LOGGED_EVERY_NS: u64 = 1_000_000_000;
/// Maximum keys that are remembered.
const SLOTS_MAX: usize = 4_096;

/// See the module. One per lane, and one for what the outbox does not accept.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    slots: HashMap<u64, Slot>,
    swept_ns: u64,
    /// Decisions that no entry counts.
    lost: u64,
}

#[derive(Debug)]
struct Slot {
    logged_ns: u64,
    /// Decisions since then.
    more: u64,
}

impl Decisions {
    /// Whether a decision on which these texts are known (its kind, the draft's rule and key) is logged now: how many
    /// equal ones were not since the last one.
    pub(super) fn admit(&mut self, texts: &[&str], now_ns: u64) -> Option<u64> {
        let slot = hash(texts);
        if !self.slots.contains_key(&slot) && self.slots.len() >= SLOTS_MAX && !self.sweep(now_ns) {
            self.lost += 1;
            return None;
        }
        let Some(known) = self.slots.get_mut(&slot) else {
            self.slots.insert(slot, Slot { logged_ns: now_ns, more: 0 });
            return Some(0);
        };
        // An earlier time means that the source restarted.
        if now_ns.checked_sub(known.logged_ns).is_some_and(|since_ns| since_ns < LOGGED_EVERY_NS) {
            known.more += 1;
            return None;
        }
        known.logged_ns = now_ns;
        Some(std::mem::take(&mut known.more))
    }

    /// Decisions that no entry counts, since the last call.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Decisions that no entry counts, at the end.
    pub(super) fn take_rest(&mut self) -> u64 {
        let more: u64 = self.slots.drain().map(|(_, slot)| slot.more).sum();
        more + self.take_lost()
    }

    /// Forgets keys that may be logged again anyway, at most once a second. Returns whether there is room.
    fn sweep(&mut self, now_ns: u64) -> bool {
        if now_ns.checked_sub(self.swept_ns).is_none_or(|since_ns| since_ns >= LOGGED_EVERY_NS) {
            self.swept_ns = now_ns;
            let is_recent = |slot: &Slot| now_ns.checked_sub(slot.logged_ns).is_some_and(|ns| ns < LOGGED_EVERY_NS);
            let gone = self.slots.extract_if(|_, slot| !is_recent(slot));
            self.lost += gone.map(|(_, slot)| slot.more).sum::<u64>();
        }
        self.slots.len() < SLOTS_MAX
    }
}

/// A hash of texts, the same in every process (FNV-1a); their ends count.
fn hash(texts: &[&str]) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_first_of_equal_decisions_is_logged_and_then_one_a_second_that_counts_the_others() {
        let mut decisions = Decisions::default();
        let logged: Vec<(u64, u64)> = (0..100)
            .filter_map(|frame| Some((frame, decisions.admit(&["condition", "r", "1"], frame * SECOND / 30)?)))
            .collect();
        assert_eq!(logged, [(0, 0), (30, 29), (60, 29), (90, 29)]);
        for (kind, rule, key) in [("condition", "r", "2"), ("condition", "r2", "1"), ("burst", "r", "1")] {
            assert_eq!(decisions.admit(&[kind, rule, key], 0), Some(0), "{kind} {rule} {key} is another");
        }
        assert_eq!(decisions.admit(&["condition", "r", "1"], 0), Some(9), "the source restarted");
    }

    #[test]
    fn keys_are_bounded_and_what_is_not_logged_is_counted() {
        let mut decisions = Decisions::default();
        let mut admit = |key: usize| decisions.admit(&["k", "r", &key.to_string()], 0).is_some();
        let logged = (0..SLOTS_MAX + 10).filter(|key| admit(*key)).count();
        assert_eq!((logged, decisions.take_lost()), (SLOTS_MAX, 10));
        assert_eq!(decisions.admit(&["k", "r", "7"], SECOND / 2), None);
        assert_eq!(decisions.admit(&["k", "r", "new"], SECOND), Some(0), "those of the former second are forgotten");
        assert_eq!(decisions.take_lost(), 1, "the repeat of 7");
    }
}
