//! Matchers, times and bounds, case by case.

use super::*;
use crate::alert::digest::{At, Held};
use crate::types::{AlertId, BBox, Detection, HeldBy, Point, Polygon};

const HOUR: u64 = 60 * 60 * 1_000;
/// Now, in Unix milliseconds.
const NOW: u64 = 1_800_000_000_000;

fn request(matchers: &[&str]) -> SilenceRequest {
    let matchers = matchers.iter().map(|text| (*text).to_owned()).collect();
    SilenceRequest {
        matchers,
        duration: Some("2h".into()),
        comment: "the yard is rebuilt".into(),
        ..Default::default()
    }
}

fn alert_at(at_ms: u64) -> Alert {
    Alert { id: AlertId::new(at_ms * 1_000_000, [1; 10]), ..Alert::sample("m") }
}

fn seen(labels: &[&str]) -> Vec<Detection> {
    let area = BBox { x: 0.1, y: 0.1, width: 0.2, height: 0.2 };
    labels.iter().map(|label| Detection::new(*label, 0, 0.9, area)).collect()
}

/// Whether silences hold this alert back.
fn holds(matchers: &[&str], alert: &Alert) -> bool {
    let mut silences = Silences::default();
    silences.add(&request(matchers), "ops", NOW, &mut Vec::new()).unwrap();
    silences.holds(alert, &[]).is_some()
}

#[test]
fn every_matcher_has_to_match_by_its_operator_and_a_regular_expression_the_whole_value() {
    let alert = alert_at(NOW + 1);
    assert_eq!((alert.source.as_str(), &*alert.rule, &*alert.key), ("gate", "loitering", "7"));
    for (matchers, held) in [
        (&["source=\"gate\""][..], true),
        (&["source=gate"], true),
        (&[" source = \"gate\" "], true),
        (&["source=\"yard\""], false),
        (&["source!=\"yard\"", "rule=\"loitering\""], true),
        (&["source=\"gate\"", "rule=\"intrusion\""], false),
        (&["rule=~\"loiter.*\""], true),
        (&["rule=~\"loiter\""], false),
        (&["rule=~\"oitering\""], false),
        (&["rule=~\"x|loitering|y\""], true),
        (&["rule=~\"loiter|y\""], false),
        (&["rule!~\"system\\..*\"", "source=gate"], true),
        (&["level=\"high\""], true),
        (&["level!=\"high\""], false),
        (&["level=~\"low|medium\""], false),
        (&["rule=~\"(?i)LOITER\\w+\""], true),
        (&["key=\"7\""], true),
        (&["key=~\"\\d\""], true),
        (&["key=~\"\\\\d\""], true),
    ] {
        assert_eq!(holds(matchers, &alert), held, "{matchers:?}");
    }
}

#[test]
fn a_label_is_that_of_any_detection() {
    let alert = Alert { detections: seen(&["person", "dog"]), ..alert_at(NOW + 1) };
    for (matcher, held) in [
        ("label=\"dog\"", true),
        ("label=\"cat\"", false),
        ("label!=\"dog\"", false),
        ("label=~\"d.*\"", true),
        ("label!~\"c.*\"", true),
    ] {
        assert_eq!(holds(&[matcher, "source=gate"], &alert), held, "{matcher}");
    }
    let bare = alert_at(NOW + 1);
    assert!(holds(&["label=\"\"", "source=gate"], &bare) && !holds(&["label=\"dog\"", "source=gate"], &bare));
}

#[test]
fn a_zone_is_one_with_the_foot_of_any_detection() {
    let square = |name: &str, left: f32| {
        let corners = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)];
        let points = corners.map(|(x, y)| Point { x: left + x, y }).to_vec();
        Zone { name: name.into(), polygon: Polygon::new(points).unwrap() }
    };
    // The person stands at (0.2, 0.3).
    let zones = [square("drive", 0.0), square("garden", 0.5)];
    let alert = Alert { detections: seen(&["person"]), ..alert_at(NOW + 1) };
    for (matcher, zones, held) in [
        ("zone=\"drive\"", &zones[..], true),
        ("zone=\"garden\"", &zones, false),
        ("zone!=\"garden\"", &zones, true),
        ("zone!~\"d.*\"", &zones, false),
        ("zone=\"drive\"", &[], false),
        ("zone=\"\"", &[], true),
    ] {
        let mut silences = Silences::default();
        silences.add(&request(&[matcher, "source=gate"]), "ops", NOW, &mut Vec::new()).unwrap();
        assert_eq!(silences.holds(&alert, zones).is_some(), held, "{matcher}");
    }
}

