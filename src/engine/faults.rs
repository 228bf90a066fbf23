//! A strategy's faults in the log: the first at once, then at most one line a second that says how many there were.

use crate::strategy::Fault;
use crate::types::SourceId;

/// Shortest time between two lines about one strategy on one source.
const LINE_EVERY_NS: u64 = 1_000_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// When the last line was written; 0 = never.
    last_ns: u64,
    /// Faults since then that had no line.
    silent: u64,
}

impl Faults {
    /// Notes a fault at `now_ns` on the monotonic clock.
    pub(super) fn note(&mut self, strategy: &str, source: &SourceId, fault: &Fault, now_ns: u64) {
        if self.last_ns != 0 && now_ns.saturating_sub(self.last_ns) < LINE_EVERY_NS {
            self.silent += 1;
            return;
        }
        self.last_ns = now_ns;
        let more = std::mem::take(&mut self.silent);
        tracing::warn!(strategy, %source, kind = fault.kind.as_str(), more, "{fault}; the frame passes unchanged");
    }
}
