//! Seeded schedules of three sources.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::alert::policy::tests::plan;
use crate::alert::{DigestAlert, check};

const SECOND: u64 = 1_000_000_000;
const SOURCES: [&str; 3] = ["door", "gate", "yard"];
const SEEDS: u64 = 1_000;
const EVENTS: u64 = 200;

fn sequencer(limit: u32) -> Sequencer {
    Sequencer::new(&AlertPlan { max_per_minute: limit, burst_window: Duration::from_secs(10), ..plan() })
}

/// An alert of this number, raised at this time.
fn alert(source: &str, number: u64, at_ns: u64, level: Level) -> Arc<Alert> {
    let made = check::alert(number, "m");
    Arc::new(Alert { source: source.into(), pts_ns: at_ns, level, ..(*made).clone() })
}

fn times(at_ns: u64) -> Times {
    Times { arrival_ns: at_ns, pts_ns: at_ns, unix_ns: at_ns, recorded: None }
}

fn is_sent(ruling: &Ruling, alert: &Arc<Alert>) -> bool {
    matches!(ruling, Ruling::Send(sent) if Arc::ptr_eq(sent, alert))
}

/// Whether an alert that the camera raises now is sent.
fn is_sent_at(sequencer: &mut Sequencer, camera: u64, second: u64) -> bool {
    let alert = alert("camera", second, 0, Level::Medium);
    let mut rulings = Vec::new();
    sequencer.judged(&"camera".into(), camera, times(second * SECOND), &mut rulings);
    sequencer.offer(Some(camera), alert.clone(), times(second * SECOND), &mut rulings);
    rulings.iter().any(|ruling| is_sent(ruling, &alert))
}

/// The alerts that were sent, digests included, critical ones excluded: they take a place in the window.
fn placed(rulings: &[Ruling]) -> Vec<(u64, SourceId)> {
    let placed = rulings.iter().filter_map(|ruling| match ruling {
        Ruling::Send(alert) | Ruling::Digest(DigestAlert { alert, .. }) => Some(alert),
        Ruling::Digested(..) | Ruling::Refused(_) => None,
    });
    let placed = placed.filter(|alert| alert.level < Level::Critical);
    placed.map(|alert| (alert.pts_ns, alert.source.clone())).collect()
}

/// Fails if there are more than `limit` in any minute.
fn check_limit(rulings: &[Ruling], limit: usize, what: &str) {
    let mut placed: Vec<u64> = placed(rulings).into_iter().map(|(at_ns, _)| at_ns).collect();
    placed.sort_unstable();
    let over = placed.windows(limit + 1).find(|some| some[limit] - some[0] < MINUTE_NS);
    assert_eq!(over, None, "{what}: more than {limit}");
}

/// Fails unless every alert was sent or is named in a digest, once.
fn check_balance(rulings: &[Ruling], offered: &[Arc<Alert>], what: &str) {
    let mut told: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut held, mut in_digests) = (0, 0);
    for ruling in rulings {
        match ruling {
            Ruling::Send(alert) => *told.entry(alert.id.as_str()).or_default() += 1,
            Ruling::Digested(..) => held += 1,
            Ruling::Refused(alert) => panic!("{what}: refused {alert:?}"),
            Ruling::Digest(DigestAlert { alert, .. }) => {
                let digest = alert.digest.as_ref().unwrap();
                in_digests += digest.count;
                assert!(digest.count <= 100, "{what}: all are named");
                digest.ids.iter().for_each(|id| *told.entry(id.as_str()).or_default() += 1);
            }
        }
    }
    assert_eq!(held, in_digests, "{what}");
    assert!(offered.iter().all(|alert| told.get(alert.id.as_str()) == Some(&1)), "{what}");
    assert_eq!(told.len(), offered.len(), "{what}");
}

fn level(rng: &mut fastrand::Rng) -> Level {
    if rng.u8(..10) == 0 { Level::Critical } else { Level::Medium }
}

