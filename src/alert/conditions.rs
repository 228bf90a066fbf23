//! What a policy remembers: each condition (a triple of source, rule and key) with when it was last raised and how often
//! it was held back. Bounded; what was raised longest ago goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Most conditions remembered; beyond it the one raised longest ago is forgotten, and counted where it still lasted.
pub const KEYS_MAX: usize = 10_000;
/// Most bytes of the texts of those triples.
pub const KEYS_BYTES_MAX: usize = 4 << 20;
/// The shortest time without being raised after which a condition is over: a detection may be missed for a while.
const LASTS_MIN: Duration = Duration::from_secs(2);
/// For how long what was held back waits to be told with the next alert of its kind.
const COUNT_KEPT_NS: u64 = 600_000_000_000;

/// One condition.
#[derive(Debug, Clone, Copy)]
struct Condition {
    /// When it was last raised; `None` when its alert was not taken.
    raised_ns: Option<u64>,
    /// How many were held back since the last alert.
    suppressed: u64,
    /// Its place in the order.
    turn: u64,
}

/// The conditions of one source, in the order in which they were last raised.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    lasts_ns: u64,
    keys: HashMap<Arc<str>, Condition>,
    order: BTreeMap<u64, Arc<str>>,
    turn: u64,
    /// Bytes of the texts in `keys`.
    bytes: usize,
    forgotten: u64,
}

/// How long a condition lasts without being raised: at least [`LASTS_MIN`], however short `throttle` is. Zero switches
/// it off.
fn lasts_ns(throttle: Duration) -> u64 {
    let lasts = if throttle.is_zero() { throttle } else { throttle.max(LASTS_MIN) };
    u64::try_from(lasts.as_nanos()).unwrap_or(u64::MAX)
}

impl Conditions {
    pub(super) fn new(throttle: Duration) -> Self {
        Self { lasts_ns: lasts_ns(throttle), ..Self::default() }
    }

    /// Takes over another throttle and keeps what was raised.
    pub(super) fn set_throttle(&mut self, throttle: Duration) {
        self.lasts_ns = lasts_ns(throttle);
    }

    /// Conditions forgotten while they lasted, for want of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Notes that `key` was raised again while it lasts. Returns how many were held back with this one; `None` when it
    /// is over, or was never raised.
    pub(super) fn again(&mut self, key: &str, now_ns: u64) -> Option<u64> {
        let condition = self.raised(key, now_ns)?;
        condition.suppressed += 1;
        Some(condition.suppressed)
    }

    /// Notes that `key` goes on, where it lasts.
    pub(super) fn renew(&mut self, key: &str, now_ns: u64) {
        self.raised(key, now_ns);
    }

    /// The condition, where it lasts: raised now, and last in the order.
    fn raised(&mut self, key: &str, now_ns: u64) -> Option<&mut Condition> {
        let lasts_ns = self.lasts_ns;
        let condition = self.keys.get_mut(key).filter(|condition| condition.lasts(now_ns, lasts_ns))?;
        let text = self.order.remove(&condition.turn)?;
        self.turn += 1;
        self.order.insert(self.turn, text);
        (condition.raised_ns, condition.turn) = (Some(now_ns), self.turn);
        Some(condition)
    }

    /// Notes that an alert begins `key`. Returns how many were held back since the one before it.
    pub(super) fn begin(&mut self, key: &str, now_ns: u64) -> u64 {
        let suppressed = self.put(key, Some(now_ns), 0);
        self.forget(now_ns);
        suppressed
    }

    /// Takes back the begin of `key`, with what its alert would have told.
    pub(super) fn take_back(&mut self, key: &str, suppressed: u64) {
        if self.keys.contains_key(key) {
            self.put(key, None, suppressed);
        }
    }

    /// Puts `key` last in the order. Returns how many had been held back.
    fn put(&mut self, key: &str, raised_ns: Option<u64>, suppressed: u64) -> u64 {
        self.turn += 1;
        let condition = Condition { raised_ns, suppressed, turn: self.turn };
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

    /// Forgets what need not be known any more, and what there is no room for.
    fn forget(&mut self, now_ns: u64) {
        while let Some(first) = self.order.first_entry() {
            let Some(condition) = self.keys.get(first.get()) else {
                first.remove();
                continue;
            };
            let lasts = condition.lasts(now_ns, self.lasts_ns);
            let over = self.keys.len() > KEYS_MAX || self.bytes > KEYS_BYTES_MAX;
            let told = condition.suppressed == 0 || condition.lasted_before(now_ns, COUNT_KEPT_NS);
            if !over && (lasts || !told) {
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
    /// Whether it still lasts. Frame time before it was raised means that the source began anew.
    fn lasts(&self, now_ns: u64, lasts_ns: u64) -> bool {
        self.raised_ns.and_then(|raised_ns| now_ns.checked_sub(raised_ns)).is_some_and(|age| age < lasts_ns)
    }

    /// Whether it was last raised as long ago as that.
    fn lasted_before(&self, now_ns: u64, age_ns: u64) -> bool {
        self.raised_ns.and_then(|raised_ns| now_ns.checked_sub(raised_ns)).is_some_and(|age| age >= age_ns)
    }
}

#[cfg(test)]
impl Conditions {
    /// How many are known, with the bytes of their texts.
    pub(super) fn size(&self) -> (usize, usize) {
        assert_eq!(self.keys.len(), self.order.len());
        assert_eq!(self.keys.keys().map(|key| key.len()).sum::<usize>(), self.bytes);
        (self.keys.len(), self.bytes)
    }

    /// How many that were held back wait to be told.
    pub(super) fn waiting(&self) -> u64 {
        self.keys.values().map(|condition| condition.suppressed).sum()
    }
}
