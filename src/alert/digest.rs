//! Alerts that a limit holds back, and the one alert, their digest, that stands for all of them. Values only.

use sha2::{Digest as _, Sha256};

use crate::types::{Alert, AlertId, Digest, HeldBy, Level, SourceId, add_tags, one_line, rfc3339};

/// Maximum ids, and maximum keys, that a digest names.
const NAMES_MAX: usize = 100;
/// Maximum bytes of the keys that a digest names.
const KEYS_BYTES_MAX: usize = 16 << 10;
/// Maximum characters of the best alert's message in a digest's.
const QUOTED_MAX: usize = 500;

/// When a digest is sent, as its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    /// Frame time.
    pub(super) pts_ns: u64,
    /// Wall-clock time.
    pub(super) unix_ns: u64,
}

/// Alerts of one rule of one source that are held back.
#[derive(Debug, Clone)]
pub(super) struct Held {
    reason: HeldBy,
    source: SourceId,
    rule: String,
    level: Level,
    digest: Digest,
    keys_bytes: usize,
    /// The one with the best detection, or the first one.
    best: Best,
    seq: u64,
    /// Alerts that were suppressed before one of these.
    suppressed: u64,
    /// The tags of any of these.
    tags: Vec<String>,
}

#[derive(Debug, Clone)]
struct Best {
    detection: Option<crate::types::Detection>,
    message: String,
}

impl Best {
    fn of(alert: &Alert) -> Self {
        let best = alert.detections.iter().max_by(|a, b| a.confidence.total_cmp(&b.confidence));
        // A digest's own message quotes others already.
        let message = if alert.digest.is_some() { String::new() } else { quote(&alert.message) };
        Self { detection: best.cloned(), message }
    }

    fn score(&self) -> f32 {
        self.detection.as_ref().map_or(-1.0, |detection| detection.confidence)
    }
}

/// The start of a text.
fn quote(text: &str) -> String {
    text.chars().take(QUOTED_MAX).collect()
}

impl Held {
    /// Starts with one alert.
    pub(super) fn new(alert: &Alert, reason: HeldBy) -> Self {
        let time = || alert.digest.as_ref().map_or_else(|| alert.time.clone(), |digest| digest.first.clone());
        let digest = Digest { reason, count: 0, first: time(), last: time(), ids: Vec::new(), keys: Vec::new() };
        let mut held = Self {
            reason,
            source: alert.source.clone(),
            rule: alert.rule.clone(),
            level: alert.level,
            digest,
            keys_bytes: 0,
            best: Best::of(alert),
            seq: alert.seq,
            suppressed: 0,
            tags: Vec::new(),
        };
        held.add(alert);
        held
    }

    /// Adds an alert of the same source and rule. A digest adds the alerts that it stands for.
    pub(super) fn add(&mut self, alert: &Alert) {
        self.level = self.level.max(alert.level);
        self.seq = alert.seq;
        self.suppressed += alert.suppressed;
        add_tags(&mut self.tags, &alert.tags);
        let best = Best::of(alert);
        if best.score() > self.best.score() || self.best.message.is_empty() {
            self.best = best;
        }
        match &alert.digest {
            Some(inner) => {
                self.digest.count += inner.count;
                inner.ids.iter().for_each(|id| self.name_id(id));
                inner.keys.iter().for_each(|key| self.name_key(key));
                self.span(&inner.first, &inner.last);
            }
            None => {
                self.digest.count += 1;
                self.name_id(&alert.id);
                self.name_key(&alert.key);
                self.span(&alert.time, &alert.time);
            }
        }
    }

    /// Extends the span of time; these times are in order as texts.
    fn span(&mut self, first: &str, last: &str) {
        if *first < *self.digest.first {
            first.clone_into(&mut self.digest.first);
        }
        if *last > *self.digest.last {
            last.clone_into(&mut self.digest.last);
        }
    }

    fn name_id(&mut self, id: &AlertId) {
        if self.digest.ids.len() < NAMES_MAX {
            self.digest.ids.push(id.clone());
        }
    }

    fn name_key(&mut self, key: &str) {
        let has_room = self.digest.keys.len() < NAMES_MAX && self.keys_bytes + key.len() <= KEYS_BYTES_MAX;
        if has_room && !key.is_empty() && !self.digest.keys.iter().any(|known| known == key) {
            self.keys_bytes += key.len();
            self.digest.keys.push(key.to_owned());
        }
    }

    /// The digest, sent at `at`.
    pub(super) fn into_alert(self, at: At) -> Alert {
        let Self { reason, source, rule, level, digest, keys_bytes: _, best, seq, suppressed, tags } = self;
        Alert {
            id: id(&source, &rule, &digest, at),
            level,
            key: match digest.keys.as_slice() {
                [only] => only.clone(),
                _ => String::new(),
            },
            time: rfc3339(at.unix_ns / 1_000_000),
            pts_ns: at.pts_ns,
            seq,
            message: message(reason, &rule, &digest, &best.message),
            detections: best.detection.into_iter().collect(),
            suppressed,
            digest: Some(digest),
            tags,
            picture: false,
            expires_seconds: None,
            rule,
            source,
        }
    }
}