#[test]
fn live_sources_share_the_limit_and_every_alert_is_sent_or_in_a_digest() {
    for seed in 0..SEEDS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limit = rng.usize(3..12);
        let mut sequencer = sequencer(limit as u32);
        let mut rulings = Vec::new();
        let tokens = SOURCES.map(|id| sequencer.join(&id.into(), Order::Arrival, 0, &mut rulings));
        let (mut now_ns, mut offered) = (0, Vec::new());
        let busy = rng.usize(..4);
        for number in 0..EVENTS {
            now_ns += rng.u64(0..2 * SECOND);
            // In most runs one source floods.
            let at = if busy < 3 && rng.bool() { busy } else { rng.usize(..3) };
            for (id, token) in SOURCES.into_iter().zip(tokens) {
                sequencer.judged(&id.into(), token, times(now_ns), &mut rulings);
            }
            let recent = placed(&rulings).into_iter().filter(|(at_ns, _)| now_ns - at_ns < MINUTE_NS);
            let own = recent.filter(|(_, id)| id.as_str() == SOURCES[at]).count();
            let alert = alert(SOURCES[at], number, now_ns, level(&mut rng));
            sequencer.offer(Some(tokens[at]), alert.clone(), times(now_ns), &mut rulings);
            let sent = rulings.iter().any(|ruling| is_sent(ruling, &alert));
            assert!(sent || alert.level < Level::Critical, "seed {seed}: a critical alert is not held back");
            assert!(sent || own >= limit / 3, "seed {seed}: {} has sent {own} of its share", SOURCES[at]);
            offered.push(alert);
        }
        check_limit(&rulings, limit, &format!("seed {seed}"));
        for (id, token) in SOURCES.into_iter().zip(tokens) {
            sequencer.leave(&id.into(), token, now_ns, &mut rulings);
        }
        check_balance(&rulings, &offered, &format!("seed {seed}"));
    }
}

/// The frames of one finite source: times, each with the alerts raised there.
type Frames = Vec<(u64, Vec<Arc<Alert>>)>;

/// Plays the sources' frames in a random order that keeps that of each source.
fn merged(limit: usize, sources: &BTreeMap<&str, Frames>, rng: &mut fastrand::Rng) -> Vec<Ruling> {
    let mut sequencer = sequencer(limit as u32);
    let mut rulings = Vec::new();
    let mut ids: Vec<&str> = sources.keys().copied().collect();
    rng.shuffle(&mut ids);
    let mut left: Vec<(&str, u64, usize)> = Vec::new();
    for id in ids {
        left.push((id, sequencer.join(&id.into(), Order::Frame, 0, &mut rulings), 0));
    }
    while !left.is_empty() {
        let at = rng.usize(..left.len());
        let (id, token, next) = left[at];
        match sources[id].get(next) {
            // Nothing arrives: time on the clock stands still, and no source counts as stalled.
            Some((at_ns, alerts)) => {
                let times = Times { arrival_ns: 0, ..times(*at_ns) };
                for alert in alerts {
                    sequencer.offer(Some(token), alert.clone(), times, &mut rulings);
                }
                sequencer.judged(&id.into(), token, times, &mut rulings);
                left[at].2 += 1;
            }
            None => {
                sequencer.leave(&id.into(), token, 0, &mut rulings);
                left.remove(at);
            }
        }
    }
    rulings
}

