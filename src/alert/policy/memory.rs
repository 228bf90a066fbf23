//! The conditions over a restart: saved by capture time, and restored for a source that starts again, in this process or
//! in a later one.
//!
//! An alert that was sent is not sent again within its window, even if the process was killed. What a wall clock says of
//! an age is limited to the window: a clock that was set back silences nothing for longer than that from the restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::conditions::Restored;
use super::super::digest::At;
use super::super::places::When;
use super::{Policy, START_NS, time_of};
use crate::types::{Alert, BBox, SourceId};

const MS: u64 = 1_000_000;

/// A condition as it is saved; times are capture times in Unix milliseconds.
#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    raised_ms: u64,
    slack_ms: u64,
    told_ms: u64,
    suppressed: u64,
    traits: Vec<(u64, u64)>,
    /// Where its object was: x, y, width, height. A track's number means nothing in another process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<[f32; 4]>,
    /// Whether its alert is held back: this process sends it, and a later process must not count on that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_held: bool,
}

/// The start of the names of a source's conditions.
pub(in crate::alert) fn prefix(source: &SourceId) -> String {
    format!("{source}\n")
}

/// Whether a saved condition has ended, however long its window was.
pub(in crate::alert) fn has_ended(contents: &str, unix_ns: u64) -> bool {
    let contents = serde_json::from_str::<Contents>(contents);
    contents.is_ok_and(|contents| {
        let raised_ns = contents.raised_ms.saturating_add(contents.slack_ms).saturating_mul(MS);
        unix_ns.saturating_sub(raised_ns) > START_NS
    })
}

/// Values by name; `None` removes one.
pub(in crate::alert) type SavedChanges = Vec<(Arc<str>, Option<Arc<str>>)>;

impl Policy {
    /// Notes what must be saved from now on.
    pub(in crate::alert) fn remember(&mut self) {
        self.conditions.note_changes();
    }

    /// Notes that an alert is held back: a later process does not know that it will be sent, so it must raise it again.
    pub(in crate::alert) fn held_back(&mut self, alert: &Alert) {
        self.write_key(&alert.source, &alert.rule, &alert.key);
        self.conditions.hold_back(&self.scratch);
    }

    /// Whether there may be something to save.
    pub(in crate::alert) fn has_changes(&self) -> bool {
        self.conditions.has_changes()
    }

    /// Takes what is to be saved at the time of a frame, all of it if `all`.
    pub(in crate::alert) fn take_changes(&mut self, source: &SourceId, now: At, all: bool) -> SavedChanges {
        let changes = self.conditions.take_changes(time_of(now.pts_ns), all);
        let saved = changes.into_iter().filter_map(|(key, restored)| {
            let contents = restored.map(|restored| self.contents(&key, source, &restored, now));
            Some((name(&key, source)?, contents.flatten()))
        });
        saved.collect()
    }

    /// All conditions at the time of the source's last frame, for its next policy in this process.
    pub(in crate::alert) fn hand_over(&self, source: &SourceId, now: At) -> Vec<(Arc<str>, Arc<str>)> {
        let all = self.conditions.all();
        all.filter_map(|(key, restored)| Some((name(key, source)?, self.contents(key, source, &restored, now)?)))
            .collect()
    }

    /// A condition as it is saved.
    fn contents(&self, key: &str, source: &SourceId, restored: &Restored, now: At) -> Option<Arc<str>> {
        let now_ns = time_of(now.pts_ns);
        let unix_ms = |at_ns: u64| now.unix_ns.saturating_sub(now_ns.saturating_sub(at_ns)) / MS;
        let (rule, own) = parts(key, source)?;
        let contents = Contents {
            raised_ms: unix_ms(restored.raised_ns),
            slack_ms: restored.slack_ns / MS,
            told_ms: unix_ms(restored.told_ns),
            suppressed: restored.suppressed,
            traits: restored.traits.iter().map(|(hash, at_ns)| (*hash, unix_ms(*at_ns))).collect(),
            place: self.places.bbox(rule, own).map(|bbox| [bbox.x, bbox.y, bbox.width, bbox.height]),
            is_held: restored.is_held,
        };
        // Numbers and lists of them can be written.
        serde_json::to_string(&contents).ok().map(Arc::from)
    }

    /// Restores what earlier processes saved, at the time of the source's first frame. Returns the names of what has ended
    /// meanwhile or cannot be read.
    pub(in crate::alert) fn restore(
        &mut self,
        source: &SourceId,
        saved: BTreeMap<Arc<str>, Arc<str>>,
        now: At,
    ) -> Vec<Arc<str>> {
        let now_ns = time_of(now.pts_ns);
        let at_ns = |ms: u64| now_ns - now.unix_ns.saturating_sub(ms.saturating_mul(MS)).min(START_NS);
        let mut ended = Vec::new();
        let mut open = Vec::new();
        for (name, contents) in saved {
            let is_named = named(&name, source).is_some();
            match serde_json::from_str::<Contents>(&contents) {
                Ok(contents) if is_named => {
                    open.push((at_ns(contents.raised_ms.saturating_add(contents.slack_ms)), name, contents));
                }
                _ => ended.push(name),
            }
        }
        open.sort_by_key(|(raised_ns, ..)| *raised_ns);
        for (raised_ns, name, contents) in open {
            let Some((rule, key)) = named(&name, source) else { continue };
            let lasts_ns = self.settings.of(rule).spans.lasts_ns;
            if now_ns.saturating_sub(raised_ns) >= lasts_ns {
                ended.push(name);
                continue;
            }
            if let Some([x, y, width, height]) = contents.place {
                let when = When { now_ns: raised_ns, lasts_ns };
                self.places.restore(rule, key, BBox { x, y, width, height }, when);
            }
            let late_ns = |ms: u64| at_ns(ms.saturating_add(contents.slack_ms));
            let restored = Restored {
                raised_ns,
                slack_ns: raised_ns.saturating_sub(at_ns(contents.raised_ms)),
                told_ns: at_ns(contents.told_ms),
                suppressed: contents.suppressed,
                traits: contents.traits.iter().map(|(hash, ms)| (*hash, late_ns(*ms))).collect(),
                is_held: contents.is_held,
            };
            let is_ahead = contents.raised_ms.saturating_mul(MS) > now.unix_ns;
            self.write_key(source, rule, key);
            self.conditions.restore(&self.scratch, &restored, lasts_ns, is_ahead);
        }
        ended
    }
}

/// The rule and the key in what [`Policy::write_key`] wrote for a source.
fn parts<'k>(key: &'k str, source: &SourceId) -> Option<(&'k str, &'k str)> {
    let (_, rest) = key.split_once('.')?;
    let (length, texts) = rest.split_once('.')?;
    texts.strip_prefix(source.as_str())?.split_at_checked(length.parse().ok()?)
}

/// The name under which a condition is saved.
fn name(key: &str, source: &SourceId) -> Option<Arc<str>> {
    let (rule, own) = parts(key, source)?;
    Some(format!("{}{}.{rule}{own}", prefix(source), rule.len()).into())
}

/// The rule and the key in the name of a saved condition.
fn named<'n>(name: &'n str, source: &SourceId) -> Option<(&'n str, &'n str)> {
    let (length, texts) = name.strip_prefix(&prefix(source))?.split_once('.')?;
    texts.split_at_checked(length.parse().ok()?)
}

#[cfg(test)]
mod tests;
