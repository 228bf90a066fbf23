//! The policy's memory: for each condition (a triple of source, rule and key), when it was last raised, with which
//! traits (level, labels, zones), and how many alerts were suppressed. Bounded; the least recently raised condition is
//! evicted first. `changes` notes what another process must know of it.

mod changes;

mod facts;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub(super) use self::changes::Restored;
use self::changes::{Changes, Elsewhere};
use super::settings::Spans;

/// Maximum conditions remembered; beyond it the least recently raised one is evicted, and counted if it was still
/// active.
pub const KEYS_MAX: usize = 10_000;
/// Maximum bytes of the conditions' keys.
pub const KEYS_BYTES_MAX: usize = 4 << 20;
/// How long a suppressed count is kept for the next alert of its condition.
const COUNT_KEPT_NS: u64 = 600_000_000_000;

/// Maximum traits remembered per condition; beyond it the least recently raised one is forgotten.
const TRAITS_MAX: usize = 32;

/// What a draft is to its condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// The condition has ended, or was never raised.
    New,
    /// It has a trait that the condition did not have.
    Changed,
    /// The last alert was long enough ago.
    Reminder,
    /// It tells nothing new.
    Same,
}

/// One condition.
#[derive(Debug, Clone)]
struct Condition {
    /// When it was last raised.
    raised_ns: u64,
    /// How long it lasts without being raised.
    lasts_ns: u64,
    /// When it last became an alert.
    told_ns: u64,
    /// Hashes of its traits, each with the time when it was last raised.
    traits: Vec<(u64, u64)>,
    /// Its alert was accepted; else it is not active, and only its count is kept.
    accepted: bool,
    /// Alerts suppressed since the last one.
    suppressed: u64,
    /// Its position in the order.
    turn: u64,
    /// What another process knows of it.
    elsewhere: Elsewhere,
}

/// The conditions of one source, those that last equally long ordered by when they were last raised.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    keys: HashMap<Arc<str>, Condition>,
    orders: BTreeMap<u64, BTreeMap<u64, Arc<str>>>,
    turn: u64,
    /// Bytes of the keys.
    bytes: usize,
    forgotten: u64,
    /// What changed since it was last saved; `None` if nothing is saved.
    changes: Option<Changes>,
}

impl Conditions {
    /// Applies other times and keeps the conditions.
    pub(super) fn set_times(&mut self, lasts_ns: impl Fn(&str) -> u64) {
        let former = std::mem::take(&mut self.orders);
        for (turn, text) in former.into_values().flatten() {
            if let Some(condition) = self.keys.get_mut(&text) {
                condition.lasts_ns = lasts_ns(&text);
                self.orders.entry(condition.lasts_ns).or_default().insert(turn, text);
            }
        }
    }

    /// Conditions evicted while active, for lack of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// What raising `key` with these traits now would be. Changes nothing.
    pub(super) fn known(&self, key: &str, traits: &[u64], now_ns: u64, spans: Spans) -> Known {
        let lasting = |condition: &&Condition| condition.lasts(now_ns, spans.lasts_ns);
        let Some(condition) = self.keys.get(key).filter(lasting) else { return Known::New };
        if traits.iter().any(|hash| !condition.has(*hash, now_ns, spans.lasts_ns)) {
            Known::Changed
        } else if spans.repeat_ns > 0 && now_ns.saturating_sub(condition.told_ns) >= spans.repeat_ns {
            Known::Reminder
        } else {
            Known::Same
        }
    }

    /// Records that `key`, which is active, was raised again and suppressed. Returns the number suppressed, this one
    /// included.
    pub(super) fn again(&mut self, key: &str, traits: &[u64], now_ns: u64, lasts_ns: u64) -> u64 {
        let Some(condition) = self.raised(key, now_ns, lasts_ns) else { return 0 };
        condition.suppressed += 1;
        condition.mark(traits, now_ns);
        condition.suppressed
    }

