//! Alerts since the start, over all sources, those that are gone included.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::AlertOutcome;

/// Counts by outcome; each only grows.
#[derive(Debug, Default)]
pub(super) struct Tally([AtomicU64; AlertOutcome::ALL.len()]);

impl Tally {
    pub(super) fn add(&self, outcome: AlertOutcome) {
        // Release, so that whoever reads a later outcome finds the earlier ones counted.
        self.0[outcome as usize].fetch_add(1, Ordering::Release);
    }

    pub(super) fn read(&self) -> Totals {
        // Later outcomes first: what happens meanwhile cannot make them outrun the earlier ones.
        let get = |outcome: AlertOutcome| self.0[outcome as usize].load(Ordering::Acquire);
        let (failed, delivered) = (get(AlertOutcome::Failed), get(AlertOutcome::Delivered));
        let (refused, suppressed) = (get(AlertOutcome::Refused), get(AlertOutcome::Suppressed));
        let accepted = get(AlertOutcome::Accepted);
        let (recovered, raised) = (get(AlertOutcome::Recovered), get(AlertOutcome::Raised));
        Totals { raised, recovered, accepted, suppressed, refused, delivered, failed }
    }
}

/// Alerts since the start, each once, by its worst handler:
/// raised + recovered = delivered + failed + suppressed + refused + pending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Raised by strategies.
    pub raised: u64,
    /// Accepted by a former process, and not settled by every handler then.
    pub recovered: u64,
    /// Accepted by this process.
    pub accepted: u64,
    /// Held back as duplicates.
    pub suppressed: u64,
    /// Refused by the policy, or for want of room.
    pub refused: u64,
    /// Every handler has them.
    pub delivered: u64,
    /// At least one handler does not get them.
    pub failed: u64,
}

impl Totals {
    /// Alerts that are neither settled nor turned away: waiting for the journal or for a handler.
    pub fn pending(&self) -> u64 {
        let Self { raised, recovered, accepted: _, suppressed, refused, delivered, failed } = self;
        (raised + recovered).saturating_sub(suppressed + refused + delivered + failed)
    }
}
