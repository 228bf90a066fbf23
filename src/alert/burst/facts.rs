//! What the log says of the limits of one rule.

use super::{Bursts, Limits, MINUTE_NS};
use crate::alert::chain::Stage;
use crate::types::{HeldBy, Level};

impl Bursts {
    /// The limit that the rule `key` was last admitted or held back by, and how much of it is used; `None` without one.
    pub(in crate::alert) fn stage(&self, key: &str, level: Level) -> Option<Stage> {
        let rule = self.rules.get(key)?;
        let Limits { burst, window_ns, critical } = rule.limits;
        let is_critical = level == Level::Critical;
        let (limit, span_ns, by) =
            if is_critical { (critical, MINUTE_NS, HeldBy::Critical) } else { (burst, window_ns, HeldBy::Burst) };
        if limit == 0 {
            return None;
        }
        let window = if is_critical { &rule.critical } else { &rule.others };
        let used = window.sent.len() as u64;
        Some(Stage::Burst { by, limit: limit.into(), window_ms: span_ns / 1_000_000, used })
    }
}
