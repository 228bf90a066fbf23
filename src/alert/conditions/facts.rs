//! What the log says of a condition.

use super::{Condition, Conditions};

impl Conditions {
    /// When the active condition `key` last became an alert, on frame time, and how often it was raised since.
    pub(in crate::alert) fn told(&self, key: &str, now_ns: u64, lasts_ns: u64) -> Option<(u64, u64)> {
        let lasts = |condition: &&Condition| condition.lasts(now_ns, lasts_ns);
        self.keys.get(key).filter(lasts).map(|condition| (condition.told_ns, condition.suppressed))
    }

    /// The first of `traits` that the active condition `key` does not have.
    pub(in crate::alert) fn news(&self, key: &str, traits: &[u64], now_ns: u64, lasts_ns: u64) -> Option<usize> {
        let condition = self.keys.get(key)?;
        traits.iter().position(|hash| !condition.has(*hash, now_ns, lasts_ns))
    }
}
