//! What the log says of the limit on all sources: how much of it was used at each decision.

use super::{MINUTE_NS, Sequencer};
use crate::alert::chain::Stage;
use crate::types::{Level, SourceId};

/// Maximum decisions that nobody has asked about.
const RATES_MAX: usize = 8_192;

impl Sequencer {
    /// Notes the use of the limit, at a decision on an alert of `source`.
    pub(super) fn note_rate(&mut self, source: &SourceId, level: Level) {
        let of_source = self.used.get(source).copied().unwrap_or_default();
        // The limit that binds: the source's own, where it is used up or the only one.
        let own = self.own_limits.get(source).filter(|own| self.limit == 0 || of_source >= **own);
        let (limit, used) = own.map_or((self.limit, self.sent.len()), |own| (*own, of_source));
        let rate = (limit > 0 && level != Level::Critical).then_some(Stage::Rate {
            limit: limit as u64,
            used: used as u64,
            of_source: of_source as u64,
        });
        if self.rates.len() < RATES_MAX {
            self.rates.push(rate);
        }
    }

    /// The use of the limit at each decision on an alert since the last call, in order: those sent, held back and
    /// refused, and not the digests. `None` where the limit does not apply.
    pub(in crate::alert) fn take_rates(&mut self) -> Vec<Option<Stage>> {
        std::mem::take(&mut self.rates)
    }

    /// Forgets what was sent more than a minute ago.
    pub(super) fn expire(&mut self) {
        let now_ns = self.now_ns;
        let is_over = |(at_ns, _): &(u64, SourceId)| now_ns.saturating_sub(*at_ns) >= MINUTE_NS;
        while self.sent.front().is_some_and(is_over) {
            if let Some((_, source)) = self.sent.pop_front() {
                self.release_place(&source);
            }
        }
    }

    pub(super) fn release_place(&mut self, source: &SourceId) {
        if let Some(count) = self.used.get_mut(source) {
            *count -= 1;
            if *count == 0 {
                self.used.remove(source);
            }
        }
    }
}
