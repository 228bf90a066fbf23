//! Alerts that a limit holds back, and the one alert, their digest, that stands for all of them. Values only.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::types::{Alert, AlertId, Digest, HeldBy, Level, SourceId, add_tags, one_line, rfc3339};

/// Maximum ids, and maximum keys, that a digest names.
const NAMES_MAX: usize = 100;
/// Maximum bytes of the keys that a digest names.
const KEYS_BYTES_MAX: usize = 16 << 10;
/// Maximum characters of the best alert's message in a digest's.
const QUOTED_MAX: usize = 500;
/// How much more an alert's detection must score to become the best. The picture of each best alert is encoded, and an
/// object that comes nearer scores a little more on each frame: so a digest costs about twenty pictures at most, however
/// many alerts it stands for.
const BEST_MARGIN: f32 = 0.05;

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
    /// The one with the best detection by [`BEST_MARGIN`], or the first one. The digest has its detection, its message
    /// and its picture: they belong together.
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
    /// Its id, if it has a picture.
    picture_of: Option<AlertId>,
}

/// What an added alert changes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Added {
    /// Whether it is the best so far.
    pub(super) is_best: bool,
    /// The alert whose picture the digest does not need: the former best one, or this one.
    pub(super) unneeded: Option<AlertId>,
}

/// A digest that is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct DigestAlert {
    /// The digest, without a picture yet.
    pub alert: Arc<Alert>,
    /// Its best alert, if that one has a picture.
    pub picture_of: Option<AlertId>,
}

impl Best {
    fn of(alert: &Alert) -> Self {
        let best = alert.detections.iter().max_by(|a, b| a.confidence.total_cmp(&b.confidence));
        // A digest's own message quotes others already.
        let message = if alert.digest.is_some() { String::new() } else { quote(&alert.message) };
        Self { detection: best.cloned(), message, picture_of: alert.picture.then(|| alert.id.clone()) }
    }

