//! Questions to a log of a few entries.

use super::*;
use crate::alert::chain::Novelty;
use crate::types::{HeldBy, Level};

fn decided(number: u64, rule: &str, more: u64, stages: Vec<Stage>) -> Arc<Decided> {
    let chain = Chain { more, stages, ..Chain::new(None, Level::Medium, "7", "a person", number) };
    Arc::new(Decided {
        source: "gate".into(),
        rule: rule.into(),
        at_ms: number * 1000,
        id: AlertId::new(number * 1_000_000_000, [number as u8; 10]),
        contents: serde_json::to_string(&chain).unwrap(),
    })
}

fn repeat() -> Stage {
    Stage::Condition { is: Novelty::Repeat, news: None, told_ms: Some(1000), window_ms: 60_000, repeats: 4 }
}

fn accepted() -> Stage {
    Stage::Accepted { handlers: vec!["hook".into()], left_out: vec!["mail".into()] }
}

fn burst() -> Stage {
    Stage::Burst { by: HeldBy::Burst, limit: 3, window_ms: 10_000, used: 3 }
}

#[test]
fn an_alert_is_explained_by_any_unique_part_of_its_id_with_what_became_of_it() {
    let one = decided(1, "r", 0, vec![accepted()]);
    let two = decided(2, "r", 0, vec![repeat()]);
    let attempt = Attempt { id: one.id.clone(), handler: "hook".into(), at_ms: 1500, error: "HTTP 500".into() };
    let settled = Settled { id: one.id.clone(), handler: "hook".into(), how: "given_up".into(), at_ms: None };
    let records = Records {
        decided: vec![one.clone(), two.clone()],
        attempts: vec![attempt],
        settled: vec![settled],
        alerts: Vec::new(),
    };
    let explained = records.explain(&one.id.as_str()[20..]).unwrap();
    assert_eq!(explained.id, one.id);
    assert_eq!(
        explained.lines,
        [
            "accepted for hook; left out by `where` of mail",
            "hook: failed at 1970-01-01T00:00:01.500Z: HTTP 500",
            "hook: given up"
        ]
    );
    assert!(explained.is_accepted() && !records.explain(two.id.as_str()).unwrap().is_accepted());
    assert_eq!(records.explain("0000").unwrap_err(), NotOne::Many(candidates([&one.id, &two.id])));
    assert_eq!(records.explain("ffff").unwrap_err(), NotOne::None);
    assert_eq!(records.explain("").unwrap_err(), NotOne::None);
}

#[test]
fn a_draft_that_a_limit_held_back_names_the_digest_that_tells_of_it() {
    let held = decided(1, "r", 0, vec![burst()]);
    let digest = Stage::Digest { by: HeldBy::Burst, count: 2, ids: vec![held.id.clone()] };
    let told = decided(2, "r", 0, vec![digest.clone(), accepted()]);
    let other = decided(3, "another", 0, vec![digest, accepted()]);
    let records = Records { decided: vec![held.clone(), told.clone(), other], ..Records::default() };
    assert_eq!(records.explain(held.id.as_str()).unwrap().told_in, Some(told.id.clone()));
    assert_eq!(records.explain(told.id.as_str()).unwrap().told_in, None);
}

#[test]
fn a_review_counts_what_ended_at_each_stage_and_says_what_was_judged() {
    let work = Work { judged: 90, off: 10, faults: 1, raised: 5 };
    let seen = Seen { since_ms: 0, frames: 100, strategies: BTreeMap::from([("s".to_owned(), work)]) };
    let contents = serde_json::to_string(&seen).unwrap();
    let seen = Decided { rule: String::new(), contents, ..(*decided(4, "r", 0, Vec::new())).clone() };
    let records = Records {
        decided: vec![
            decided(1, "r", 0, vec![accepted()]),
            decided(2, "r", 29, vec![repeat()]),
            decided(3, "r", 9, vec![repeat()]),
            decided(3, "q", 0, vec![Stage::Disabled]),
            Arc::new(seen),
            decided(9, "r", 0, vec![accepted()]),
        ],
        ..Records::default()
    };
    let review = records.review("gate", None, 1000, 8000);
    let counts: Vec<_> = review.groups.iter().map(|group| (&*group.rule, &*group.stage, group.count)).collect();
    assert_eq!(counts, [("q", "disabled", 1), ("r", "accepted", 1), ("r", "condition", 40)]);
    let repeats = &review.groups[2];
    assert_eq!((repeats.first_ms, repeats.last_ms, &repeats.newest), (2000, 3000, &records.decided[2].id));
    assert_eq!((review.frames, review.strategies["s"].off), (100, 10));
    assert!(review.lines().iter().any(|line| line.contains("was off by its schedule for 10")), "{review:?}");
    assert_eq!(records.review("gate", Some("q"), 1000, 8000).groups.len(), 1);
    let nothing = records.review("another", None, 0, u64::MAX);
    assert_eq!(nothing.lines()[0], "nothing was raised");
}
