//! Decides which drafts become alerts: minimum confidence, default level and key, duplicates, bursts. A pure function
//! of plan, zones, drafts and frame time; the same trace yields the same alerts, byte for byte.
//!
//! A condition raises one alert, and stays active while it is raised again soon enough; a level, label or zone that it
//! did not have raises another one. There is one policy per lane, so it needs no lock, and one source cannot suppress
//! another's alerts. A draft is decided on completely before anything is recorded: a refused one extends nothing.
//! `memory` hands the conditions to a later process.

mod facts;
mod held;
mod memory;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub(super) use self::memory::{has_ended, prefix};
use super::burst::{Admitted, Bursts};
use super::chain::Stage;
use super::conditions::{Conditions, Known};
pub use super::conditions::{KEYS_BYTES_MAX, KEYS_MAX};
use super::digest::{At, DigestAlert};
use super::places::{Places, When, object};
use super::settings::AllSettings;
use crate::config::AlertPlan;
use crate::types::{Alert, AlertId, Frame, Level, Raised, SourceId, Zone, rfc3339};
use facts::Facts;
pub(super) use held::NewBest;

/// Maximum traits of one draft that are considered.
const TRAITS_MAX: usize = 32;
/// The conditions' time at frame time 0: those of an earlier process were raised before it.
const START_NS: u64 = 2 * 86_400 * 1_000_000_000;

/// The policy's decision on a draft.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It becomes an alert.
    Accept(Arc<Alert>),
    /// A duplicate: its condition is still active.
    Suppressed {
        /// Number suppressed since the last alert.
        count: u64,
    },
    /// An alert over the burst limits: held back for a digest.
    Digested,
    /// Not an alert, regardless of its condition.
    Refused(Refusal),
}

/// Why a draft is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refusal {
    /// Its best detection scores below `alerts.min_confidence`.
    Confidence {
        /// The best detection's score.
        best: f32,
        /// The minimum.
        min: f32,
    },
}

/// Decides on drafts, in order. The gate checks whether alerts are enabled.
#[derive(Debug)]
pub struct Policy {
    settings: AllSettings,
    zones: Arc<[Zone]>,
    conditions: Conditions,
    places: Places,
    bursts: Bursts,
    scratch: String,
    traits: Vec<u64>,
    ordinal: Option<(SourceId, u64, u32)>,
    facts: Facts,
    /// See [`Policy::take_new_best`].
    new_best: Option<NewBest>,
}

impl Policy {
    /// Creates a policy without any conditions.
    pub fn new(plan: &AlertPlan) -> Self {
        Self {
            settings: AllSettings::new(plan),
            zones: Arc::default(),
            conditions: Conditions::default(),
            places: Places::default(),
            bursts: Bursts::default(),
            scratch: String::new(),
            traits: Vec::new(),
            ordinal: None,
            facts: Facts::default(),
            new_best: None,
        }
    }

    /// Applies new settings and keeps the conditions.
    pub fn set_plan(&mut self, plan: &AlertPlan) {
        self.settings = AllSettings::new(plan);
        let settings = &self.settings;
        self.conditions.set_times(|key| settings.of(rule_of(key)).spans.lasts_ns);
    }

    /// The quiet hours of its rule that hold a draft back.
    pub(super) fn quiet(&self, raised: &Raised, frame: &Frame) -> Option<Stage> {
        self.settings.quiet(&raised.rule, raised.level, frame.captured_unix_ns)
    }

    /// The level of a draft.
    pub(super) fn level(&self, raised: &Raised) -> Level {
        raised.level.unwrap_or(self.settings.of(&raised.rule).default_level)
    }

    /// Applies the source's zones: an object that enters another one raises another alert.
    pub fn set_zones(&mut self, zones: &Arc<[Zone]>) {
        self.zones = Arc::clone(zones);
    }

    /// Conditions evicted while active, because there were more than [`KEYS_MAX`], or [`KEYS_BYTES_MAX`] of them.
    pub fn forgotten(&self) -> u64 {
        self.conditions.forgotten()
    }

