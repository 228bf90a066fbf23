//! What the policy knew when it decided on its last draft, for the log. Cheap to note, and read only if it is logged.

use super::{Known, Policy, hash, id, object, time_of};
use crate::alert::chain::{Novelty, Stage};
use crate::types::{AlertId, Frame, Raised};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The draft's key.
    key: String,
    /// What it was to its condition; `None` if it was refused before.
    known: Option<Known>,
    /// When its condition was last told, on frame time, and how often it was raised since.
    told: Option<(u64, u64)>,
    /// Which of its traits is new.
    news: Option<usize>,
}

impl Policy {
    /// Notes that a draft is being decided on.
    pub(super) fn note_draft(&mut self, raised: &Raised) {
        self.facts.known = None;
        self.facts.key.clear();
        match object(raised).filter(|_| raised.key.is_empty()) {
            // Its track, until the places know better.
            Some((track, _)) => {
                use std::fmt::Write as _;
                // Writing to a String cannot fail.
                let _ = write!(self.facts.key, "{track}");
            }
            None => self.facts.key.push_str(&raised.key),
        }
    }

    /// Notes what a draft is to its condition, before that changes.
    pub(super) fn note_condition(&mut self, key: &str, known: Known, now_ns: u64, lasts_ns: u64) {
        if self.facts.key != key {
            self.facts.key.clear();
            self.facts.key.push_str(key);
        }
        self.facts.known = Some(known);
        (self.facts.told, self.facts.news) = match known {
            Known::New => (None, None),
            // Read when it is logged: that is seldom.
            Known::Same => (None, None),
            Known::Changed | Known::Reminder => {
                let news = self.conditions.news(&self.scratch, &self.traits, now_ns, lasts_ns);
                (self.conditions.told(&self.scratch, now_ns, lasts_ns), news)
            }
        };
    }

    /// The key of the draft that was decided on last.
    pub(in crate::alert) fn last_key(&self) -> &str {
        &self.facts.key
    }

    /// The id that the draft decided on last has, or would have had.
    pub(in crate::alert) fn last_id(&self, rule: &str, frame: &Frame) -> AlertId {
        id(frame, rule, &self.facts.key, self.ordinal.as_ref().map_or(0, |(.., ordinal)| *ordinal))
    }

    /// The key and the id of a draft that is not decided on.
    pub(in crate::alert) fn undecided(&mut self, raised: &Raised, frame: &Frame) -> AlertId {
        self.note_draft(raised);
        let next = self.next_ordinal(frame);
        id(frame, &raised.rule, &self.facts.key, next)
    }

    /// The stages of the draft that was decided on last.
    pub(in crate::alert) fn stages(&mut self, raised: &Raised, frame: &Frame) -> Vec<Stage> {
        let settings = self.settings.of(&raised.rule);
        let (now_ns, lasts_ns) = (time_of(frame.pts_ns), settings.spans.lasts_ns);
        let best = raised.detections.iter().map(|detection| detection.confidence).reduce(f32::max);
        let mut stages: Vec<Stage> =
            best.map(|best| Stage::Confidence { best, min: settings.min_confidence }).into_iter().collect();
        let Some(known) = self.facts.known else { return stages };
        if known == Known::Same {
            // Nothing was told since, so the condition is as it was, with this repeat.
            let key = std::mem::take(&mut self.facts.key);
            self.write_key(&frame.source, &raised.rule, &key);
            self.facts.key = key;
            self.facts.told = self.conditions.told(&self.scratch, now_ns, lasts_ns);
        }
        let told_ms = self.facts.told.map(|(told_ns, _)| {
            let ago_ns = now_ns.saturating_sub(told_ns);
            frame.captured_unix_ns.saturating_sub(ago_ns) / 1_000_000
        });
        stages.push(Stage::Condition {
            is: match known {
                Known::New => Novelty::New,
                Known::Changed => Novelty::Changed,
                Known::Reminder => Novelty::Reminder,
                Known::Same => Novelty::Repeat,
            },
            news: self.facts.news.filter(|_| known == Known::Changed).and_then(|at| self.name_trait(at, raised)),
            told_ms,
            window_ms: lasts_ns / 1_000_000,
            repeats: self.facts.told.map_or(0, |(_, repeats)| repeats),
        });
        if known != Known::Same {
            self.write_key(&frame.source, &raised.rule, "");
            let level = self.level(raised);
            stages.extend(self.bursts.stage(&self.scratch, level));
        }
        stages
    }

    /// A trait of the draft that was decided on last, by its position.
    fn name_trait(&self, at: usize, raised: &Raised) -> Option<String> {
        let wanted = *self.traits.get(at)?;
        if at == 0 {
            let level = self.level(raised);
            return Some(format!("level {level}"));
        }
        raised.detections.iter().find_map(|detection| {
            let foot = detection.bbox.bottom_center();
            let mut zones = self.zones.iter().filter(|zone| zone.polygon.contains(foot));
            match hash(1, &detection.label) == wanted {
                true => Some(format!("label {}", detection.label)),
                false => zones.find(|zone| hash(2, &zone.name) == wanted).map(|zone| format!("zone {}", zone.name)),
            }
        })
    }
}
