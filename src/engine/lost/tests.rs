//! Sources that come and go, in given and in random patterns.

use std::collections::BTreeSet;

use super::*;

const S: u64 = 1_000_000_000;
const AFTER: u64 = 30 * S;

fn seen(id: &str, is_up: bool) -> Seen {
    Seen { id: id.into(), is_up, cause: (!is_up).then(|| format!("nobody listens at {id}:554: is the camera on")) }
}

/// The notices of a run, with the second of each; `is_up` says how a source is at a second.
fn run(sources: &[&str], seconds: u64, is_up: impl Fn(&str, u64) -> bool) -> Vec<(u64, Notice)> {
    let (mut lost, mut sent) = (LostSources::default(), Vec::new());
    for second in 0..seconds {
        let all: Vec<Seen> = sources.iter().map(|id| seen(id, is_up(id, second))).collect();
        lost.see(&all, AFTER, second * S);
        while let Some(notice) = lost.due(second * S) {
            lost.sent(&notice, second * S);
            sent.push((second, notice));
        }
    }
    sent
}

fn texts(sent: &[(u64, Notice)]) -> Vec<(u64, &str)> {
    sent.iter().map(|(second, notice)| (*second, &*notice.message)).collect()
}

#[test]
fn a_lost_source_is_told_once_with_its_cause_and_once_when_it_is_back() {
    let sent = run(&["gate", "yard"], 2_000, |id, second| id == "yard" || !(100..700).contains(&second));
    let want = [
        (140, "source gate is lost, for 40 s: nobody listens at gate:554: is the camera on"),
        (720, "source gate is back, lost 620 s ago"),
    ];
    assert_eq!(texts(&sent), want);
    let heads: Vec<_> = sent.iter().map(|(_, notice)| (notice.rule, notice.level, &*notice.key)).collect();
    assert_eq!(heads, [(LOST, Level::High, "gate"), (BACK, Level::Low, "gate")]);
}

#[test]
fn a_source_that_comes_back_in_time_is_not_told() {
    assert_eq!(run(&["gate"], 2_000, |_, second| second % 60 >= 29), []);
    // Nor one that runs again when the alert is due, and goes on.
    assert_eq!(run(&["gate"], 2_000, |_, second| second >= 35), []);
    // A picture every 20 seconds does not make it run.
    assert_eq!(run(&["gate"], 290, |_, second| second % 20 == 19).len(), 1);
}