#[test]
fn finite_sources_have_the_same_outcome_in_any_order() {
    for seed in 0..SEEDS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limit = rng.usize(1..10);
        let mut number = 0;
        let mut offered = Vec::new();
        let sources: BTreeMap<&str, Frames> = SOURCES
            .into_iter()
            .map(|id| {
                let (mut at_ns, length) = (0, rng.u64(0..EVENTS / 2));
                let pace = rng.u64(1..3 * SECOND);
                let frames = (0..length).map(|_| {
                    at_ns += rng.u64(1..=pace);
                    let alerts = (0..rng.u64(..3)).map(|_| {
                        number += 1;
                        let alert = alert(id, number, at_ns, level(&mut rng));
                        offered.push(alert.clone());
                        alert
                    });
                    (at_ns, alerts.collect())
                });
                (id, frames.collect())
            })
            .collect();
        let first = merged(limit, &sources, &mut rng);
        for _ in 0..3 {
            assert_eq!(merged(limit, &sources, &mut rng), first, "seed {seed}");
        }
        let what = format!("seed {seed}");
        check_limit(&first, limit, &what);
        let counts = first.iter().filter_map(|ruling| match ruling {
            Ruling::Digest(made) => made.alert.digest.as_ref().map(|digest| digest.count),
            _ => None,
        });
        // A digest names a hundred.
        if counts.max().is_none_or(|most| most <= 100) {
            check_balance(&first, &offered, &what);
        }
        let order = first.iter().filter_map(|ruling| match ruling {
            Ruling::Send(alert) => Some(alert.pts_ns),
            _ => None,
        });
        assert!(order.is_sorted(), "{what}: in order of time");
    }
}

#[test]
fn a_source_that_does_not_advance_is_not_waited_for() {
    let mut sequencer = sequencer(10);
    let mut rulings = Vec::new();
    let tokens = ["a", "b"].map(|id| sequencer.join(&id.into(), Order::Frame, 0, &mut rulings));
    let raised = alert("a", 1, SECOND, Level::Medium);
    sequencer.offer(Some(tokens[0]), raised.clone(), times(SECOND), &mut rulings);
    sequencer.tick(SECOND + STALLED_NS - 1, &mut rulings);
    assert!(rulings.is_empty(), "b may raise an earlier one");
    sequencer.tick(SECOND + STALLED_NS, &mut rulings);
    assert_eq!(rulings, [Ruling::Send(raised)]);
}

#[test]
fn a_source_without_frames_has_no_share() {
    let mut sequencer = sequencer(4);
    let mut rulings = Vec::new();
    let tokens = ["a", "lost"].map(|id| sequencer.join(&id.into(), Order::Arrival, 0, &mut rulings));
    let mut sent = |second: u64, numbers: std::ops::Range<u64>| {
        rulings.clear();
        sequencer.judged(&"a".into(), tokens[0], times(second * SECOND), &mut rulings);
        rulings.clear();
        for number in numbers {
            let alert = alert("a", number, second * SECOND, Level::Medium);
            sequencer.offer(Some(tokens[0]), alert, times(second * SECOND), &mut rulings);
        }
        rulings.iter().filter(|ruling| matches!(ruling, Ruling::Send(_))).count()
    };
    assert_eq!(sent(1, 0..2), 2);
    assert_eq!(sent(2, 2..5), 0, "the other half is reserved");
    assert_eq!(sent(62, 5..9), 3, "a digest has taken the fourth place");
}

#[test]
fn a_live_source_waits_for_no_other_and_its_arrival_releases_what_waits() {
    let mut sequencer = sequencer(10);
    let mut rulings = Vec::new();
    let file = sequencer.join(&"file".into(), Order::Frame, 0, &mut rulings);
    let slow = sequencer.join(&"slow".into(), Order::Frame, 0, &mut rulings);
    sequencer.offer(Some(file), alert("file", 1, SECOND, Level::Medium), times(SECOND), &mut rulings);
    assert_eq!(rulings.len(), 0);
    let camera = sequencer.join(&"camera".into(), Order::Arrival, 2 * SECOND, &mut rulings);
    assert_eq!(rulings.len(), 1);
    for (token, id) in [(camera, "camera"), (slow, "slow"), (file, "file")] {
        sequencer.offer(Some(token), alert(id, token, 0, Level::Medium), times(3 * SECOND), &mut rulings);
    }
    assert_eq!(rulings.iter().filter(|ruling| matches!(ruling, Ruling::Send(_))).count(), 4);
}