    /// Marks the condition as raised now, if it is active, and moves it to the end of the order.
    fn raised(&mut self, key: &str, now_ns: u64, lasts_ns: u64) -> Option<&mut Condition> {
        let condition = self.keys.get_mut(key).filter(|condition| condition.lasts(now_ns, lasts_ns))?;
        let text = self.orders.get_mut(&condition.lasts_ns)?.remove(&condition.turn)?;
        self.turn += 1;
        if let Some(changes) = &mut self.changes {
            changes.renewed(&mut condition.elsewhere, &text);
        }
        self.orders.entry(lasts_ns).or_default().insert(self.turn, text);
        (condition.raised_ns, condition.lasts_ns, condition.turn) = (now_ns, lasts_ns, self.turn);
        Some(condition)
    }

    /// Records an alert of `key`. Returns the number suppressed since the previous one.
    pub(super) fn begin(&mut self, key: &str, traits: &[u64], now_ns: u64, lasts_ns: u64) -> u64 {
        let mut kept = match self.keys.get_mut(key) {
            Some(condition) if condition.lasts(now_ns, lasts_ns) => std::mem::take(&mut condition.traits),
            _ => Vec::new(),
        };
        kept.retain(|(_, raised_ns)| is_recent(*raised_ns, now_ns, lasts_ns));
        let mut condition =
            Condition { raised_ns: now_ns, lasts_ns, told_ns: now_ns, traits: kept, ..Condition::accepted() };
        condition.mark(traits, now_ns);
        let suppressed = self.put(key, condition);
        self.forget(now_ns, lasts_ns);
        suppressed
    }

    /// Undoes `begin` for `key` and restores its suppressed count.
    pub(super) fn take_back(&mut self, key: &str, suppressed: u64) {
        if let Some((raised_ns, lasts_ns)) = self.keys.get(key).map(|known| (known.raised_ns, known.lasts_ns)) {
            let condition = Condition { raised_ns, lasts_ns, accepted: false, suppressed, ..Condition::accepted() };
            self.put(key, condition);
        }
    }

    /// Moves `key` to the end of the order. Returns its previous suppressed count.
    fn put(&mut self, key: &str, condition: Condition) -> u64 {
        self.turn += 1;
        let (turn, lasts_ns) = (self.turn, condition.lasts_ns);
        let mut condition = Condition { turn, ..condition };
        let (text, former) = match self.keys.get_mut(key) {
            Some(known) => {
                condition.elsewhere = known.elsewhere;
                let former = std::mem::replace(known, condition);
                let order = self.orders.get_mut(&former.lasts_ns);
                let text = order.and_then(|order| order.remove(&former.turn));
                (text.unwrap_or_else(|| key.into()), former.suppressed)
            }
            None => {
                let text: Arc<str> = key.into();
                self.bytes += text.len();
                self.keys.insert(Arc::clone(&text), condition);
                (text, 0)
            }
        };
        if let Some(Condition { elsewhere, .. }) = self.keys.get_mut(key) {
            elsewhere.begin();
            self.changes.iter_mut().for_each(|changes| changes.begun(elsewhere, &text));
        }
        self.orders.entry(lasts_ns).or_default().insert(turn, text);
        self.bound_changes();
        former
    }

    /// Evicts conditions that have ended and whose count was reported, and those beyond the limits.
    fn forget(&mut self, now_ns: u64, lasts_ns: u64) {
        self.sweep(now_ns, lasts_ns);
        if !self.is_over() {
            return;
        }
        let all: Vec<u64> = self.orders.keys().copied().collect();
        all.into_iter().for_each(|lasts_ns| self.sweep(now_ns, lasts_ns));
        while self.is_over() {
            let oldest = |(lasts_ns, order): (&u64, &BTreeMap<u64, Arc<str>>)| Some((*order.keys().next()?, *lasts_ns));
            let Some((_, lasts_ns)) = self.orders.iter().filter_map(oldest).min() else { return };
            self.evict(now_ns, lasts_ns);
        }
    }

    fn is_over(&self) -> bool {
        self.keys.len() > KEYS_MAX || self.bytes > KEYS_BYTES_MAX
    }

    /// Evicts those that have ended and whose count was reported, among those that last equally long.
    fn sweep(&mut self, now_ns: u64, lasts_ns: u64) {
        while let Some(text) = self.orders.get(&lasts_ns).and_then(|order| order.values().next()) {
            let goes = self.keys.get(text).is_none_or(|condition| {
                let is_reported = condition.suppressed == 0 || condition.lasted_before(now_ns, COUNT_KEPT_NS);
                !condition.lasts(now_ns, lasts_ns) && is_reported
            });
            if !goes {
                return;
            }
            self.evict(now_ns, lasts_ns);
        }
    }

