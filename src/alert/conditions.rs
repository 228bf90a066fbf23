//! The policy's memory: for each condition (a triple of source, rule and key), when it was last raised and how many
//! alerts were suppressed. Bounded; the least recently raised condition is evicted first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Maximum conditions remembered; beyond it the least recently raised one is evicted, and counted if it was still
/// active.
pub const KEYS_MAX: usize = 10_000;
/// Maximum bytes of the conditions' keys.
pub const KEYS_BYTES_MAX: usize = 4 << 20;
/// Minimum time without being raised after which a condition ends: a detection may be missed for a moment.
const LASTS_MIN: Duration = Duration::from_secs(2);
/// How long a suppressed count is kept for the next alert of its condition.
const COUNT_KEPT_NS: u64 = 600_000_000_000;

/// One condition.
#[derive(Debug, Clone, Copy)]
struct Condition {
    /// When it was last raised.
    raised_ns: u64,
    /// Its alert was accepted; else it is not active, and only its count is kept.
    accepted: bool,
    /// Alerts suppressed since the last one.
    suppressed: u64,
    /// Its position in the order.
    turn: u64,
}

/// The conditions of one source, ordered by when they were last raised.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    lasts_ns: u64,
    keys: HashMap<Arc<str>, Condition>,
    order: BTreeMap<u64, Arc<str>>,
    turn: u64,
    /// Bytes of the keys.
    bytes: usize,
    forgotten: u64,
}

/// How long a condition lasts without being raised: at least [`LASTS_MIN`], however short `throttle` is. Zero turns
/// suppression off.
fn lasts_ns(throttle: Duration) -> u64 {
    let lasts = if throttle.is_zero() { throttle } else { throttle.max(LASTS_MIN) };
    u64::try_from(lasts.as_nanos()).unwrap_or(u64::MAX)
}

impl Conditions {
    pub(super) fn new(throttle: Duration) -> Self {
        Self { lasts_ns: lasts_ns(throttle), ..Self::default() }
    }

    /// Applies another throttle and keeps the conditions.
    pub(super) fn set_throttle(&mut self, throttle: Duration) {
        self.lasts_ns = lasts_ns(throttle);
    }

    /// Conditions evicted while active, for lack of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Records that `key` was raised again while active. Returns the number suppressed, this one included; `None` if
    /// the condition has ended or was never raised.
    pub(super) fn again(&mut self, key: &str, now_ns: u64) -> Option<u64> {
        let condition = self.raised(key, now_ns)?;
        condition.suppressed += 1;
        Some(condition.suppressed)
    }

    /// Extends `key` if it is active.
    pub(super) fn renew(&mut self, key: &str, now_ns: u64) {
        self.raised(key, now_ns);
    }

    /// Marks the condition as raised now, if it is active, and moves it to the end of the order.
    fn raised(&mut self, key: &str, now_ns: u64) -> Option<&mut Condition> {
        let lasts_ns = self.lasts_ns;
        let condition = self.keys.get_mut(key).filter(|condition| condition.lasts(now_ns, lasts_ns))?;
        let text = self.order.remove(&condition.turn)?;
        self.turn += 1;
        self.order.insert(self.turn, text);
        (condition.raised_ns, condition.turn) = (now_ns, self.turn);
        Some(condition)
    }

    /// Records an alert that starts `key`. Returns the number suppressed since the previous one.
    pub(super) fn begin(&mut self, key: &str, now_ns: u64) -> u64 {
        let suppressed = self.put(key, now_ns, true, 0);
        self.forget(now_ns);
        suppressed
    }

    /// Undoes `begin` for `key` and restores its suppressed count.
    pub(super) fn take_back(&mut self, key: &str, suppressed: u64) {
        if let Some(raised_ns) = self.keys.get(key).map(|condition| condition.raised_ns) {
            self.put(key, raised_ns, false, suppressed);
        }
    }

    /// Moves `key` to the end of the order. Returns its previous suppressed count.
    fn put(&mut self, key: &str, raised_ns: u64, accepted: bool, suppressed: u64) -> u64 {
        self.turn += 1;
        let condition = Condition { raised_ns, accepted, suppressed, turn: self.turn };
        let (text, former) = match self.keys.get_mut(key) {
            Some(known) => {
                let former = std::mem::replace(known, condition);
                (self.order.remove(&former.turn), former.suppressed)
            }
            None => (None, 0),
        };
        let text = text.unwrap_or_else(|| {
            let text: Arc<str> = key.into();
            self.bytes += text.len();
            self.keys.insert(Arc::clone(&text), condition);
            text
        });
        self.order.insert(self.turn, text);
        former
    }

    /// Evicts conditions that have ended and whose count was reported, and those beyond the limits.
    fn forget(&mut self, now_ns: u64) {
        while let Some(first) = self.order.first_entry() {
            let Some(condition) = self.keys.get(first.get()) else {
                first.remove();
                continue;
            };
            let lasts = condition.lasts(now_ns, self.lasts_ns);
            let over = self.keys.len() > KEYS_MAX || self.bytes > KEYS_BYTES_MAX;
            let reported = condition.suppressed == 0 || condition.lasted_before(now_ns, COUNT_KEPT_NS);
            if !over && (lasts || !reported) {
                return;
            }
            self.forgotten += u64::from(lasts);
            let text = first.remove();
            self.keys.remove(&text);
            self.bytes -= text.len();
        }
    }
}

impl Condition {
    /// Whether it is still active. A frame time before the last raise means that the source restarted.
    fn lasts(&self, now_ns: u64, lasts_ns: u64) -> bool {
        self.accepted && now_ns.checked_sub(self.raised_ns).is_some_and(|age| age < lasts_ns)
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
        assert_eq!(self.keys.len(), self.order.len());
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
    use super::*;

    #[test]
    fn the_count_of_an_alert_that_was_not_accepted_is_forgotten_in_time() {
        let second = 1_000_000_000;
        let mut conditions = Conditions::new(Duration::from_secs(10));
        conditions.begin("a", 0);
        assert_eq!(conditions.again("a", second), Some(1));
        assert_eq!(conditions.begin("a", 20 * second), 1);
        conditions.take_back("a", 1);
        assert_eq!(conditions.again("a", 21 * second), None, "it is not active");
        conditions.begin("b", 22 * second);
        // The count is kept for ten minutes, and holds up nothing behind it afterwards.
        conditions.begin("c", 619 * second);
        assert_eq!((conditions.size().0, conditions.waiting()), (3, 1));
        conditions.begin("d", 700 * second);
        assert_eq!((conditions.size().0, conditions.waiting()), (1, 0), "only the last one is left");
        assert_eq!(conditions.forgotten(), 0);
    }
}