#[test]
fn what_waits_is_bounded_and_zero_is_no_limit() {
    let mut unlimited = sequencer(0);
    let mut rulings = Vec::new();
    let token = unlimited.join(&"a".into(), Order::Frame, 0, &mut rulings);
    unlimited.join(&"b".into(), Order::Frame, 0, &mut rulings);
    for number in 0..WAITING_MAX as u64 + 10 {
        unlimited.offer(Some(token), alert("a", number, number, Level::Medium), Times::default(), &mut rulings);
    }
    assert_eq!((rulings.len(), unlimited.waiting.len()), (10, WAITING_MAX));
    assert!(rulings.iter().all(|ruling| matches!(ruling, Ruling::Send(_))));
}

#[test]
fn an_alert_that_was_not_accepted_takes_no_place() {
    let mut sequencer = sequencer(1);
    let mut rulings = Vec::new();
    let token = sequencer.join(&"a".into(), Order::Arrival, 0, &mut rulings);
    let mut sent = |sequencer: &mut Sequencer, number| {
        let alert = alert("a", number, 0, Level::Medium);
        sequencer.offer(Some(token), alert.clone(), times(SECOND), &mut rulings);
        rulings.iter().any(|ruling| is_sent(ruling, &alert))
    };
    assert!(sent(&mut sequencer, 1));
    sequencer.take_back(&"a".into());
    assert!(sent(&mut sequencer, 2));
    assert!(!sent(&mut sequencer, 3));
}

/// How many digests there are, and how many alerts were refused.
fn held(rulings: &[Ruling]) -> (usize, usize) {
    let count = |is_it: fn(&Ruling) -> bool| rulings.iter().filter(|ruling| is_it(ruling)).count();
    (count(|ruling| matches!(ruling, Ruling::Digested(..))), count(|ruling| matches!(ruling, Ruling::Refused(_))))
}

#[test]
fn a_source_with_many_rules_leaves_the_others_room_for_their_digests() {
    let mut sequencer = sequencer(1);
    let mut rulings = Vec::new();
    let tokens = ["busy", "calm"].map(|id| sequencer.join(&id.into(), Order::Arrival, 0, &mut rulings));
    let mut offer = |source: &str, token, numbers: std::ops::Range<u64>| {
        let mut rulings = Vec::new();
        for number in numbers {
            let made = (*alert(source, number, 0, Level::Medium)).clone();
            let alert = Arc::new(Alert { rule: format!("rule {number}"), ..made });
            sequencer.offer(Some(token), alert, times(SECOND), &mut rulings);
        }
        held(&rulings)
    };
    // One alert of the whole site is sent.
    assert_eq!(offer("busy", tokens[0], 0..5_001), (2_048, 2_952));
    assert_eq!(offer("calm", tokens[1], 0..2_000), (2_000, 0), "all of the others' are named in digests");
}

#[test]
fn a_source_has_a_limit_of_its_own_within_that_of_the_site() {
    for (site, sent) in [(0, [2, 20]), (12, [2, 10])] {
        let mut sequencer = sequencer(site);
        let mut rulings = Vec::new();
        let tokens = ["tree", "door"].map(|id| sequencer.join(&id.into(), Order::Frame, 0, &mut rulings));
        sequencer.set_own_limit(&"tree".into(), Some(2));
        for number in 0..20 {
            for (token, id) in tokens.into_iter().zip(["tree", "door"]) {
                sequencer.offer(Some(token), alert(id, number, number, Level::Medium), times(number), &mut rulings);
                sequencer.judged(&id.into(), token, times(number), &mut rulings);
            }
        }
        let own = Some(Stage::Rate { limit: 2, used: 2, of_source: 2 });
        assert!(sequencer.take_rates().contains(&own), "{site}: the log names the source's own limit");
        let count = |rulings: &[Ruling], id: &str| {
            rulings.iter().filter(|r| matches!(r, Ruling::Send(alert) if alert.source.as_str() == id)).count()
        };
        tokens.into_iter().zip(["tree", "door"]).for_each(|(token, id)| {
            sequencer.leave(&id.into(), token, 0, &mut rulings);
        });
        let counts = ["tree", "door"].map(|id| count(&rulings, id));
        assert_eq!(counts[0], sent[0], "{site}");
        assert!(counts[1] >= sent[1] && (site == 0 || counts[0] + counts[1] <= site as usize), "{site}: {counts:?}");
        let digest = rulings.iter().find_map(|ruling| match ruling {
            Ruling::Digest(made) if made.alert.source.as_str() == "tree" => Some(made.alert.clone()),
            _ => None,
        });
        let digest = digest.unwrap();
        assert_eq!(digest.digest.as_ref().unwrap().count, 18);
        assert!(digest.pts_ns >= MINUTE_NS, "after the minute of the two: {}", digest.pts_ns);
    }
}