#[test]
fn forty_sources_that_are_lost_together_make_one_alert_that_names_them_and_one_when_they_are_back() {
    let ids: Vec<String> = (0..40).map(|n| format!("cam-{n:02}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    // Not at the same second.
    let nth = |id: &str| id[4..].parse::<u64>().unwrap() / 5;
    let sent = run(&ids, 3_000, |id, second| !(100 + nth(id)..1_000 + nth(id)).contains(&second));
    assert_eq!(sent.iter().map(|(second, _)| *second).collect::<Vec<_>>(), [140, 1_020]);
    for ((_, notice), verb) in sent.iter().zip(["lost, the first for 40 s", "back, lost up to 920 s ago"]) {
        assert_eq!(notice.sources.len(), 40);
        assert!(notice.message.starts_with(&format!("40 sources are {verb}: cam-00, cam-01, ")), "{}", notice.message);
        assert!(ids.iter().all(|id| notice.message.contains(id)), "{}", notice.message);
        assert_eq!(notice.key, "");
    }
    let message = &sent[0].1.message;
    assert_eq!(message.matches("nobody listens").count(), CAUSES_MAX);
    assert!(message.ends_with("; and 35 causes more, which the status has"), "{message}");
}

#[test]
fn later_ones_of_a_group_are_told_once_per_interval() {
    let ids = ["a", "b", "c", "d"];
    let from = |id: &str| [100, 160, 200, 900][ids.iter().position(|known| *known == id).unwrap()];
    let sent = run(&ids, 2_000, |id, second| second < from(id));
    let told: Vec<_> = sent.iter().map(|(second, notice)| (*second, notice.sources.len())).collect();
    assert_eq!(told, [(140, 1), (440, 2), (940, 1)]);
    assert!(sent[1].1.message.starts_with("2 more of 3 lost sources, for 280 s: b, c; b: nobody"), "{:?}", sent[1]);
    // A source that is lost when the others have long been back waits for nobody.
    let sent = run(&ids[..2], 2_000, |id, second| match id {
        "a" => !(100..150).contains(&second),
        _ => second < 300,
    });
    let told: Vec<_> = sent.iter().map(|(second, notice)| (*second, notice.rule)).collect();
    assert_eq!(told, [(140, LOST), (170, BACK), (340, LOST)]);
}

#[test]
fn what_is_held_back_is_tried_again_while_it_lasts() {
    let mut lost = LostSources::default();
    let (mut tries, mut sent) = (Vec::new(), Vec::new());
    for second in 0..400 {
        lost.see(&[seen("gate", second < 10)], AFTER, second * S);
        if let Some(notice) = lost.due(second * S) {
            tries.push(second);
            // Quiet hours, say.
            if second < 150 {
                lost.held_back(second * S);
            } else {
                lost.sent(&notice, second * S);
                sent.push(notice.sources);
            }
        }
    }
    assert_eq!((tries, sent), (vec![50, 110, 170], vec![vec![SourceId::from("gate")]]));
}

#[test]
fn a_removed_source_is_forgotten() {
    let mut lost = LostSources::default();
    for second in 0..100 {
        lost.see(&[seen("gate", false)], AFTER, second * S);
    }
    assert!(lost.due(100 * S).is_some());
    lost.see(&[], AFTER, 101 * S);
    assert_eq!((lost.due(101 * S), lost.sources.len()), (None, 0));
}

#[test]
fn in_any_pattern_each_loss_that_lasts_is_named_once_and_alerts_are_few() {
    for seed in 0..400 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let ids: Vec<SourceId> = (0..rng.usize(1..12)).map(|n| format!("cam-{n}").as_str().into()).collect();
        let seconds = 4_000;
        // How long a source stays as it is, by chance: flapping ones, and steady ones.
        let mut until = vec![(0, false); ids.len()];
        let paces: Vec<u64> = ids.iter().map(|_| [5, 60, 400][rng.usize(..3)]).collect();
        let mut lost = LostSources::default();
        let mut believed: BTreeSet<SourceId> = BTreeSet::new();
        let (mut lost_alerts, mut own): (Vec<u64>, Vec<Option<u64>>) = (Vec::new(), vec![None; ids.len()]);
        for second in 0..seconds {
            let now_ns = second * S;
            for (state, pace) in until.iter_mut().zip(&paces) {
                if state.0 <= second {
                    *state = (second + rng.u64(1..2 * pace), !state.1);
                }
            }
            let all: Vec<Seen> = ids.iter().zip(&until).map(|(id, state)| seen(id.as_str(), state.1)).collect();
            lost.see(&all, AFTER, now_ns);
            while let Some(notice) = lost.due(now_ns) {
                lost.sent(&notice, now_ns);
                assert!(!notice.sources.is_empty());
                for id in &notice.sources {
                    // Lost and back take turns: nothing is said twice.
                    let is_new = if notice.rule == LOST { believed.insert(id.clone()) } else { believed.remove(id) };
                    assert!(is_new, "seed {seed}, second {second}: {notice:?}");
                    assert!(notice.message.contains(id.as_str()), "{notice:?}");
                    if notice.rule == LOST {
                        let at = ids.iter().position(|known| known == id).unwrap();
                        let before = own[at].replace(second);
                        let is_alone = notice.sources.len() == 1;
                        let is_soon = before.is_some_and(|before| second - before < 300);
                        assert!(!is_alone || !is_soon, "seed {seed}, {id}: {before:?}");
                    }
                }
                if notice.rule == LOST {
                    lost_alerts.push(second);
                }
            }
            // A source that has been down or up for long enough counts as such.
            for (id, standing) in &lost.sources {
                let long = now_ns.saturating_sub(standing.changed_ns) > WAIT_NS + INTERVAL_NS;
                let is_known =
                    standing.is_lost == believed.contains(id) || standing.is_lost && standing.up_ns.is_some();
                assert!(!long || is_known, "seed {seed}, second {second}: {id}");
            }
        }
        // Two alerts of a group are an interval apart, and a group ends with an alert, at most one per interval.
        let most = |window: u64| {
            let within = |from: u64| lost_alerts.iter().filter(|at| (from..from + window).contains(*at)).count();
            lost_alerts.iter().map(|from| within(*from)).max().unwrap_or(0)
        };
        assert!(most(300) <= 2, "seed {seed}: {lost_alerts:?}");
    }
}
