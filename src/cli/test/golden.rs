//! Expectations written from results: a file of results, or the `expect:` of the case itself.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dsengine::error::{Code, Error};
use serde_json::{Map, Value};

use super::actual::Actual;
use super::case::Case;
use super::script::{Expect, FileOr, RequestWant};
use crate::cli::files;

/// The results as one value per frame that has any, then one for the final state.
pub(super) fn lines(actual: &Actual) -> Vec<Value> {
    let listed = |values: &[Value]| values.iter().filter_map(|v| v.get("seq")?.as_u64()).collect::<BTreeSet<u64>>();
    let mut seqs = listed(&actual.alerts);
    seqs.extend(listed(&actual.faults));
    seqs.extend(&actual.cut);
    for all in [&actual.added, &actual.edits] {
        seqs.extend(all.iter().filter(|(_, values)| !values.is_empty()).map(|(seq, _)| *seq));
    }
    let mut lines: Vec<Value> = seqs.into_iter().map(|seq| frame(actual, seq)).collect();
    let mut end = Map::new();
    for (key, held) in [("state", &actual.state), ("shared_state", &actual.shared_state)] {
        if !held.is_empty() {
            end.insert(key.to_owned(), held.iter().map(|(k, v)| (k.clone(), v.clone())).collect());
        }
    }
    if !actual.requests.is_empty() {
        end.insert("requests".to_owned(), actual.requests.clone().into());
    }
    if !actual.outcome.is_empty() {
        end.insert("outcome".to_owned(), serde_json::to_value(&actual.outcome).unwrap_or_default());
    }
    if !end.is_empty() {
        lines.push(end.into());
    }
    lines
}

fn frame(actual: &Actual, seq: u64) -> Value {
    let mut line = Map::from_iter([("seq".to_owned(), Value::from(seq))]);
    let of_frame = |values: &[Value]| -> Vec<Value> {
        let here = values.iter().filter(|v| v.get("seq").and_then(Value::as_u64) == Some(seq)).cloned();
        here.map(|mut value| {
            value.as_object_mut().map(|fields| fields.remove("seq"));
            value
        })
        .collect()
    };
    let mut put = |key: &str, values: Vec<Value>| {
        if !values.is_empty() {
            line.insert(key.to_owned(), values.into());
        }
    };
    put("alerts", of_frame(&actual.alerts));
    put("faults", of_frame(&actual.faults));
    put("added", actual.added.get(&seq).cloned().unwrap_or_default());
    put("edits", actual.edits.get(&seq).cloned().unwrap_or_default());
    if actual.cut.contains(&seq) {
        let kept = actual.kept.get(&seq).cloned().unwrap_or_default();
        line.insert("kept".to_owned(), kept.into());
    }
    line.into()
}

/// Parses the output of [`write`].
pub(super) fn parse(text: &str, path: &Path) -> Result<Vec<Value>, Error> {
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    numbered
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|e| {
                Error::new(Code::Config, format!("{}:{}: is no JSON: {e}", path.display(), number + 1))
                    .hint("--update writes the file anew")
            })
        })
        .collect()
}

/// Why the results are no expectations: the run was broken, or the plugin failed where the case expects no failure. What
/// came after a failure would be taken for what should come.
pub(super) fn unfit(case: &Case, actual: &Actual, handler: bool) -> Vec<String> {
    let mut reasons = actual.broken.clone();
    let expects_faults = match &case.script.expect {
        // A handler's outcome says it.
        None => handler,
        Some(FileOr::Inline(Expect { faults, outcome, .. })) => {
            outcome.is_some() || faults.as_ref().is_some_and(|faults| !faults.is_empty())
        }
        Some(FileOr::File(name)) => {
            handler || dsengine::text::read(&case.beside(name)).is_ok_and(|text| text.contains("\"faults\":"))
        }
    };
    if expects_faults {
        return reasons;
    }
    reasons.extend(actual.faults.iter().map(|fault| {
        let text = |key: &str| fault[key].as_str().unwrap_or_default();
        format!("frame {}: the plugin failed ({}): {}", fault["seq"], text("kind"), text("message"))
    }));
    reasons
}