    /// Whether this one replaces the former.
    fn beats(&self, former: &Self) -> bool {
        let quotes = former.message.is_empty() && !self.message.is_empty();
        quotes || self.score() > former.score() + BEST_MARGIN
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
    pub(super) fn add(&mut self, alert: &Alert) -> Added {
        self.level = self.level.max(alert.level);
        self.seq = alert.seq;
        self.suppressed += alert.suppressed;
        add_tags(&mut self.tags, &alert.tags);
        let mut other = Best::of(alert);
        let is_best = other.beats(&self.best);
        if is_best {
            std::mem::swap(&mut self.best, &mut other);
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
        Added { is_best, unneeded: other.picture_of }
    }

    /// Notes that the alert that was added last, and is the best, has a picture.
    pub(super) fn pictured(&mut self, alert: &Alert) {
        self.best.picture_of = Some(alert.id.clone());
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
    pub(super) fn into_digest(self, at: At) -> DigestAlert {
        let Self { reason, source, rule, level, digest, keys_bytes: _, best, seq, suppressed, tags } = self;
        let alert = Alert {
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
            evidence: None,
            expires_seconds: None,
            rule,
            source,
        };
        DigestAlert { alert: Arc::new(alert), picture_of: best.picture_of }
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

    fn digest_of(held: Held) -> Digest {
        held.into_digest(AT).alert.digest.clone().unwrap()
    }

    fn seen(confidence: f32) -> Detection {
        Detection::new("car", 2, confidence, BBox { x: 0.1, y: 0.1, width: 0.1, height: 0.1 })
    }

    #[test]
    fn a_digest_has_the_count_the_times_the_names_and_the_best_detection() {
        let mut one = (*alert(1, "one")).clone();
        let mut two = (*alert(2, "two")).clone();
        (one.detections, two.detections) = (vec![seen(0.6)], vec![seen(0.4), seen(0.9)]);
        (one.tags, two.tags) = (vec!["dock".into()], vec!["dock".into(), "night".into()]);
        (two.level, two.suppressed, two.time) = (Level::High, 4, "2023-11-14T22:13:25.000Z".into());
        let mut held = Held::new(&one, HeldBy::Burst);
        held.add(&two);
        let digest = held.into_digest(AT).alert;
        let Digest { count, first, last, ids, keys, .. } = digest.digest.clone().unwrap();
        assert_eq!((count, first.as_str(), last.as_str()), (2, "2023-11-14T22:13:20.000Z", "2023-11-14T22:13:25.000Z"));
        assert_eq!((ids, keys), (vec![one.id.clone(), two.id.clone()], vec!["1".to_owned(), "2".to_owned()]));
        assert_eq!((digest.level, digest.suppressed), (Level::High, 4));
        assert_eq!(digest.detections, [seen(0.9)]);
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
            held.into_digest(AT).alert
        };
        let mut held = Held::new(&burst(1), HeldBy::Rate);
        held.add(&alert(7, "single"));
        held.add(&burst(3));
        let whole = digest_of(held);
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
        held.add(&earlier.into_digest(AT).alert);
        held.add(&at(3, 20));
        let Digest { count, first, last, ids, keys, .. } = digest_of(held);
        assert_eq!((first.as_str(), last.as_str()), ("2023-11-14T22:13:10.000Z", "2023-11-14T22:13:30.000Z"));
        assert_eq!((count, ids.len(), keys.len()), (4, 4, 3));
    }

    #[test]
    fn the_names_are_bounded_and_the_count_is_not() {
        let mut held = Held::new(&alert(0, "m"), HeldBy::Rate);
        (1..1_000).for_each(|number| drop(held.add(&alert(number, "m"))));
        let digest = digest_of(held);
        assert_eq!((digest.count, digest.ids.len(), digest.keys.len()), (1_000, NAMES_MAX, NAMES_MAX));
        let long = |number: u64| Alert { key: format!("{number}{}", "k".repeat(10_000)), ..(*alert(0, "m")).clone() };
        let mut held = Held::new(&long(0), HeldBy::Rate);
        (1..9).for_each(|number| drop(held.add(&long(number))));
        assert_eq!(digest_of(held).keys.len(), 1);
    }

    /// An alert whose best detection scores so, and has a picture.
    fn pictured(number: u64, confidence: f32) -> Alert {
        let detections = vec![seen(confidence)];
        Alert { detections, picture: true, ..(*alert(number, &format!("car {number}"))).clone() }
    }

    #[test]
    fn a_digest_has_the_picture_of_the_alert_that_it_quotes_and_needs_no_other() {
        let first = pictured(1, 0.6);
        let mut held = Held::new(&first, HeldBy::Rate);
        let mut add = |other: &Alert| held.add(other);
        let (worse, better, none) = (pictured(2, 0.5), pictured(3, 0.7), alert(4, "no detection"));
        assert_eq!(add(&worse), Added { is_best: false, unneeded: Some(worse.id.clone()) });
        assert_eq!(add(&better), Added { is_best: true, unneeded: Some(first.id) });
        assert_eq!(add(&none), Added { is_best: false, unneeded: None });
        let digest = held.clone().into_digest(AT);
        assert_eq!((digest.picture_of, digest.alert.picture), (Some(better.id.clone()), false));
        assert!(digest.alert.message.ends_with("; best: car 3") && digest.alert.detections == [seen(0.7)]);
        // One for whose picture there was no room; then one that is held on a lane, and gets its picture afterwards.
        let without = Alert { picture: false, ..pictured(5, 0.8) };
        assert_eq!(held.add(&without), Added { is_best: true, unneeded: Some(better.id) });
        assert_eq!(held.clone().into_digest(AT).picture_of, None, "not that of another one");
        held.pictured(&without);
        assert_eq!(held.into_digest(AT).picture_of, Some(without.id));
    }

    #[test]
    fn a_thousand_alerts_have_a_few_best_ones() {
        let best = |scores: &mut dyn Iterator<Item = f32>, message: &str| {
            let alert = |score| Alert { message: message.into(), ..pictured(1, score) };
            let mut held = Held::new(&alert(0.0), HeldBy::Burst);
            scores.filter(|score| held.add(&alert(*score)).is_best).count()
        };
        let mut rising = (1..=1_000).map(|step| step as f32 / 1_000.0);
        assert!((15..=20).contains(&best(&mut rising, "it comes nearer")));
        assert_eq!(best(&mut std::iter::repeat_n(0.0, 1_000), ""), 0, "nor if they say nothing");
    }

    #[test]
    fn a_digest_of_digests_has_the_picture_of_one_of_them() {
        let digest = |number: u64, confidence| {
            let digest = Held::new(&pictured(number, confidence), HeldBy::Burst).into_digest(AT);
            Alert { picture: digest.picture_of.is_some(), ..(*digest.alert).clone() }
        };
        let (one, two) = (digest(1, 0.6), digest(2, 0.9));
        let mut held = Held::new(&one, HeldBy::Rate);
        assert_eq!(held.add(&two), Added { is_best: true, unneeded: Some(one.id) });
        assert_eq!(held.into_digest(AT).picture_of, Some(two.id));
    }
}
