//! Live sources that are lost, and what to send about them. Pure: time is an argument.
//!
//! A source that does not run for `alerts.source_lost_seconds` is lost, until it has run for [`HOLD_NS`] without a
//! break. Sources that are lost together make one alert, which names all of them; there is none for each. It is sent
//! [`WAIT_NS`] after the first of them was lost, and those that follow, while one of them is still lost, make another
//! one at most every [`INTERVAL_NS`]. Their return is sent in the same way. What is sent follows from the difference
//! between what is so and what was sent, so a source that comes and goes within an interval makes no alert.

use std::collections::BTreeMap;

use crate::types::{Level, SourceId, count, count_are};

/// How long a source has to run without a break until it counts as back.
pub(super) const HOLD_NS: u64 = 10_000_000_000;
/// How long an alert waits for further sources.
pub(super) const WAIT_NS: u64 = 10_000_000_000;
/// Shortest time between two alerts of one group, and until a source that was lost before makes another one by itself.
pub(super) const INTERVAL_NS: u64 = 300_000_000_000;
/// Time until an alert that was suppressed or refused is tried again.
const RETRY_NS: u64 = 60_000_000_000;
/// Maximum sources that a message names; the others are counted.
const NAMES_MAX: usize = 200;
/// Maximum sources whose cause a message has.
const CAUSES_MAX: usize = 5;

/// The rule of the alert that sources are lost.
pub(super) const LOST: &str = "system.source_lost";
/// The rule of the alert that they are back.
pub(super) const BACK: &str = "system.source_back";

/// A live source as it is now.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) id: SourceId,
    /// Whether it runs, or waits for a publisher.
    pub(super) is_up: bool,
    /// Why not, with the remedy.
    pub(super) cause: Option<String>,
}

/// What to send.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Notice {
    /// [`LOST`] or [`BACK`].
    pub(super) rule: &'static str,
    pub(super) level: Level,
    /// The source, if there is one only.
    pub(super) key: String,
    pub(super) message: String,
    /// The sources that it is about.
    pub(super) sources: Vec<SourceId>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LostSources {
    sources: BTreeMap<SourceId, Standing>,
    /// When the last alert of each rule was sent.
    lost_sent_ns: Option<u64>,
    back_sent_ns: Option<u64>,
    /// Until when an alert that was held back is not tried again.
    not_before_ns: u64,
}

#[derive(Debug, Default)]
struct Standing {
    /// Since when it runs.
    up_ns: Option<u64>,
    /// Since when it does not, shorter runs left out.
    down_ns: Option<u64>,
    is_lost: bool,
    /// When it was lost or came back.
    changed_ns: u64,
    /// Whether the last alert about it said that it is lost.
    is_told: bool,
    /// When that was sent.
    told_ns: Option<u64>,
    /// Since when it was lost.
    since_ns: u64,
    cause: Option<String>,
}

impl Standing {
    fn see(&mut self, seen: &Seen, after_ns: u64, now_ns: u64) {
        if seen.is_up {
            let up_ns = *self.up_ns.get_or_insert(now_ns);
            if now_ns.saturating_sub(up_ns) >= HOLD_NS {
                self.down_ns = None;
                if std::mem::take(&mut self.is_lost) {
                    self.changed_ns = now_ns;
                }
            }
            return;
        }
        self.up_ns = None;
        let down_ns = *self.down_ns.get_or_insert(now_ns);
        if seen.cause.is_some() {
            self.cause.clone_from(&seen.cause);
        }
        if !self.is_lost && now_ns.saturating_sub(down_ns) >= after_ns {
            (self.is_lost, self.changed_ns, self.since_ns) = (true, now_ns, down_ns);
        }
    }

    fn is_newly_lost(&self) -> bool {
        self.is_lost && !self.is_told
    }

    fn is_newly_back(&self) -> bool {
        !self.is_lost && self.is_told
    }
}

impl LostSources {
    /// Takes the present state of every live source; those that are not among them are forgotten. A source is lost
    /// after `after_ns`.
    pub(super) fn see(&mut self, seen: &[Seen], after_ns: u64, now_ns: u64) {
        let mut former = std::mem::take(&mut self.sources);
        for seen in seen {
            let mut standing = former.remove(&seen.id).unwrap_or_default();
            standing.see(seen, after_ns, now_ns);
            self.sources.insert(seen.id.clone(), standing);
        }
    }

    /// What is to be sent now. [`LostSources::sent`] or [`LostSources::held_back`] answers it.
    pub(super) fn due(&self, now_ns: u64) -> Option<Notice> {
        let is_due = |due_ns: Option<u64>| due_ns.is_some_and(|due_ns| now_ns >= due_ns.max(self.not_before_ns));
        if is_due(self.lost_due_ns()) {
            return Some(self.lost_notice(now_ns));
        }
        is_due(self.back_due_ns()).then(|| self.back_notice(now_ns))
    }

