//! Topics and payloads, in the shape of Frigate's.

use serde_json::{Map, Value, json};

use crate::types::{Alert, since_epoch};

/// Most characters of a level.
const LEVEL_CHARS_MAX: usize = 200;

/// A name as one level of a topic. What has a meaning in topics, and what brokers refuse, becomes `_`; the payload has
/// the name as it is.
pub(super) fn level(name: &str) -> String {
    let safe = |c: char| match c {
        '/' | '+' | '#' => '_',
        c if c.is_control() || is_noncharacter(c) => '_',
        c => c,
    };
    match name.is_empty() {
        true => "_".to_owned(),
        false => name.chars().take(LEVEL_CHARS_MAX).map(safe).collect(),
    }
}

/// Whether a code point is one of the 66 that are no characters: brokers may close a connection on them.
fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

/// Where the state of this program is kept: `online`, or `offline`.
pub(super) fn available(prefix: &str) -> String {
    format!("{prefix}/available")
}

/// Where every alert is published.
pub(super) fn events(prefix: &str) -> String {
    format!("{prefix}/events")
}

/// Where a source's alerts of one rule are published.
pub(super) fn of_rule(prefix: &str, source: &str, rule: &str) -> String {
    format!("{prefix}/{}/{}", level(source), level(rule))
}

/// Every topic of a source's alerts, to subscribe to.
pub(super) fn of_source(prefix: &str, source: &str) -> String {
    format!("{prefix}/{}/+", level(source))
}

/// Where a source is switched on and off.
pub(super) fn source_set(prefix: &str, source: &str) -> String {
    format!("{prefix}/{}/enabled/set", level(source))
}

/// Where any source is switched, to subscribe to.
pub(super) fn any_source_set(prefix: &str) -> String {
    format!("{prefix}/+/enabled/set")
}

/// Whether a source is on.
pub(super) fn source_state(prefix: &str, source: &str) -> String {
    format!("{prefix}/{}/enabled/state", level(source))
}

/// Where the profile is switched.
pub(super) fn profile_set(prefix: &str) -> String {
    format!("{prefix}/profile/set")
}

/// Which profile applies.
pub(super) fn profile_state(prefix: &str) -> String {
    format!("{prefix}/profile/state")
}

/// The payload of [`events`]: the alert with the names that Frigate's events have. A new one has no state before it, so
/// `before` is equal to `after`, as there.
///
/// # Errors
/// When the alert cannot be written as JSON.
pub(super) fn event(alert: &Alert) -> serde_json::Result<Vec<u8>> {
    // By way of the text, which has the digits of a 32-bit number and no more.
    let mut state: Map<String, Value> = serde_json::from_str(&serde_json::to_string(alert)?)?;
    let score = |at: usize| state["detections"][at]["confidence"].clone();
    let best = alert.detections.iter().enumerate().max_by(|(_, a), (_, b)| a.confidence.total_cmp(&b.confidence));
    let top_score = best.map_or(Value::Null, |(at, _)| score(at));
    let seconds = since_epoch(&alert.time).map(|since| since.as_secs_f64());
    state.insert("camera".into(), json!(alert.source.as_str()));
    state.insert("label".into(), json!(best.map(|(_, best)| &*best.label)));
    state.insert("top_score".into(), top_score);
    state.insert("start_time".into(), json!(seconds));
    state.insert("end_time".into(), Value::Null);
    serde_json::to_vec(&json!({ "type": "new", "before": state, "after": state }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_level_of_a_topic_whatever_it_holds() {
        for (name, wanted) in [
            ("loitering", "loitering"),
            ("a/b", "a_b"),
            ("+", "_"),
            ("#", "_"),
            ("", "_"),
            ("a\0b\n\x7f\u{9b}", "a_b___"),
            ("$SYS", "$SYS"),
            ("Tür 3", "Tür 3"),
            ("\u{FFFE}\u{1FFFF}\u{FDD0}", "___"),
        ] {
            assert_eq!(level(name), wanted, "{name:?}");
        }
        assert_eq!(level(&"ä".repeat(1000)).chars().count(), LEVEL_CHARS_MAX);
        assert_eq!(of_rule("site/ds", "gate 1", "a/#"), "site/ds/gate 1/a__");
        assert_eq!(of_source("ds", "+"), "ds/_/+");
    }

    #[test]
    fn an_event_has_the_alert_and_the_names_of_frigate() {
        let alert = crate::alert::check::alert(7, "m");
        let event: Value = serde_json::from_slice(&event(&alert).unwrap()).unwrap();
        assert_eq!(event["type"], "new");
        assert_eq!(event["before"], event["after"]);
        assert_eq!(event["after"]["id"], alert.id.as_str());
        assert_eq!((&event["after"]["camera"], &event["after"]["rule"]), (&json!("gate"), &json!("loitering")));
        assert_eq!(event["after"]["start_time"], 1_700_000_000.0);
        assert!(event["after"]["end_time"].is_null() && event["after"]["label"].is_null());
    }
}