/// `12 more alerts of intrusion from … to …, over alerts.burst_threshold; best: person 7 in the yard`
fn message(reason: HeldBy, rule: &str, digest: &Digest, best: &str) -> String {
    let Digest { count, first, last, .. } = digest;
    let alerts = if *count == 1 { "alert" } else { "alerts" };
    let span = if first == last { format!("at {first}") } else { format!("from {first} to {last}") };
    let best = if best.is_empty() { String::new() } else { format!("; best: {best}") };
    format!("{count} more {alerts} of {} {span}, over {}{best}", one_line(rule), reason.key())
}

fn id(source: &SourceId, rule: &str, digest: &Digest, at: At) -> AlertId {
    let mut hash = Sha256::new();
    let first = digest.ids.first().map(AlertId::as_str).unwrap_or_default();
    for part in ["digest", digest.reason.key(), source.as_str(), rule, first] {
        // Length prefixes keep ("a", "bc") and ("ab", "c") apart.
        hash.update((part.len() as u32).to_le_bytes());
        hash.update(part);
    }
    hash.update(digest.count.to_le_bytes());
    hash.update(at.pts_ns.to_le_bytes());
    let full = hash.finalize();
    let mut short = [0; 10];
    short.copy_from_slice(&full[..10]);
    AlertId::new(at.unix_ns, short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::check::alert;
    use crate::types::{BBox, Detection};

    const AT: At = At { pts_ns: 9_000_000_000, unix_ns: 1_700_000_009_000_000_000 };

    #[test]
    fn a_digest_has_the_count_the_times_the_names_and_the_best_detection() {
        let seen = |confidence| Detection::new("car", 2, confidence, BBox { x: 0.1, y: 0.1, width: 0.1, height: 0.1 });
        let mut one = (*alert(1, "one")).clone();
        let mut two = (*alert(2, "two")).clone();
        (one.detections, two.detections) = (vec![seen(0.6)], vec![seen(0.4), seen(0.9)]);
        (one.tags, two.tags) = (vec!["dock".into()], vec!["dock".into(), "night".into()]);
        (two.level, two.suppressed, two.time) = (Level::High, 4, "2023-11-14T22:13:25.000Z".into());
        let mut held = Held::new(&one, HeldBy::Burst);
        held.add(&two);
        let digest = held.into_alert(AT);
        let Digest { count, first, last, ids, keys, .. } = digest.digest.clone().unwrap();
        assert_eq!((count, first.as_str(), last.as_str()), (2, "2023-11-14T22:13:20.000Z", "2023-11-14T22:13:25.000Z"));
        assert_eq!((ids, keys), (vec![one.id.clone(), two.id.clone()], vec!["1".to_owned(), "2".to_owned()]));
        assert_eq!((digest.level, digest.suppressed, digest.detections), (Level::High, 4, vec![seen(0.9)]));
        assert_eq!(digest.tags, ["dock", "night"], "it goes where any of them goes");
        assert_eq!(digest.time, "2023-11-14T22:13:29.000Z");
        let want = "2 more alerts of loitering from 2023-11-14T22:13:20.000Z to 2023-11-14T22:13:25.000Z, over \
                    alerts.burst_threshold; best: two";
        assert_eq!(digest.message, want);
    }

    #[test]
    fn a_digest_of_digests_stands_for_the_alerts_of_each() {
        let burst = |from: u64| {
            let mut held = Held::new(&alert(from, "m"), HeldBy::Burst);
            held.add(&alert(from + 1, "m"));
            held.into_alert(AT)
        };
        let mut held = Held::new(&burst(1), HeldBy::Rate);
        held.add(&alert(7, "single"));
        held.add(&burst(3));
        let whole = held.into_alert(AT).digest.unwrap();
        assert_eq!((whole.count, whole.reason), (5, HeldBy::Rate));
        assert_eq!(whole.keys, ["1", "2", "7", "3", "4"]);
    }

    #[test]
    fn what_a_digest_names_lies_in_its_span_and_is_no_more_than_its_count() {
        let at = |number: u64, second: u64| Alert {
            time: format!("2023-11-14T22:13:{second}.000Z"),
            ..(*alert(number, "m")).clone()
        };
        let mut earlier = Held::new(&at(1, 10), HeldBy::Burst);
        earlier.add(&at(1, 11));
        let mut held = Held::new(&at(2, 30), HeldBy::Rate);
        // A digest that was refused is held again, behind younger alerts.
        held.add(&earlier.into_alert(AT));
        held.add(&at(3, 20));
        let Digest { count, first, last, ids, keys, .. } = held.into_alert(AT).digest.unwrap();
        assert_eq!((first.as_str(), last.as_str()), ("2023-11-14T22:13:10.000Z", "2023-11-14T22:13:30.000Z"));
        assert_eq!((count, ids.len(), keys.len()), (4, 4, 3));
    }

    #[test]
    fn the_names_are_bounded_and_the_count_is_not() {
        let mut held = Held::new(&alert(0, "m"), HeldBy::Rate);
        (1..1_000).for_each(|number| held.add(&alert(number, "m")));
        let digest = held.into_alert(AT).digest.unwrap();
        assert_eq!((digest.count, digest.ids.len(), digest.keys.len()), (1_000, NAMES_MAX, NAMES_MAX));
        let long = |number: u64| Alert { key: format!("{number}{}", "k".repeat(10_000)), ..(*alert(0, "m")).clone() };
        let mut held = Held::new(&long(0), HeldBy::Rate);
        (1..9).for_each(|number| held.add(&long(number)));
        assert_eq!(held.into_alert(AT).digest.unwrap().keys.len(), 1);
    }
}
