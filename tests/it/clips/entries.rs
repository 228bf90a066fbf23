//! Who is told of with the default policy: each person of the clip who enters the picture, in an alert or named in a
//! digest.
//!
//! A person has *entered* with the first second during which a detection overlaps the true box on each judged frame. An
//! alert is about the person whom its track is on; the detector may see somebody at the edge of the picture before the
//! truth does, so for up to two seconds after the alert.

use std::collections::{BTreeMap, BTreeSet};

use dsengine::types::{Alert, BBox};
use serde_json::Value;

use super::{Clip, FPS, SAME, share, strategy};
use crate::harness::write;

/// The truth is read on every second frame.
const EVERY: u64 = 2;
/// How long after somebody entered the first alert may come, and how far ahead a track tells whom it is on.
const SOON_FRAMES: u64 = 2 * FPS;
/// The rule, and the lowest confidence that it counts by default.
const RULE: &str = "{ zone: all }";
const LEAST: f64 = 0.5;
/// The default of `max_alerts_per_minute`.
const PER_MINUTE: usize = 10;

/// Which track was on whom, frame by frame.
struct Followed(BTreeMap<u64, BTreeMap<u32, u64>>);

impl Followed {
    fn read(clip: &Clip) -> Self {
        let text = std::fs::read_to_string(clip.dir.path().join("clip.jsonl")).unwrap();
        let frames = text.lines().skip(1).map(|line| {
            let frame: Value = serde_json::from_str(line).unwrap();
            let seq = frame["seq"].as_u64().unwrap();
            (seq, Self::pair(clip, seq, frame["detections"].as_array().unwrap()))
        });
        Self(frames.collect())
    }

    /// Pairs true people and detections of a frame, each once, the best overlap first.
    fn pair(clip: &Clip, seq: u64, detections: &[Value]) -> BTreeMap<u32, u64> {
        let people = clip.truth.frames.get(&seq);
        let mut pairs = Vec::new();
        for seen in detections.iter().filter(|d| d["label"] == "person" && d["confidence"].as_f64() >= Some(LEAST)) {
            let [x, y, width, height]: [f32; 4] = serde_json::from_value(seen["bbox"].clone()).unwrap();
            let (bbox, track) = (BBox { x, y, width, height }, seen["track_id"].as_u64().unwrap());
            pairs.extend(people.into_iter().flatten().map(|(who, truth)| (truth.iou(&bbox), *who, track)));
        }
        pairs.retain(|(iou, ..)| *iou >= SAME);
        pairs.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
        let mut followed = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for (_, who, track) in pairs {
            if !followed.contains_key(&who) && taken.insert(track) {
                followed.insert(who, track);
            }
        }
        followed
    }

    /// Each person who entered, and on which frame.
    fn entries(&self) -> BTreeMap<u32, u64> {
        let mut since: BTreeMap<u32, u64> = BTreeMap::new();
        let mut entries = BTreeMap::new();
        for (seq, people) in &self.0 {
            since.retain(|who, _| people.contains_key(who));
            for who in people.keys() {
                let from = *since.entry(*who).or_insert(*seq);
                if *seq + EVERY >= from + FPS {
                    entries.entry(*who).or_insert(from);
                }
            }
        }
        entries
    }

    /// Whom an alert is about.
    fn who(&self, alert: &Alert) -> Option<u32> {
        let track = alert.detections[0].track_id?;
        let soon = self.0.range(alert.seq..=alert.seq + SOON_FRAMES);
        soon.flat_map(|(_, people)| people).find_map(|(who, on)| (*on == track).then_some(*who))
    }
}

/// The most alerts within this time.
fn peak(alerts: &[Alert], span_s: u64) -> usize {
    let within = |from: &Alert, alert: &&Alert| {
        alert.pts_ns.checked_sub(from.pts_ns).is_some_and(|age_ns| age_ns < span_s * 1_000_000_000)
    };
    alerts.iter().map(|from| alerts.iter().filter(|alert| within(from, alert)).count()).max().unwrap_or_default()
}

/// Alerts under the policy that these lines under `alerts` set; without any the default one.
fn replayed(clip: &Clip, alerts: &str) -> Vec<Alert> {
    let text = format!(
        "sources: [{{ id: vtest-480x360, uri: 'trace:clip.jsonl' }}]\n\
         zones: {{ all: [[0, 0], [1, 0], [1, 1], [0, 1]] }}\ndetection: {{ strategies: [{}] }}\n{alerts}",
        strategy("intrusion.lua", RULE)
    );
    write(clip.dir.path(), "config.yaml", &text);
    clip.replay()
}

#[test]
fn each_person_who_enters_is_in_an_alert_or_named_in_a_digest() {
    let Some(clip) = Clip::open("clips::entries") else { return };
    let followed = Followed::read(&clip);
    let raised = clip.alerts(&strategy("intrusion.lua", RULE)).len();
    let all = replayed(&clip, "alerts: { burst_threshold: 0, max_alerts_per_minute: 0 }\n");
    let sent = replayed(&clip, "");
    // What a limit holds back is named by the id that it would have had.
    let named: BTreeSet<String> = sent
        .iter()
        .flat_map(|alert| match &alert.digest {
            Some(digest) => digest.ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
            None => vec![alert.id.to_string()],
        })
        .collect();
    assert_eq!(named, all.iter().map(|alert| alert.id.to_string()).collect::<BTreeSet<_>>());
    assert!(sent.len() < all.len() && sent.iter().any(|alert| alert.digest.is_some()), "{} sent", sent.len());
    assert!(peak(&sent, 60) <= PER_MINUTE, "{} in a minute", peak(&sent, 60));

    let mut first: BTreeMap<u32, u64> = BTreeMap::new();
    for alert in &all {
        if let Some(who) = followed.who(alert) {
            first.entry(who).or_insert(alert.seq);
        }
    }
    let entries = followed.entries();
    let late = entries.iter().filter(|(who, from)| first.get(*who).is_none_or(|seq| *seq > **from + SOON_FRAMES));
    let late: Vec<_> = late.map(|(who, from)| (who, from, first.get(who))).collect();
    println!(
        "vtest: {} entered; {raised} raised by the rule, {} told, {} sent ({} digests), at most {} in ten minutes",
        entries.len(),
        all.len(),
        sent.len(),
        sent.iter().filter(|alert| alert.digest.is_some()).count(),
        peak(&sent, 600)
    );
    assert!(late.is_empty(), "person, frame of the entry, of the first alert: {late:?}");
    assert_eq!(entries.len(), 19, "all people of the clip");
    // Most of it is about somebody, and it is far from one alert per frame.
    let about = share(all.iter().filter(|alert| followed.who(alert).is_some()).count(), all.len());
    assert!(about >= 0.6 && all.len() * 20 < raised, "{about} of {}, {raised} raised", all.len());
}