    /// Notes that a notice was sent.
    pub(super) fn sent(&mut self, notice: &Notice, now_ns: u64) {
        let is_lost = notice.rule == LOST;
        *(if is_lost { &mut self.lost_sent_ns } else { &mut self.back_sent_ns }) = Some(now_ns);
        for id in &notice.sources {
            if let Some(standing) = self.sources.get_mut(id) {
                standing.is_told = is_lost;
                if is_lost {
                    standing.told_ns = Some(now_ns);
                }
            }
        }
    }

    /// Notes that a notice was suppressed or refused: what lasts is tried again.
    pub(super) fn held_back(&mut self, now_ns: u64) {
        self.not_before_ns = now_ns.saturating_add(RETRY_NS);
    }

    fn lost_due_ns(&self) -> Option<u64> {
        // One that runs at the moment may be about to come back: it is named with others only.
        let newly = self.sources.values().filter(|standing| standing.is_newly_lost() && standing.up_ns.is_none());
        let is_open = self.sources.values().any(|standing| standing.is_told);
        let group_ns = self.lost_sent_ns.filter(|_| is_open).map_or(0, |sent_ns| sent_ns.saturating_add(INTERVAL_NS));
        let own_ns = |standing: &Standing| standing.told_ns.map_or(0, |told_ns| told_ns.saturating_add(INTERVAL_NS));
        newly.map(|standing| standing.changed_ns.saturating_add(WAIT_NS).max(own_ns(standing)).max(group_ns)).min()
    }

    fn back_due_ns(&self) -> Option<u64> {
        let newly = self.sources.values().filter(|standing| standing.is_newly_back());
        let last_ns = self.back_sent_ns.map_or(0, |sent_ns| sent_ns.saturating_add(INTERVAL_NS));
        newly.map(|standing| standing.changed_ns.saturating_add(WAIT_NS).max(last_ns)).min()
    }

    /// The ids and standings with a property.
    fn with(&self, is_it: impl Fn(&Standing) -> bool) -> Vec<(&SourceId, &Standing)> {
        self.sources.iter().filter(|(_, standing)| is_it(standing)).collect()
    }

    fn lost_notice(&self, now_ns: u64) -> Notice {
        let lost = self.with(Standing::is_newly_lost);
        let since_ns = lost.iter().map(|(_, standing)| standing.since_ns).min().unwrap_or(now_ns);
        let seconds = now_ns.saturating_sub(since_ns) / 1_000_000_000;
        let before = self.with(|standing| standing.is_lost && standing.is_told).len();
        let message = match (&lost[..], before) {
            ([(id, standing)], 0) => {
                let cause = standing.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
                format!("source {id} is lost, for {seconds} s{cause}")
            }
            (_, 0) => {
                let lost_are = count_are(lost.len() as u64, "source");
                format!("{lost_are} lost, the first for {seconds} s: {}{}", names(&lost), causes(&lost))
            }
            _ => {
                let (more, all) = (lost.len(), lost.len() + before);
                format!("{more} more of {all} lost sources, for {seconds} s: {}{}", names(&lost), causes(&lost))
            }
        };
        notice(LOST, Level::High, message, &lost)
    }

    fn back_notice(&self, now_ns: u64) -> Notice {
        let back = self.with(Standing::is_newly_back);
        let still = self.with(|standing| standing.is_lost && standing.is_told);
        let since_ns = back.iter().map(|(_, standing)| standing.since_ns).min().unwrap_or(now_ns);
        let seconds = now_ns.saturating_sub(since_ns) / 1_000_000_000;
        let message = match &back[..] {
            [(id, _)] => format!("source {id} is back, lost {seconds} s ago"),
            _ => {
                format!("{} back, lost up to {seconds} s ago: {}", count_are(back.len() as u64, "source"), names(&back))
            }
        };
        let still = match still.len() {
            0 => String::new(),
            _ => format!("; {} still lost: {}", count_are(still.len() as u64, "source"), names(&still)),
        };
        notice(BACK, Level::Low, message + &still, &back)
    }
}

fn notice(rule: &'static str, level: Level, message: String, sources: &[(&SourceId, &Standing)]) -> Notice {
    let key = match sources {
        [(id, _)] => id.to_string(),
        _ => String::new(),
    };
    Notice { rule, level, key, message, sources: sources.iter().map(|(id, _)| (*id).clone()).collect() }
}

/// `gate, yard and 3 more`
fn names(sources: &[(&SourceId, &Standing)]) -> String {
    let named: Vec<&str> = sources.iter().take(NAMES_MAX).map(|(id, _)| id.as_str()).collect();
    match sources.len().saturating_sub(NAMES_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// `; gate: nobody listens at gate:554 (connection refused): is the camera on, is the port right`
fn causes(sources: &[(&SourceId, &Standing)]) -> String {
    let with_cause: Vec<_> = sources.iter().filter_map(|(id, standing)| Some((id, standing.cause.as_ref()?))).collect();
    let named: String = with_cause.iter().take(CAUSES_MAX).map(|(id, cause)| format!("; {id}: {cause}")).collect();
    match with_cause.len().saturating_sub(CAUSES_MAX) {
        0 => named,
        more => format!("{named}; and {} more, which the status has", count(more as u64, "cause")),
    }
}

#[cfg(test)]
mod tests;