#[test]
fn a_critical_alert_is_held_back_only_where_the_level_is_named_and_a_digest_never() {
    let critical = Alert { level: Level::Critical, ..alert_at(NOW + 1) };
    assert!(!holds(&["source=\"gate\""], &critical));
    assert!(!holds(&["source=~\".+\"", "rule=~\".+\""], &critical));
    assert!(holds(&["source=\"gate\"", "level=\"critical\""], &critical));
    assert!(holds(&["source=\"gate\"", "level!=\"low\""], &critical));
    let digest = Held::new(&alert_at(NOW + 1), HeldBy::Burst);
    let digest = digest.into_digest(At { pts_ns: 0, unix_ns: (NOW + 1) * 1_000_000 }).alert;
    assert!(!holds(&["source=\"gate\""], &digest));
    // What is wanted of a whole site under repair.
    assert!(holds(&["level!=\"critical\""], &alert_at(NOW + 1)) && !holds(&["level!=\"critical\""], &critical));
}

#[test]
fn a_silence_holds_from_its_start_until_its_end_by_capture_time_and_can_be_ended() {
    let mut silences = Silences::default();
    let later = SilenceRequest { starts_at: Some(rfc3339(NOW + HOUR)), ..request(&["source=gate"]) };
    let id = silences.add(&later, "ops", NOW, &mut Vec::new()).unwrap().id;
    for (at_ms, held) in
        [(NOW, false), (NOW + HOUR - 1, false), (NOW + HOUR, true), (NOW + 3 * HOUR - 1, true), (NOW + 3 * HOUR, false)]
    {
        assert_eq!(silences.holds(&alert_at(at_ms), &[]).is_some(), held, "{at_ms}");
    }
    let body = |silences: &Silences, now_ms| silences.list().next().map(|silence| silence.body(now_ms)).unwrap();
    assert_eq!((body(&silences, NOW).state, body(&silences, NOW + HOUR).state), ("pending", "active"));
    assert_eq!(body(&silences, NOW).suppressed, 2);
    assert_eq!(silences.count(NOW), SilenceCount::default());
    let until = Some(rfc3339(NOW + 3 * HOUR));
    assert_eq!(silences.count(NOW + HOUR), SilenceCount { active: 1, until });
    assert_eq!(silences.end(&id, NOW + 2 * HOUR).unwrap().body(NOW + 2 * HOUR).state, "ended");
    assert!(
        silences.holds(&alert_at(NOW + 2 * HOUR), &[]).is_none()
            && silences.holds(&alert_at(NOW + 2 * HOUR - 1), &[]).is_some()
    );
    // What has ended stays as it is.
    assert_eq!(silences.end(&id, NOW + 9 * HOUR).unwrap().ends_ms, NOW + 2 * HOUR);
    assert!(silences.end("none", NOW).is_none());
    // One that has not begun never holds.
    let id = silences.add(&later, "ops", NOW, &mut Vec::new()).unwrap().id;
    silences.end(&id, NOW + 1).unwrap();
    assert!(silences.holds(&alert_at(NOW + 3 * HOUR - 1), &[]).is_none());
}