    /// The digests that are due at `frame`. Called before the drafts of each frame are decided on.
    pub fn due(&mut self, frame: &Frame) -> Vec<DigestAlert> {
        self.bursts.note(frame.pts_ns);
        self.places.note(time_of(frame.pts_ns));
        self.due_at(frame.pts_ns, frame.captured_unix_ns)
    }

    /// The digests that are due at this time.
    pub(super) fn due_at(&mut self, pts_ns: u64, unix_ns: u64) -> Vec<DigestAlert> {
        if self.bursts.is_due(pts_ns) { self.bursts.due(At { pts_ns, unix_ns }) } else { Vec::new() }
    }

    /// The frame time at which the next digest is due.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.bursts.due_ns()
    }

    /// The digests of everything held back, at the end of the source, whose last frame had these times.
    pub fn flush(&mut self, pts_ns: u64, captured_unix_ns: u64) -> Vec<DigestAlert> {
        self.bursts.flush(At { pts_ns, unix_ns: captured_unix_ns })
    }

    /// Decides on a draft that a strategy raised on `frame`.
    pub fn decide(&mut self, raised: &Raised, frame: &Frame) -> Decision {
        let ordinal = self.next_ordinal(frame);
        self.note_draft(raised);
        let settings = self.settings.of(&raised.rule);
        let (min, spans) = (settings.min_confidence, settings.spans);
        // An alert without detections (a count, a silence) has no score to check.
        if let Some(best) = raised.detections.iter().map(|d| d.confidence).reduce(f32::max).filter(|best| *best < min) {
            return Decision::Refused(Refusal::Confidence { best, min });
        }
        let now_ns = time_of(frame.pts_ns);
        let when = When { now_ns, lasts_ns: spans.lasts_ns };
        self.places.note(now_ns);
        let object = if raised.key.is_empty() { object(raised) } else { None };
        let own = object.map(|(track, detection)| self.places.key(&raised.rule, track, &detection.bbox, frame, when));
        let key = own.as_deref().unwrap_or(&raised.key);
        self.write_key(&frame.source, &raised.rule, key);
        let level = raised.level.unwrap_or(settings.default_level);
        self.write_traits(raised, level);
        let known = self.conditions.known(&self.scratch, &self.traits, now_ns, spans);
        self.note_condition(key, known, now_ns, spans.lasts_ns);
        if let Some((track, detection)) = object {
            self.places.forget(now_ns);
            self.places.raised(&raised.rule, key, track, detection.bbox, when);
        }
        if known == Known::Same {
            let count = self.conditions.again(&self.scratch, &self.traits, now_ns, spans.lasts_ns);
            return Decision::Suppressed { count };
        }
        let suppressed = self.conditions.begin(&self.scratch, &self.traits, now_ns, spans.lasts_ns);
        if names_a_track(raised) {
            self.conditions.set_outlives(&self.scratch, false);
        }
        let alert = Alert {
            id: id(frame, &raised.rule, key, ordinal),
            level,
            rule: raised.rule.clone(),
            source: frame.source.clone(),
            key: key.to_owned(),
            time: rfc3339(frame.captured_unix_ns / 1_000_000),
            pts_ns: frame.pts_ns,
            seq: frame.seq,
            message: raised.message.clone(),
            detections: raised.detections.clone(),
            suppressed,
            digest: None,
            tags: raised.tags.clone(),
            picture: false,
            evidence: None,
            expires_seconds: raised.expires_seconds,
        };
        self.write_key(&frame.source, &raised.rule, "");
        match self.bursts.admit(&self.scratch, &alert, frame.pts_ns, settings.limits) {
            Admitted::Sent => Decision::Accept(Arc::new(alert)),
            Admitted::Held(added) => {
                self.held_back(&alert);
                self.new_best = NewBest::of(alert, added);
                Decision::Digested
            }
        }
    }

    /// Undoes an acceptance that the outbox refused, so that the next draft is not suppressed as a duplicate. A digest
    /// stands for no condition of its own.
    pub fn unsent(&mut self, alert: &Alert) {
        if alert.digest.is_some() {
            return;
        }
        self.write_key(&alert.source, &alert.rule, &alert.key);
        self.conditions.take_back(&self.scratch, alert.suppressed);
        self.write_key(&alert.source, &alert.rule, "");
        self.bursts.take_back(&self.scratch, alert);
    }

    /// Writes the hashes of a draft's level, labels and zones.
    fn write_traits(&mut self, raised: &Raised, level: Level) {
        let Self { traits, zones, .. } = self;
        traits.clear();
        traits.push(hash(0, level.as_str()));
        let mut add = |hash: u64| {
            if traits.len() < TRAITS_MAX && !traits.contains(&hash) {
                traits.push(hash);
            }
        };
        for detection in &raised.detections {
            add(hash(1, &detection.label));
            let foot = detection.bbox.bottom_center();
            zones.iter().filter(|zone| zone.polygon.contains(foot)).for_each(|zone| add(hash(2, &zone.name)));
        }
    }

    /// Index of the draft among those of its frame.
    fn next_ordinal(&mut self, frame: &Frame) -> u32 {
        match &mut self.ordinal {
            Some((source, seq, ordinal)) if *seq == frame.seq && *source == frame.source => {
                *ordinal += 1;
                *ordinal
            }
            other => {
                *other = Some((frame.source.clone(), frame.seq, 0));
                0
            }
        }
    }

    /// Writes the triple as one string.
    fn write_key(&mut self, source: &SourceId, rule: &str, key: &str) {
        self.scratch.clear();
        write_condition(&mut self.scratch, source, rule, key);
    }

    /// Ends a condition, or without a key every condition of the rule: the next draft of it becomes an alert.
    pub fn end(&mut self, source: &SourceId, rule: &str, key: Option<&str>) {
        self.write_key(source, rule, key.unwrap_or_default());
        self.conditions.end(&self.scratch, key.is_none());
    }

    /// The condition of the draft that was suppressed last, as [`condition`] writes it.
    pub(super) fn suppressed(&self) -> &str {
        &self.scratch
    }
}

