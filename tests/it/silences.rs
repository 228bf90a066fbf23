//! Silences hold alerts back while the engine runs: by the command line and by the API, over a restart, until they end.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{request, root, write};
use crate::site::Site;

const LIMIT: Duration = Duration::from_secs(60);

/// An alert of another key every few frames.
const CONFIG: &str = "
sources: [{ id: gate, uri: 'scene:street?live=true&pixels=false' }]
detection: { strategies: [{ name: rule, module: rule.lua }] }
alerts: { handlers: [], burst_threshold: 0, max_alerts_per_minute: 0 }
monitoring: { prometheus: { port: 0 } }
";
const RULE: &str =
    "function detect(frame)\n  frame:alert{ rule = 'r', key = tostring(frame.seq // 5), message = 'm' }\nend\n";

fn site() -> Site {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "config.yaml", CONFIG);
    write(dir.path(), "rule.lua", RULE);
    Site::of(dir)
}

impl Site {
    /// Waits until the counts of alerts are so; returns how many are accepted then.
    #[track_caller]
    fn until_alerts(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) -> u64 {
        let seen = Cell::new(0);
        self.until(what, |site| {
            let alerts = site.json("/api/v1/status")["alerts"].clone();
            seen.set(alerts["accepted"].as_u64().unwrap());
            is_so(&alerts)
        });
        seen.get()
    }

    /// Waits until so many alerts are held back and nothing is under way; returns how many are accepted then.
    #[track_caller]
    fn until_suppressed(&mut self, count: u64) -> u64 {
        self.until_alerts("held back", |alerts| alerts["suppressed"].as_u64() >= Some(count) && alerts["pending"] == 0)
    }
}

/// The command that README gives, as arguments.
fn of_readme() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let line = readme.lines().find_map(|line| line.strip_prefix("$ dsengine silence add ")).expect("README has it");
    // Words, some in single quotation marks.
    let mut args = vec!["silence".to_owned(), "add".to_owned()];
    for (at, part) in line.split('\'').enumerate() {
        match at % 2 {
            0 => args.extend(part.split_whitespace().map(str::to_owned)),
            _ => args.push(part.to_owned()),
        }
    }
    args
}

#[test]
fn a_silence_holds_back_what_it_matches_over_a_restart_until_it_is_ended() {
    let mut site = site();
    site.until_alerts("an alert", |alerts| alerts["accepted"].as_u64() > Some(1));
    // Of another source.
    site.ask(&["silence", "add", "--for", "1h", "source=\"yard\""]).expect(0);
    let command = of_readme();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let suppressed = site.json("/api/v1/status")["alerts"]["suppressed"].as_u64().unwrap();
    let said = site.ask(&command).expect(0).stdout;
    let (id, rest) = said.trim_end().split_once("  ").unwrap();
    assert!(rest.starts_with("active until 2") && rest.contains("  source=\"gate\"  [by loopback; "), "{said}");
    assert!(rest.ends_with(" held back]: the gate is painted"), "{said}");

    // Each key has alerts that its own condition holds back; from now on there is nothing else.
    let silences = site.json("/api/v1/silences");
    assert_eq!(silences.as_array().map(Vec::len), Some(2), "{silences}");
    assert_eq!((&silences[0]["id"], &silences[0]["state"]), (&json!(id), &json!("active")));
    let held = |site: &Site| site.json("/api/v1/silences")[0]["suppressed"].as_u64().unwrap();
    let from = Instant::now();
    while held(&site) == 0 {
        assert!(from.elapsed() < LIMIT, "the silence holds nothing back");
    }
    let accepted = site.until_suppressed(suppressed + 1);
    let now = site.json("/api/v1/status")["alerts"]["suppressed"].as_u64().unwrap();
    assert_eq!(site.until_suppressed(now + 40), accepted);
    let status = site.json("/api/v1/status");
    assert_eq!(status["silences"]["active"], 2);
    assert_eq!(status["problems"], json!([]), "{status}");
    let listed = site.ask(&["silence", "list"]).expect(0).stdout;
    assert!(listed.lines().count() == 2 && listed.starts_with(id), "{listed}");
    let audit = site.json("/api/v1/audit");
    let line = audit.as_array().unwrap().iter().find(|line| line["what"] == "silence source=\"gate\"");
    assert!(line.is_some_and(|line| line["taken"] == true && line["who"] == "loopback"), "{audit}");

    let mut site = site.restart();
    assert_eq!(site.until_suppressed(20), 0, "it lasts over the restart");
    let ended = site.ask(&["silence", "end", id]).expect(0).stdout;
    assert!(ended.starts_with(&format!("{id}  ended 2")), "{ended}");
    site.until_alerts("told again", |alerts| alerts["accepted"].as_u64() > Some(1));
    assert_eq!(site.json("/api/v1/silences").as_array().map(Vec::len), Some(1));
    assert_eq!(site.json("/api/v1/silences?all=true").as_array().map(Vec::len), Some(2));
    let mut site = site.restart();
    site.until_alerts("told after the next restart", |alerts| alerts["accepted"].as_u64() > Some(1));
    let all = site.ask(&["silence", "list", "--all", "--json"]).expect(0).json();
    let mine = all.as_array().unwrap().iter().find(|silence| silence["id"] == id).cloned().unwrap_or_default();
    assert_eq!((&mine["state"], &mine["comment"]), (&json!("ended"), &json!("the gate is painted")));
}