/// Writes the results to where the case has its expectations. Returns the file, if it changed.
pub(super) fn write(case: &Case, actual: &Actual, handler: bool) -> Result<Option<PathBuf>, Error> {
    let (path, old, new) = match &case.script.expect {
        Some(FileOr::File(name)) => {
            let path = case.beside(name);
            let new = lines(actual).iter().fold(String::new(), |text, line| format!("{text}{line}\n"));
            (path.clone(), dsengine::text::read(&path).unwrap_or_default(), new)
        }
        Some(FileOr::Inline(expect)) => (case.path.clone(), case.text.clone(), replaced(case, &block(expect, actual))),
        None => {
            let mut expect = Expect::default();
            if handler {
                (expect.requests, expect.outcome) = (Some(Vec::new()), Some(Default::default()));
            } else {
                expect.alerts = Some(Vec::new());
            }
            (case.path.clone(), case.text.clone(), replaced(case, &block(&expect, actual)))
        }
    };
    if old == new && path.exists() {
        return Ok(None);
    }
    std::fs::write(&path, new).map_err(|error| files::io(&path, &error))?;
    Ok(Some(path))
}

/// The case's text with another `expect:`; everything else is unchanged.
fn replaced(case: &Case, block: &str) -> String {
    let mut out = String::with_capacity(case.text.len() + block.len());
    let (mut inside, mut done) = (false, false);
    for line in case.text.split_inclusive('\n') {
        let opens = line.starts_with("expect:");
        // The block ends with the next top-level key; a comment there belongs to what follows.
        let outside = line.starts_with(|c: char| !c.is_whitespace() && c != '-' && c != '}' && c != ']');
        if opens && !done {
            (inside, done) = (true, true);
            out.push_str(block);
        } else if inside && !outside {
            continue;
        } else {
            inside = false;
            out.push_str(line);
        }
    }
    if !done {
        if !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(block);
    }
    out
}

/// `expect:` with the results, limited to the parts that it had.
fn block(expect: &Expect, actual: &Actual) -> String {
    let mut out = String::from("expect:\n");
    let Expect { alerts, resolved, kept, added, edits, faults, state, shared_state, requests, outcome, refused: _ } =
        expect;
    if alerts.is_some() {
        list(&mut out, "alerts", &actual.alerts, &["seq", "rule", "level", "key", "message", "detections", "tags"]);
    }
    if resolved.is_some() {
        list(&mut out, "resolved", &actual.resolved, &["seq", "rule", "key"]);
    }
    if let Some(kept) = kept {
        out.push_str("  kept:\n");
        for seq in kept.keys() {
            let kept = actual.kept.get(seq).cloned().unwrap_or_default();
            let _ = writeln!(out, "    {seq}: {}", Value::from(kept));
        }
    }
    let each = [
        ("added", added.as_ref().map(|a| a.keys().copied().collect()), &actual.added),
        ("edits", edits.as_ref().map(|e| e.keys().copied().collect()), &actual.edits),
    ];
    for (key, seqs, all) in each {
        let seqs: Option<Vec<u64>> = seqs;
        let Some(seqs) = seqs else { continue };
        let _ = writeln!(out, "  {key}:");
        for seq in seqs {
            let values = all.get(&seq).map_or(&[][..], Vec::as_slice);
            let values: Vec<String> =
                values.iter().map(|v| flow(v, &["index", "label", "confidence", "bbox"])).collect();
            let _ = writeln!(out, "    {seq}: [{}]", values.join(", "));
        }
    }
    if faults.is_some() {
        let compared: Vec<Value> = actual
            .faults
            .iter()
            .cloned()
            .map(|mut fault| {
                if let Some(fields) = fault.as_object_mut() {
                    let message = fields.remove("message").unwrap_or_default();
                    fields.insert("contains".to_owned(), message);
                }
                fault
            })
            .collect();
        list(&mut out, "faults", &compared, &["seq", "kind", "contains"]);
    }
    for (key, listed, held) in [("state", state, &actual.state), ("shared_state", shared_state, &actual.shared_state)] {
        let Some(listed) = listed else { continue };
        let _ = writeln!(out, "  {key}:");
        for name in listed.keys() {
            let _ = writeln!(out, "    {}: {}", Value::from(name.as_str()), held.get(name).unwrap_or(&Value::Null));
        }
    }
    if let Some(wants) = requests {
        list(&mut out, "requests", &compared_headers(&actual.requests, wants), &["method", "url", "headers", "body"]);
    }
    if outcome.is_some() {
        let words: Vec<Value> = actual.outcome.iter().filter_map(|o| serde_json::to_value(o).ok()).collect();
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        let _ = match words.as_slice() {
            [one] => writeln!(out, "  outcome: {one}"),
            many => writeln!(out, "  outcome: [{}]", many.join(", ")),
        };
    }
    out
}

