//! Compares expected and actual results: only what is listed, but that precisely.

use std::collections::BTreeMap;

use dsengine::error::{Code, Error};
use serde_json::Value;

use super::actual::Actual;
use super::case::Case;
use super::golden;
use super::script::{Expect, FileOr, OneOrMany, Outcome};

/// Relative tolerance for numbers: a script's have more digits than a detection's.
const NUMBER_ERROR: f64 = 1e-6;

/// One difference.
#[derive(Debug)]
pub(super) struct Difference {
    /// What it is about: `frame 12, alert: message`.
    pub(super) place: String,
    /// The expected value; `None` if nothing was expected.
    pub(super) expected: Option<String>,
    /// The actual value; `None` if there was none.
    pub(super) actual: Option<String>,
}

impl Difference {
    fn new(place: impl Into<String>, expected: Option<&Value>, actual: Option<&Value>) -> Self {
        Self { place: place.into(), expected: expected.map(Value::to_string), actual: actual.map(Value::to_string) }
    }

    /// A failure by itself.
    pub(super) fn wrong(what: impl Into<String>) -> Self {
        Self { place: what.into(), expected: None, actual: None }
    }
}

/// Every difference between a case's expectations and its results.
pub(super) fn compare(case: &Case, actual: &Actual) -> Result<Vec<Difference>, Error> {
    let mut out: Vec<Difference> = actual.broken.iter().map(Difference::wrong).collect();
    match &case.script.expect {
        None => out.push(Difference::wrong("the case expects nothing: write `expect:`, or let --update write it")),
        Some(FileOr::File(name)) => {
            let path = case.beside(name);
            match dsengine::text::read(&path) {
                Ok(text) => lines(&golden::parse(&text, &path)?, &golden::lines(actual), &mut out),
                Err(error) => out.push(Difference::wrong(format!(
                    "{} cannot be read ({error}); --update writes it",
                    path.display()
                ))),
            }
        }
        Some(FileOr::Inline(expect)) => inline(expect, actual, &mut out)?,
    }
    Ok(out)
}

fn inline(expect: &Expect, actual: &Actual, out: &mut Vec<Difference>) -> Result<(), Error> {
    let wanted = serde_json::to_value(expect)
        .map_err(|e| Error::new(Code::Config, format!("the expectation cannot be compared: {e}")))?;
    let list = |key: &str| wanted.get(key).and_then(Value::as_array);
    if let Some(alerts) = list("alerts") {
        in_order("alert", alerts, &actual.alerts, out);
    }
    if let Some(resolved) = list("resolved") {
        in_order("resolved", resolved, &actual.resolved, out);
    }
    if let Some(requests) = list("requests") {
        in_order("request", requests, &actual.requests, out);
    }
    // An unexpected fault fails the case: it may have caused everything after it.
    let expects_outcome = expect.outcome.is_some();
    match list("faults") {
        Some(faults) => in_order("fault", faults, &actual.faults, out),
        None if !expects_outcome => in_order("fault", &[], &actual.faults, out),
        None => {}
    }
    let frames = |key: &str| wanted.get(key).and_then(Value::as_object).into_iter().flatten();
    for (seq, want) in frames("kept") {
        let kept = seq.parse().ok().and_then(|seq: u64| actual.kept.get(&seq)).map(|kept| Value::from(kept.clone()));
        if kept.as_ref() != Some(want) {
            out.push(Difference::new(format!("frame {seq}, kept"), Some(want), kept.as_ref()));
        }
    }
    for (key, what, all) in [("added", "added", &actual.added), ("edits", "edit", &actual.edits)] {
        for (seq, want) in frames(key) {
            let actual = seq.parse().ok().and_then(|seq: u64| all.get(&seq)).map_or(&[][..], Vec::as_slice);
            let want = want.as_array().map_or(&[][..], Vec::as_slice);
            in_order(&format!("frame {seq}, {what}"), want, actual, out);
        }
    }
    for (key, held) in [("state", &actual.state), ("shared_state", &actual.shared_state)] {
        for (name, want) in frames(key) {
            let held = held.get(name);
            let same = match held {
                Some(held) => same_state(want, held),
                None => want.is_null(),
            };
            if !same {
                out.push(Difference::new(format!("{key}, {name}"), Some(want), held));
            }
        }
    }
    if let Some(OneOrMany(wants)) = &expect.outcome {
        outcomes(wants, actual, out);
    }
    if let Some(text) = &expect.refused {
        out.push(Difference::wrong(format!("refused: the plugin was expected not to load ({text}), and it did")));
    }
    Ok(())
}

/// Compares outcomes; a single one applies to every alert.
fn outcomes(wants: &[Outcome], actual: &Actual, out: &mut Vec<Difference>) {
    let shown = |outcome: &Outcome| serde_json::to_value(outcome).unwrap_or_default();
    // A handler that delivers without the network has delivered, too.
    let same =
        |want: Outcome, actual: Outcome| want == actual || (want, actual) == (Outcome::Delivered, Outcome::Skipped);
    if let [want] = wants {
        for (index, actual) in actual.outcome.iter().enumerate().filter(|(_, actual)| !same(*want, **actual)) {
            out.push(Difference::new(
                format!("alert {}, outcome", index + 1),
                Some(&shown(want)),
                Some(&shown(actual)),
            ));
        }
        // The reason of a failure says more than its outcome.
        if *want == Outcome::Delivered || *want == Outcome::Skipped {
            in_order("fault", &[], &actual.faults, out);
        }
        return;
    }
    for index in 0..wants.len().max(actual.outcome.len()) {
        let (want, actual) = (wants.get(index), actual.outcome.get(index));
        if !matches!((want, actual), (Some(want), Some(actual)) if same(*want, *actual)) {
            let (want, actual) = (want.map(shown), actual.map(shown));
            out.push(Difference::new(format!("alert {}, outcome", index + 1), want.as_ref(), actual.as_ref()));
        }
    }
}

