//! Alert counts since the start, over all sources, including removed ones.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::AlertOutcome;

/// Counts by outcome; monotonic.
#[derive(Debug, Default)]
pub(super) struct Tally([AtomicU64; AlertOutcome::ALL.len()]);

impl Tally {
    pub(super) fn add(&self, outcome: AlertOutcome) {
        // Release, so that a reader that sees a later outcome sees the earlier ones, too.
        self.0[outcome as usize].fetch_add(1, Ordering::Release);
    }

    pub(super) fn read(&self) -> Totals {
        // Later outcomes first, so that concurrent updates cannot make them exceed the earlier ones.
        let get = |outcome: AlertOutcome| self.0[outcome as usize].load(Ordering::Acquire);
        let (dead_lettered, expired) = (get(AlertOutcome::DeadLettered), get(AlertOutcome::Expired));
        let (dropped, delivered) = (get(AlertOutcome::Dropped), get(AlertOutcome::Delivered));
        let (refused, suppressed) = (get(AlertOutcome::Refused), get(AlertOutcome::Suppressed));
        let (digested, accepted) = (get(AlertOutcome::Digested), get(AlertOutcome::Accepted));
        let (recovered, raised) = (get(AlertOutcome::Recovered), get(AlertOutcome::Raised));
        Totals {
            raised,
            recovered,
            accepted,
            suppressed,
            digested,
            refused,
            delivered,
            dead_lettered,
            expired,
            dropped,
        }
    }
}

/// Alert counts since the start, with each alert counted once, by its worst handler: raised + recovered = delivered +
/// dead-lettered + expired + dropped + suppressed + digested + refused + pending. A digest counts as raised itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Raised by strategies.
    pub raised: u64,
    /// Accepted by an earlier process, but not settled by every handler there; and dead letters that are sent again.
    pub recovered: u64,
    /// Accepted by this process.
    pub accepted: u64,
    /// Suppressed as duplicates.
    pub suppressed: u64,
    /// Held back by a limit: a digest has them.
    pub digested: u64,
    /// Refused by the policy, or because a queue was full.
    pub refused: u64,
    /// Delivered to every handler.
    pub delivered: u64,
    /// Refused for good by a receiver.
    pub dead_lettered: u64,
    /// Too old before every receiver took it.
    pub expired: u64,
    /// Lost its place in a full queue, or its handler was removed.
    pub dropped: u64,
}

impl Totals {
    /// Alerts neither settled nor rejected: waiting for the journal or a handler.
    pub fn pending(&self) -> u64 {
        let Self { raised, recovered, suppressed, digested, refused, delivered, .. } = self;
        (raised + recovered).saturating_sub(suppressed + digested + refused + delivered + self.failed())
    }

    /// Alerts that at least one handler did not deliver.
    pub fn failed(&self) -> u64 {
        self.dead_lettered + self.expired + self.dropped
    }
}