/// Writes the triple as one string, which without a key is the beginning of every condition of the rule.
fn write_condition(out: &mut String, source: &SourceId, rule: &str, key: &str) {
    use std::fmt::Write as _;
    // Writing to a String cannot fail. Length prefixes keep ("a", "bc") and ("ab", "c") apart.
    let _ = write!(out, "{}.{}.", source.as_str().len(), rule.len());
    for part in [source.as_str(), rule, key] {
        out.push_str(part);
    }
}

/// A condition as one string.
pub(super) fn condition(source: &SourceId, rule: &str, key: &str) -> String {
    let mut out = String::new();
    write_condition(&mut out, source, rule, key);
    out
}

/// The conditions' time at a frame time.
fn time_of(pts_ns: u64) -> u64 {
    pts_ns.saturating_add(START_NS)
}

/// The rule in what [`Policy::write_key`] wrote.
fn rule_of(key: &str) -> &str {
    let parts = || {
        let (source, rest) = key.split_once('.')?;
        let (rule, texts) = rest.split_once('.')?;
        let (source, rule): (usize, usize) = (source.parse().ok()?, rule.parse().ok()?);
        texts.get(source..source.checked_add(rule)?)
    };
    parts().unwrap_or_default()
}

/// Whether a draft's own key is the number of a track: another process gives the number to another object.
fn names_a_track(raised: &Raised) -> bool {
    let Ok(number) = raised.key.parse::<u64>() else { return false };
    raised.detections.iter().any(|detection| detection.track_id == Some(number))
}

/// A hash of a trait, the same in every process (FNV-1a).
fn hash(kind: u8, text: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(mix(0xcbf2_9ce4_8422_2325, kind), mix)
}

fn id(frame: &Frame, rule: &str, key: &str, ordinal: u32) -> AlertId {
    let mut digest = Sha256::new();
    for part in [frame.source.as_str(), rule, key] {
        // Length prefixes keep ("a", "bc") and ("ab", "c") apart; four bytes each keep the usual input within one SHA
        // block.
        digest.update((part.len() as u32).to_le_bytes());
        digest.update(part);
    }
    digest.update(frame.seq.to_le_bytes());
    digest.update(ordinal.to_le_bytes());
    let full = digest.finalize();
    let mut short = [0; 10];
    short.copy_from_slice(&full[..10]);
    AlertId::new(frame.captured_unix_ns, short)
}

#[cfg(test)]
pub(crate) mod tests;
