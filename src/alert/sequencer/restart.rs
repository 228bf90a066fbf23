//! What an earlier process sent.

use super::parts::{MINUTE_NS, on_clock};
use super::{Mode, Sequencer};
use crate::types::SourceId;

impl Sequencer {
    /// Whether what is sent takes places.
    pub(in crate::alert) fn is_limited(&self) -> bool {
        self.limit > 0 || !self.own_limits.is_empty()
    }

    /// Adds alerts of an earlier process, by their ages: they take their places for the rest of their minute. Only in
    /// order of arrival, which goes by the clock.
    pub(in crate::alert) fn restore_sent(&mut self, sent: Vec<(u64, SourceId)>, arrival_ns: u64) {
        if !self.is_limited() || self.mode != Mode::Live {
            return;
        }
        let now_ns = on_clock(arrival_ns).max(self.now_ns);
        for (age_ns, source) in sent.into_iter().filter(|(age_ns, _)| *age_ns < MINUTE_NS) {
            *self.used.entry(source.clone()).or_default() += 1;
            self.sent.push_back((now_ns - age_ns, source));
        }
        self.sent.make_contiguous().sort();
    }
}