#[test]
fn what_was_sent_long_before_takes_no_place_in_a_merge_and_what_was_just_sent_does() {
    for (since, sent) in [(30, 1), (3_600, 2)] {
        let mut sequencer = sequencer(2);
        let mut rulings = Vec::new();
        // The engine's own, while there is no source.
        sequencer.offer(None, alert("engine", 1, 0, Level::Medium), times(5 * SECOND), &mut rulings);
        rulings.clear();
        let joined_ns = (5 + since) * SECOND;
        let clip = sequencer.join(&"clip".into(), Order::Frame, joined_ns, &mut rulings);
        for number in 0..4 {
            let times = Times { arrival_ns: joined_ns, ..times(number * SECOND) };
            sequencer.offer(Some(clip), alert("clip", number, number * SECOND, Level::Medium), times, &mut rulings);
            sequencer.judged(&"clip".into(), clip, times, &mut rulings);
        }
        let count = rulings.iter().filter(|ruling| matches!(ruling, Ruling::Send(_))).count();
        assert_eq!(count, sent, "{since} s after the engine's");
    }
}

#[test]
fn after_a_merge_time_goes_on_with_the_clock_and_the_last_minutes_alerts_keep_their_age() {
    let mut sequencer = sequencer(2);
    let mut rulings = Vec::new();
    let clip = sequencer.join(&"clip".into(), Order::Frame, 0, &mut rulings);
    // An hour of frame time passes in a second; the last two alerts are thirty seconds old at its end.
    for second in [3_570, 3_571, 3_600] {
        let times = Times { arrival_ns: SECOND, ..times(second * SECOND) };
        if second < 3_600 {
            sequencer.offer(Some(clip), alert("clip", second, 0, Level::Medium), times, &mut rulings);
        }
        sequencer.judged(&"clip".into(), clip, times, &mut rulings);
    }
    sequencer.leave(&"clip".into(), clip, SECOND, &mut rulings);
    assert_eq!(rulings.iter().filter(|ruling| matches!(ruling, Ruling::Send(_))).count(), 2);
    let camera = sequencer.join(&"camera".into(), Order::Arrival, 2 * SECOND, &mut rulings);
    let mut is_sent_at = |second| is_sent_at(&mut sequencer, camera, second);
    assert!(!is_sent_at(10), "both were sent within the last minute");
    assert!(is_sent_at(45), "a minute after the first");
}

#[test]
fn what_an_earlier_process_sent_takes_its_places_for_the_rest_of_its_minute() {
    let mut sequencer = sequencer(2);
    let mut rulings = Vec::new();
    let camera = sequencer.join(&"camera".into(), Order::Arrival, SECOND, &mut rulings);
    let sent = [50, 30, 70].map(|age| (age * SECOND, SourceId::from("camera")));
    sequencer.restore_sent(sent.into(), SECOND);
    let mut is_sent_at = |second| is_sent_at(&mut sequencer, camera, second);
    assert!(!is_sent_at(2), "both places are taken");
    // At 11 s one has left the minute, and the digest of the one above is ready at 12 s.
    assert!(is_sent_at(11));
    assert!(!is_sent_at(30));
    // A finite source goes by frame time, which no earlier process knows.
    let mut merge = self::sequencer(1);
    merge.join(&"clip".into(), Order::Frame, 0, &mut rulings);
    merge.restore_sent(vec![(0, "clip".into())], 0);
    assert!(merge.sent.is_empty());
}