    /// Evicts the least recently raised one of those that last equally long.
    fn evict(&mut self, now_ns: u64, lasts_ns: u64) {
        let Some((_, text)) = self.orders.get_mut(&lasts_ns).and_then(BTreeMap::pop_first) else { return };
        let Some(condition) = self.keys.remove(&text) else { return };
        self.forgotten += u64::from(condition.lasts(now_ns, lasts_ns));
        self.bytes -= text.len();
        if let Some(changes) = &mut self.changes {
            changes.gone(condition.elsewhere, text);
        }
    }
}

/// Whether it was raised within the last `lasts_ns`. A later time means that the source restarted.
fn is_recent(raised_ns: u64, now_ns: u64, lasts_ns: u64) -> bool {
    now_ns.checked_sub(raised_ns).is_some_and(|age_ns| age_ns < lasts_ns)
}

impl Condition {
    fn accepted() -> Self {
        Self {
            raised_ns: 0,
            lasts_ns: 0,
            told_ns: 0,
            traits: Vec::new(),
            accepted: true,
            suppressed: 0,
            turn: 0,
            elsewhere: Elsewhere::default(),
        }
    }

    /// Whether it had this trait within the last `lasts_ns`.
    fn has(&self, hash: u64, now_ns: u64, lasts_ns: u64) -> bool {
        self.traits.iter().any(|(known, raised_ns)| *known == hash && is_recent(*raised_ns, now_ns, lasts_ns))
    }

    /// Records that it was raised with these traits.
    fn mark(&mut self, traits: &[u64], now_ns: u64) {
        for hash in traits {
            match self.traits.iter_mut().find(|(known, _)| known == hash) {
                Some((_, raised_ns)) => *raised_ns = now_ns,
                None => {
                    if self.traits.len() >= TRAITS_MAX
                        && let Some(oldest) = (0..self.traits.len()).min_by_key(|at| self.traits[*at].1)
                    {
                        self.traits.remove(oldest);
                    }
                    self.traits.push((*hash, now_ns));
                }
            }
        }
    }

    /// Whether it is still active. A frame time before the last raise means that the source restarted.
    fn lasts(&self, now_ns: u64, lasts_ns: u64) -> bool {
        self.accepted && is_recent(self.raised_ns, now_ns, lasts_ns)
    }

    /// Whether it was last raised at least `age_ns` ago.
    fn lasted_before(&self, now_ns: u64, age_ns: u64) -> bool {
        now_ns.checked_sub(self.raised_ns).is_some_and(|age| age >= age_ns)
    }
}

#[cfg(test)]
impl Conditions {
    /// Number of conditions, and bytes of their keys.
    pub(super) fn size(&self) -> (usize, usize) {
        assert_eq!(self.keys.len(), self.orders.values().map(BTreeMap::len).sum::<usize>());
        assert_eq!(self.keys.keys().map(|key| key.len()).sum::<usize>(), self.bytes);
        (self.keys.len(), self.bytes)
    }