#[test]
fn a_silence_of_what_the_engine_does_not_have_is_created_with_a_warning() {
    let mut site = site();
    site.until_alerts("an alert", |alerts| alerts["accepted"].as_u64() > Some(0));
    let add = |matcher: &str| site.ask(&["silence", "add", "--for", "1h", matcher]).expect(0);
    for (matcher, warning) in [
        ("source=\"gaet\"", "warning: there is no source `gaet` now; did you mean `gate`?\n"),
        ("rule=rul", "warning: no strategy is named `rul`, and no alert of it is in memory; did you mean `rule`?\n"),
        ("source=gate", ""),
        // The strategy, what its alerts say, the engine's own, and what fits anything.
        ("rule=rule", ""),
        ("rule=r", ""),
        ("rule=system.cpu", ""),
        ("source=~g.*", ""),
    ] {
        let out = add(matcher);
        assert_eq!(out.stderr, warning, "{matcher}");
        assert!(out.stdout.contains("active until"), "it may be for later: {}", out.stdout);
    }
    let (status, created) = site.post("/api/v1/silences", &json!({ "matchers": ["source=gaet"], "duration": "1h" }));
    assert_eq!(status, 201, "{created}");
    assert_eq!(created["warnings"], json!(["there is no source `gaet` now; did you mean `gate`?"]));
    assert_eq!(created["state"], "active", "{created}");
}

#[test]
fn a_wrong_silence_is_refused_by_the_name_of_its_matcher() {
    let site = site();
    let wrong = site.ask(&["silence", "add", "--for", "2h", "soruce=\"gate\""]).expect(1).stderr;
    assert!(wrong.contains("the matcher `soruce=\"gate\"` names no field: `soruce`"), "{wrong}");
    assert!(wrong.contains("hint: the fields are source, rule, level, key, label, zone"), "{wrong}");
    assert!(site.ask(&["silence", "add", "source=\"gate\""]).expect(2).stderr.contains("--for"));
    let none = site.ask(&["silence", "end", "nope"]).expect(1).stderr;
    assert!(none.contains("there is no silence nope"), "{none}");
    for (body, status) in [
        (json!({ "matchers": ["source=gate"], "duration": "2h", "until": 3 }), 422),
        (json!({ "matchers": ["source=~\"(\""], "duration": "2h" }), 422),
        (json!({ "matchers": ["source=gate"] }), 422),
        (json!({ "matchers": [], "duration": "2h" }), 422),
        (json!({ "matchers": ["source=gate"], "ends_at": "2020-01-01T00:00:00Z" }), 422),
        (json!({ "matchers": ["source=gate"], "duration": "2h", "starts_at": "2020-01-01T00:00:00+02:00" }), 422),
        (json!({ "matchers": ["source!=gate", "level=~\"low|medium\""], "duration": "1day" }), 201),
    ] {
        let (got, answer) = site.post("/api/v1/silences", &body);
        assert_eq!(got, status, "{body}: {answer}");
    }
    assert_eq!(site.json("/api/v1/silences").as_array().map(Vec::len), Some(1), "what is refused changes nothing");
    assert_eq!(request("DELETE", &site.page, "/api/v1/silences/nope", "").0, 404);
    let audit = site.json("/api/v1/audit");
    let refused = audit.as_array().unwrap().iter().filter(|line| line["taken"] == false).count();
    assert!(refused >= 6, "{audit}");
}