/// The requests, each with only the headers that are compared: most are not specific to the plugin.
fn compared_headers(requests: &[Value], wants: &[RequestWant]) -> Vec<Value> {
    let mut requests = requests.to_vec();
    for (index, request) in requests.iter_mut().enumerate() {
        let Some(fields) = request.as_object_mut() else { continue };
        let wanted = wants.get(index).and_then(|want| want.headers.as_ref());
        match (wanted, fields.get_mut("headers").and_then(Value::as_object_mut)) {
            (Some(wanted), Some(headers)) => headers.retain(|name, _| wanted.contains_key(name)),
            _ => drop(fields.remove("headers")),
        }
    }
    requests
}

fn list(out: &mut String, key: &str, values: &[Value], order: &[&str]) {
    if values.is_empty() {
        let _ = writeln!(out, "  {key}: []");
        return;
    }
    let _ = writeln!(out, "  {key}:");
    for value in values {
        let _ = writeln!(out, "    - {}", flow(value, order));
    }
}

/// A value on one line, its fields in reading order. JSON strings and numbers are valid YAML.
fn flow(value: &Value, order: &[&str]) -> String {
    let fields = order.iter().filter_map(|key| Some(format!("{key}: {}", plain(value.get(key)?))));
    format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn case(text: &str) -> Case {
        Case { path: "x.yaml".into(), text: text.into(), script: serde_yaml::from_str(text).unwrap() }
    }

    #[test]
    fn an_update_rewrites_the_expectation_and_nothing_else() {
        let text =
            "# why\nframes: []\nexpect: # now\n  alerts:\n    - { seq: 1 }\n  state: { n: 1 }\n\n# after\nname: x\n";
        let case = case(text);
        let actual = Actual {
            alerts: vec![
                json!({ "seq": 2, "rule": "r", "level": "high", "key": "k: \"", "message": "m", "detections": [0, 1] }),
            ],
            state: [("n".to_owned(), json!(7))].into(),
            ..Actual::default()
        };
        let Some(FileOr::Inline(expect)) = &case.script.expect else { panic!("inline") };
        let new = replaced(&case, &block(expect, &actual));
        let wanted = "# why\nframes: []\nexpect:\n  alerts:\n    - { seq: 2, rule: \"r\", level: \"high\", key: \"k: \\\"\", \
                      message: \"m\", detections: [0, 1] }\n  state:\n    \"n\": 7\n# after\nname: x\n";
        assert_eq!(new, wanted);
        let again: super::super::script::Script = serde_yaml::from_str(&new).unwrap();
        assert!(again.expect.is_some());
    }

    #[test]
    fn an_update_keeps_the_headers_that_were_compared() {
        let case = case("expect:\n  requests: [{ url: a, headers: { x-token: old } }, { url: b }]\n");
        let sent =
            |url: &str| json!({ "method": "POST", "url": url, "headers": { "x-token": "t", "host": "h" }, "body": "" });
        let actual = Actual { requests: vec![sent("a"), sent("b")], ..Actual::default() };
        let Some(FileOr::Inline(expect)) = &case.script.expect else { panic!("inline") };
        let wanted = "expect:\n  requests:\n    \
                      - { method: \"POST\", url: \"a\", headers: {\"x-token\":\"t\"}, body: \"\" }\n    \
                      - { method: \"POST\", url: \"b\", body: \"\" }\n";
        assert_eq!(block(expect, &actual), wanted);
    }

    #[test]
    fn a_failure_is_an_expectation_only_where_one_is_expected() {
        let unfit = |expect: &str| {
            let fault = json!({ "seq": 3, "kind": "script", "message": "x.lua:3: boom" });
            let actual = Actual { faults: vec![fault], ..Actual::default() };
            unfit(&case(&format!("frames: []\n{expect}")), &actual, false)
        };
        for expect in ["", "expect: { alerts: [] }\n", "expect: { faults: [] }\n", "expect: none.jsonl\n"] {
            assert_eq!(unfit(expect), ["frame 3: the plugin failed (script): x.lua:3: boom"], "{expect}");
        }
        assert_eq!(unfit("expect: { faults: [{ seq: 9 }] }\n"), [""; 0]);
        let broken = Actual { broken: vec!["an answer that nobody asked for".to_owned()], ..Actual::default() };
        assert_eq!(super::unfit(&case("frames: []"), &broken, true), broken.broken);
    }

    #[test]
    fn a_case_without_expectation_gets_one_at_its_end() {
        let case = case("frames: []");
        let block = block(&Expect { alerts: Some(vec![]), ..Expect::default() }, &Actual::default());
        assert_eq!(replaced(&case, &block), "frames: []\nexpect:\n  alerts: []\n");
    }
}
