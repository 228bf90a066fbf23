//! One handler's queue, as plain values.

use std::collections::{BTreeMap, BTreeSet};

use super::courier::Line;
use super::ledger::Open;
use crate::config::{AlertFilter, WhenFull};
use crate::types::{Alert, AlertId, Level, SourceId};

/// A handler's alerts: held from their acceptance on, in a line once they are written.
#[derive(Default)]
pub(super) struct Queue {
    /// Written alerts, by line and number.
    pub(super) lines: BTreeMap<Line, BTreeMap<u64, AlertId>>,
    /// Number of written alerts.
    pub(super) written: usize,
    /// Alerts that occupy room, queued or not written yet, by number.
    pub(super) held: BTreeMap<u64, AlertId>,
    /// The same, the first to be given up first.
    pub(super) by_level: BTreeSet<(Level, u64)>,
    pub(super) bytes: usize,
    /// Written alerts that are of no use any more from a moment on, by that moment (Unix nanoseconds) and number.
    pub(super) expiring: BTreeSet<(u64, u64)>,
    /// The alert that is being delivered, which is not given up meanwhile.
    pub(super) trying: Option<u64>,
    /// Being removed: takes no new alerts.
    pub(super) closing: bool,
    pub(super) filter: AlertFilter,
    /// The sources that wait for room and have raised an alert for it since its filter was set.
    pub(super) senders: BTreeSet<SourceId>,
    pub(super) added: u64,
}

impl Queue {
    /// Whether this alert is for its handler.
    pub(super) fn wants(&self, alert: &Alert) -> bool {
        !self.closing && self.filter.passes(alert)
    }

    pub(super) fn hold(&mut self, open: &Open) {
        self.held.insert(open.number, open.alert.id.clone());
        self.by_level.insert((open.alert.level, open.number));
        self.bytes += open.bytes;
        if open.written {
            self.line_up(open);
        }
    }

    /// Puts a written alert at the end of its line.
    pub(super) fn line_up(&mut self, open: &Open) {
        let line = self.lines.entry(open.line()).or_default();
        self.written += usize::from(line.insert(open.number, open.alert.id.clone()).is_none());
        self.expiring.extend(open.until_ns().map(|until_ns| (until_ns, open.number)));
    }

    pub(super) fn release(&mut self, open: &Open) {
        self.held.remove(&open.number);
        self.by_level.remove(&(open.alert.level, open.number));
        self.bytes -= open.bytes;
        if let Some(until_ns) = open.until_ns() {
            self.expiring.remove(&(until_ns, open.number));
        }
        let line = open.line();
        if let Some(numbers) = self.lines.get_mut(&line) {
            self.written -= usize::from(numbers.remove(&open.number).is_some());
            if numbers.is_empty() {
                self.lines.remove(&line);
            }
        }
    }

    /// The alert that is given up for one of this level; `None` if the new one is.
    pub(super) fn least(&self, level: Level, when_full: WhenFull) -> Option<AlertId> {
        let is_free = |number: &u64| Some(*number) != self.trying;
        let number = match when_full {
            WhenFull::DropOldest => self.held.keys().copied().find(is_free),
            WhenFull::DropLowestLevel | WhenFull::Block => {
                let free = self.by_level.iter().find(|(_, number)| is_free(number));
                free.filter(|(least, _)| *least <= level).map(|(_, number)| *number)
            }
        };
        self.held.get(&number?).cloned()
    }
}