#[test]
fn a_wrong_request_is_refused_in_words_that_name_the_matcher() {
    let mut silences = Silences::default();
    let mut refused = |request: &SilenceRequest| {
        let error = silences.add(request, "ops", NOW, &mut Vec::new()).unwrap_err();
        assert!(!error.is_full && !error.hint.is_empty(), "{error:?}");
        error.message
    };
    for (matcher, message) in [
        ("soruce=\"gate\"", "the matcher `soruce=\"gate\"` names no field: `soruce`"),
        ("=gate", "the matcher `=gate` names no field"),
        ("source", "the matcher `source` has no operator"),
        ("source=\"gate", "the matcher `source=\"gate` has no quotation mark at its end"),
        ("source=\"gate\" x", "the matcher `source=\"gate\" x` goes on after its quotation mark"),
        ("source=ga\"te", "the matcher `source=ga\"te` has a quotation mark in its value"),
        ("level=\"urgent\"", "the matcher `level=\"urgent\"` names no level"),
    ] {
        assert_eq!(refused(&request(&["rule=r", matcher])), message);
    }
    for matcher in ["rule=~\"(\"", "rule=~\"a)|(b\"", "rule!~\"*\""] {
        let message = refused(&request(&[matcher]));
        assert!(message.starts_with(&format!("the matcher `{matcher}` has no regular expression: ")), "{message}");
    }
    assert!(refused(&request(&["rule=~\"(\\w{50}){50}\""])).ends_with("it becomes too large"));
    assert!(refused(&request(&[&format!("rule={}", "x".repeat(2_000))])).ends_with("is longer than 1024 bytes"));
    assert!(refused(&request(&[])).contains("1 to 16 matchers, not 0"));
    assert!(refused(&request(&["rule=r"; 17])).contains("not 17"));
    assert!(refused(&request(&["rule=~\".*\"", "label!=\"dog\""])).contains("nearly all"));
    let at = |ms: u64| Some(rfc3339(ms));
    let one = || SilenceRequest { duration: None, ..request(&["rule=r"]) };
    for (request, message) in [
        (one(), "the end is missing"),
        (SilenceRequest { ends_at: at(NOW + 1), ..request(&["rule=r"]) }, "both `ends_at` and `duration` are given"),
        (SilenceRequest { ends_at: at(NOW - 1), starts_at: at(NOW - 2), ..one() }, "it has ended already"),
        (SilenceRequest { ends_at: at(NOW + 1), starts_at: at(NOW + 2), ..one() }, "it ends before it starts"),
        (SilenceRequest { ends_at: Some("soon".into()), ..one() }, "ends_at: `soon` is no time"),
        (SilenceRequest { duration: Some("2".into()), ..one() }, "duration: `2` is no duration"),
        (SilenceRequest { duration: Some("3years".into()), ..one() }, "it ends more than a year from now"),
        (SilenceRequest { comment: "x".repeat(1_001), ..request(&["rule=r"]) }, "comment: longer than 1000 characters"),
    ] {
        assert_eq!(refused(&request), message);
    }
}

#[test]
fn silences_are_bounded_in_number_and_ended_ones_make_room_and_are_forgotten() {
    let (mut silences, mut forgotten) = (Silences::default(), Vec::new());
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..SILENCES_MAX {
        ids.insert(silences.add(&request(&["rule=r"]), "ops", NOW, &mut forgotten).unwrap().id);
    }
    assert_eq!((ids.len(), forgotten.len()), (SILENCES_MAX, 0));
    let error = silences.add(&request(&["rule=r"]), "ops", NOW, &mut forgotten).unwrap_err();
    assert!(error.is_full && error.message.contains("1000"), "{error:?}");
    let ended = ids.pop_first().unwrap();
    silences.end(&ended, NOW + 1).unwrap();
    silences.add(&request(&["rule=r"]), "ops", NOW + 2, &mut forgotten).unwrap();
    assert_eq!(forgotten, [ended]);
    silences.forget(NOW + 2 * HOUR + KEPT_MS, &mut forgotten);
    assert_eq!(silences.list().count(), SILENCES_MAX);
    silences.forget(NOW + 2 * HOUR + KEPT_MS + 3, &mut forgotten);
    assert_eq!((silences.list().count(), forgotten.len()), (0, SILENCES_MAX + 1));

    let many = ["rule=~\"a.*\""; 16];
    for _ in 0..REGEXES_MAX / many.len() {
        silences.add(&request(&many), "ops", NOW, &mut forgotten).unwrap();
    }
    let error = silences.add(&request(&["rule=~\"b\""]), "ops", NOW, &mut forgotten).unwrap_err();
    assert!(error.is_full && error.message.contains("256 regular expressions"), "{error:?}");
    silences.add(&request(&["rule=\"b\""]), "ops", NOW, &mut forgotten).unwrap();
}

#[test]
fn a_saved_silence_is_read_as_it_was() {
    let (mut before, mut after) = (Silences::default(), Silences::default());
    let texts = ["source=~\"g.te\"", "rule!=\"a \\\"quoted\\\" \\\\ one\"", "level!~\"low\"", "label=\"dog\\n\""];
    let made = before.add(&request(&texts), "ops", NOW, &mut Vec::new()).unwrap();
    after.restore(made.id.clone(), &made.contents().unwrap()).unwrap();
    let body = made.body(NOW);
    assert_eq!(after.list().next().unwrap().body(NOW), body);
    assert_eq!(body.matchers, texts);
    assert_eq!((&*body.created_by, &*body.comment, body.state), ("ops", "the yard is rebuilt", "active"));
    assert!(after.restore("x".into(), "{}").is_err() && after.restore("y".into(), "[").is_err());
    let wrong = r#"{"matchers":["a=b"],"starts_ms":1,"ends_ms":2,"created_by":"","comment":""}"#;
    assert!(after.restore("z".into(), wrong).unwrap_err().contains("`a=b`"));
    assert_eq!(after.list().count(), 1);
}