    /// Suppressed alerts not reported yet.
    pub(super) fn waiting(&self) -> u64 {
        self.keys.values().map(|condition| condition.suppressed).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Conditions that last for ten seconds.
    const TEN: u64 = 10 * SECOND;

    fn known(conditions: &Conditions, key: &str, traits: &[u64], now_ns: u64) -> Known {
        conditions.known(key, traits, now_ns, Spans::new(Duration::from_secs(10), Duration::ZERO))
    }

    #[test]
    fn the_count_of_an_alert_that_was_not_accepted_is_forgotten_in_time() {
        let mut conditions = Conditions::default();
        conditions.begin("a", &[], 0, TEN);
        assert_eq!(conditions.again("a", &[], SECOND, TEN), 1);
        assert_eq!(conditions.begin("a", &[], 20 * SECOND, TEN), 1);
        conditions.take_back("a", 1);
        assert_eq!(known(&conditions, "a", &[], 21 * SECOND), Known::New, "it is not active");
        conditions.begin("b", &[], 22 * SECOND, TEN);
        // The count is kept for ten minutes, and holds up nothing behind it afterwards.
        conditions.begin("c", &[], 619 * SECOND, TEN);
        assert_eq!((conditions.size().0, conditions.waiting()), (3, 1));
        conditions.begin("d", &[], 700 * SECOND, TEN);
        assert_eq!((conditions.size().0, conditions.waiting()), (1, 0), "only the last one is left");
        assert_eq!(conditions.forgotten(), 0);
    }

    #[test]
    fn a_condition_that_was_ended_is_new_and_so_are_all_that_begin_like_it() {
        let mut conditions = Conditions::default();
        for key in ["r.a", "r.b", "s.a"] {
            conditions.begin(key, &[1], 0, TEN);
        }
        conditions.again("r.a", &[1], SECOND, TEN);
        let all = |conditions: &Conditions| ["r.a", "r.b", "s.a"].map(|key| known(conditions, key, &[1], SECOND));
        conditions.end("r.a", false);
        assert_eq!(all(&conditions), [Known::New, Known::Same, Known::Same]);
        assert_eq!(conditions.begin("r.a", &[1], 2 * SECOND, TEN), 1, "what was suppressed is still told");
        conditions.end("r.", true);
        assert_eq!(all(&conditions), [Known::New, Known::New, Known::Same]);
        conditions.end("unknown", false);
        assert_eq!(conditions.size().0, 3);
    }

    #[test]
    fn a_trait_is_new_until_it_was_raised_and_again_when_it_was_not_for_as_long_as_a_condition_lasts() {
        let mut conditions = Conditions::default();
        conditions.begin("a", &[1], 0, TEN);
        assert_eq!(known(&conditions, "a", &[1], SECOND), Known::Same);
        assert_eq!(known(&conditions, "a", &[1, 2], SECOND), Known::Changed);
        conditions.begin("a", &[1, 2], SECOND, TEN);
        assert_eq!(known(&conditions, "a", &[2], 2 * SECOND), Known::Same);
        for at in 2..15 {
            conditions.again("a", &[2], at * SECOND, TEN);
        }
        assert_eq!(known(&conditions, "a", &[1], 15 * SECOND), Known::Changed, "not seen for 14 s");
        // Bounded, the oldest first.
        for hash in 3..100 {
            conditions.begin("a", &[hash], 15 * SECOND, TEN);
        }
        assert_eq!(known(&conditions, "a", &[99, 68], 16 * SECOND), Known::Same);
        assert_eq!(known(&conditions, "a", &[2], 16 * SECOND), Known::Changed);
    }

    #[test]
    fn a_condition_that_lasts_is_told_again_after_the_time_for_it() {
        let spans = Spans::new(Duration::from_secs(10), Duration::from_secs(30));
        let mut conditions = Conditions::default();
        let mut told = Vec::new();
        for at in 0..100 {
            match conditions.known("a", &[], at * SECOND, spans) {
                Known::Same => {
                    conditions.again("a", &[], at * SECOND, TEN);
                }
                _ => told.push((at, conditions.begin("a", &[], at * SECOND, TEN))),
            }
        }
        assert_eq!(told, [(0, 0), (30, 29), (60, 29), (90, 29)]);
    }

    #[test]
    fn one_that_lasts_long_keeps_none_that_has_ended_and_is_not_evicted_for_it() {
        let mut conditions = Conditions::default();
        conditions.begin("long", &[], 0, 90_000 * SECOND);
        for number in 0..3 * KEYS_MAX as u64 {
            conditions.begin(&number.to_string(), &[], number * SECOND, TEN);
        }
        assert_eq!(conditions.forgotten(), 0);
        assert_eq!(conditions.size().0, 11, "those of the last ten seconds, and the long one");
        conditions.begin("long", &[], 0, 90_000 * SECOND);
        for number in 0..KEYS_MAX as u64 {
            conditions.begin(&number.to_string(), &[], number, TEN);
        }
        assert_eq!((conditions.size().0, conditions.forgotten()), (KEYS_MAX, 1), "beyond the limit the oldest goes");
    }
}