/// Compares two lists in frame order; matches entries with a `seq` by it.
fn in_order(what: &str, wants: &[Value], actual: &[Value], out: &mut Vec<Difference>) {
    let (mut w, mut c) = (0, 0);
    let seq = |value: Option<&Value>| value.and_then(|v| v.get("seq")).and_then(Value::as_u64);
    let place = |value: &Value, index: usize| match seq(Some(value)) {
        Some(seq) => format!("frame {seq}, {what}"),
        None => format!("{what} {}", index + 1),
    };
    while w < wants.len() || c < actual.len() {
        let (want, got) = (wants.get(w), actual.get(c));
        let (missing, extra) = match (seq(want), seq(got)) {
            (Some(want), Some(got)) => (want < got, got < want),
            _ => (got.is_none(), want.is_none()),
        };
        match (want, got) {
            (Some(want), _) if missing => {
                out.push(Difference::new(format!("{}: did not come", place(want, w)), Some(want), None));
                w += 1;
            }
            (_, Some(got)) if extra => {
                out.push(Difference::new(format!("{}: was not expected", place(got, c)), None, Some(got)));
                c += 1;
            }
            (Some(want), Some(got)) => {
                fields(&place(got, c), want, got, out);
                (w, c) = (w + 1, c + 1);
            }
            // One of them exists, by the loop's condition, and an arm above handles it.
            _ => return,
        }
    }
}

/// Compares the fields that `want` lists.
fn fields(place: &str, want: &Value, actual: &Value, out: &mut Vec<Difference>) {
    for (key, want) in want.as_object().into_iter().flatten() {
        let got = actual.get(key);
        let same = match (&**key, got) {
            ("contains", _) => {
                let message = actual.get("message").and_then(Value::as_str).unwrap_or_default();
                message.contains(want.as_str().unwrap_or_default())
            }
            ("headers", Some(got)) => {
                want.as_object().into_iter().flatten().all(|(name, value)| got.get(name) == Some(value))
            }
            ("body", Some(Value::String(text))) if !want.is_string() => {
                serde_json::from_str(text).is_ok_and(|sent: Value| same(want, &sent))
            }
            (_, Some(got)) => same(want, got),
            (_, None) => false,
        };
        if !same {
            let got = if key == "contains" { actual.get("message") } else { got };
            out.push(Difference::new(format!("{place}: {key}"), Some(want), got));
        }
    }
}

/// Equality with a tolerance for numbers.
fn same(want: &Value, actual: &Value) -> bool {
    match (want, actual) {
        (Value::Number(a), Value::Number(b)) => {
            let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else { return a == b };
            (a - b).abs() <= NUMBER_ERROR * a.abs().max(1.0)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => want == actual,
    }
}

/// Equality of stored values. A component stores bytes: a number may be its text, or eight bytes.
fn same_state(want: &Value, held: &Value) -> bool {
    if same(want, held) {
        return true;
    }
    match (want, held) {
        (Value::Number(_), Value::String(text)) => {
            serde_json::from_str(text).is_ok_and(|held: Value| same(want, &held))
        }
        (Value::Number(want), held) => {
            let bytes: Option<Vec<u8>> = match held {
                Value::String(text) => Some(text.clone().into_bytes()),
                Value::Array(items) => items.iter().map(|b| b.as_u64().and_then(|b| u8::try_from(b).ok())).collect(),
                _ => None,
            };
            let number = bytes.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
            number.is_some() && number == want.as_u64()
        }
        _ => false,
    }
}

/// Compares two complete recordings line by line.
fn lines(wants: &[Value], actual: &[Value], out: &mut Vec<Difference>) {
    let by_seq = |lines: &[Value]| -> BTreeMap<u64, Value> {
        lines.iter().map(|line| (line.get("seq").and_then(Value::as_u64).unwrap_or(u64::MAX), line.clone())).collect()
    };
    let (wants, actual) = (by_seq(wants), by_seq(actual));
    let seqs: std::collections::BTreeSet<u64> = wants.keys().chain(actual.keys()).copied().collect();
    let nothing = Value::Object(serde_json::Map::new());
    for seq in seqs {
        let place = if seq == u64::MAX { "at the end".to_owned() } else { format!("frame {seq}") };
        let (want, got) = (wants.get(&seq).unwrap_or(&nothing), actual.get(&seq).unwrap_or(&nothing));
        let keys = |value: &Value| value.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let all: std::collections::BTreeSet<String> = keys(want).into_iter().chain(keys(got)).collect();
        for key in all.iter().filter(|key| *key != "seq") {
            let (want, got) = (want.get(key), got.get(key));
            let equal = matches!((want, got), (Some(want), Some(got)) if same(want, got));
            if !equal {
                out.push(Difference::new(format!("{place}, {key}"), want, got));
            }
        }
    }
}
