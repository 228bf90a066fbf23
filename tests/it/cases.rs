//! The lifecycle of an alert: acknowledged, resolved, reopened, judged, by people and by rules, over kills and
//! restarts, through the command line, the API and the event stream.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dsengine::alert::{By, Case, CaseStep, Entry, Journal as _, Saved, SavedKind};
use dsengine::engine::SystemClock;
use dsengine::sqlite::{History, HistoryQuery, Keep, SqliteJournal};
use dsengine::types::Alert;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::admin::{answer, request as send};
use crate::harness::{Dsengine, Outcome, Running, get, request, write};

const LIMIT: Duration = Duration::from_secs(30);
/// One alert of each source: its condition lasts.
const SEEN: &str = "function detect(frame)\n  frame:alert{ rule = 'seen', key = 'door', message = 'somebody', tags = { 'door' } }\nend\n";

fn live(sources: &[&str], rest: &str) -> String {
    let sources: Vec<String> =
        sources.iter().map(|id| format!("{{ id: {id}, uri: 'scene:street?live=true&pixels=false' }}")).collect();
    format!(
        "sources: [{}]\ndetection: {{ strategies: [{{ name: seen, module: seen.lua }}] }}\n\
         alerts: {{ handlers: [], throttle_seconds: 3600, burst_threshold: 100 }}\n{rest}",
        sources.join(", ")
    )
}

/// A folder with `config.yaml`, its rule and its state.
struct Folder(TempDir);

impl Folder {
    fn new(config: &str, rule: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "config.yaml", config);
        write(dir.path(), "seen.lua", rule);
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn start(&self) -> (Running, String) {
        let args = ["run", "--config", "config.yaml", "--port", "0", "--state", "state"];
        let mut run = Dsengine::new(args).cwd(self.path()).start();
        let page = run.page();
        (run, page)
    }

    /// `dsengine alerts ARGS`; `page` is where the engine is, if one runs.
    fn alerts(&self, args: &[&str], page: Option<&str>) -> Outcome {
        let own = ["--config", "config.yaml", "--state", "state"];
        let at = page.map(|page| ["--at", page]);
        let at: &[&str] = at.as_ref().map_or(&[], |at| at.as_slice());
        Dsengine::new([&["alerts"], args, own.as_slice(), at].concat()).cwd(self.path()).run()
    }

    /// What `alerts list ARGS --json` prints.
    #[track_caller]
    fn list(&self, args: &[&str]) -> Vec<Value> {
        let out = self.alerts(&[&["list", "--json"], args].concat(), None).expect(0);
        out.json().as_array().unwrap().clone()
    }
}

fn alerts(page: &str, query: &str) -> Vec<Value> {
    let (status, body) = get(page, &format!("/api/v1/alerts{query}"));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap().as_array().unwrap().clone()
}

/// Asks until there is an answer.
#[track_caller]
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let from = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(from.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn kill(mut run: Running) {
    run.signal("KILL");
    assert!(run.end(LIMIT).is_some(), "it is gone");
}

#[test]
fn what_people_did_about_an_alert_outlasts_a_kill_and_can_be_gone_on_with_offline() {
    let folder = Folder::new(&live(&["gate", "yard"], ""), SEEN);
    let (run, page) = folder.start();
    let listed = until("two alerts", || Some(alerts(&page, "")).filter(|alerts| alerts.len() == 2));
    let of = |source: &str| listed.iter().find(|alert| alert["source"] == source).unwrap();
    let id = of("gate")["id"].as_str().unwrap().to_owned();
    assert_eq!((&of("gate")["case"]["state"], &of("gate")["tags"]), (&json!("open"), &json!(["door"])));

    // By the beginning of its id.
    let said = folder.alerts(&["ack", &id[..30], "--note", "on my way"], Some(&page)).expect(0).stdout;
    assert_eq!(said, format!("{id} is acknowledged\n"));
    let state = |id: &str| folder.alerts(&["show", id, "--json"], None).expect(0).json()["case"]["state"].clone();
    assert_eq!(state(&id), "acknowledged", "what was answered is on the disk");
    assert_eq!(folder.list(&["--acknowledged"]).len(), 1);
    assert_eq!(alerts(&page, "?state=acknowledged")[0]["id"], json!(id));
    kill(run);

    let (run, page) = folder.start();
    let (status, body) = get(&page, &format!("/api/v1/alerts/{id}"));
    let case = serde_json::from_str::<Value>(&body).unwrap()["case"].clone();
    assert_eq!((status, &case["state"]), (200, &json!("acknowledged")), "{body}");
    let by = &case["changes"][0]["by"];
    assert_eq!((&by["who"], &by["note"]), (&json!("loopback"), &json!("on my way")), "{case}");
    kill(run);

    // No engine runs.
    assert_eq!(folder.alerts(&["resolve", &id], None).expect(0).stdout, format!("{id} is resolved\n"));
    let refused = folder.alerts(&["ack", &id], None).expect(1).stderr;
    assert!(refused.contains("reopen it first") && refused.contains(&format!("alerts reopen {id}")), "{refused}");
    let said = folder.alerts(&["verdict", &id, "false", "--note", "a cat"], None).expect(0).stdout;
    assert_eq!(said, format!("{id} is resolved, said to be false\n"));
    assert_eq!(folder.list(&["--resolved"])[0]["alert"]["id"], json!(id));
    assert!(folder.list(&["--open"]).iter().all(|kept| kept["alert"]["id"] != json!(id)));
    let shown = folder.alerts(&["show", &id], None).expect(0).stdout;
    for part in ["state       resolved", "verdict     false", "resolve by command line", "false by command line: a cat"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    let (run, page) = folder.start();
    let (_, body) = get(&page, &format!("/api/v1/alerts/{id}"));
    let case = serde_json::from_str::<Value>(&body).unwrap()["case"].clone();
    let steps: Vec<&Value> = case["changes"].as_array().unwrap().iter().map(|change| &change["step"]).collect();
    assert_eq!(steps, ["acknowledge", "resolve", "false"], "{case}");
    assert_eq!(case["verdict"]["correct"], false);
    kill(run);
}

#[test]
fn the_person_who_does_it_is_kept_before_what_it_came_by() {
    let folder = Folder::new(&live(&["gate"], ""), SEEN);
    let (run, page) = folder.start();
    let listed = until("an alert", || Some(alerts(&page, "")).filter(|alerts| alerts.len() == 1));
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    // The engine is found by its configuration.
    folder.alerts(&["ack", &id, "--by", "Ana"], None).expect(0);
    let (status, body) = request("POST", &page, &format!("/api/v1/alerts/{id}/resolve"), r#"{ "by": "Ben" }"#);
    assert_eq!(status, 200, "{body}");
    let wrong = request("POST", &page, &format!("/api/v1/alerts/{id}/reopen"), r#"{ "by": 3 }"#);
    assert_eq!(wrong.0, 422, "{}", wrong.1);
    kill(run);
    folder.alerts(&["reopen", &id, "--by", "Cem"], None).expect(0);
    folder.alerts(&["verdict", &id, "true"], None).expect(0);
    let kept = folder.alerts(&["show", &id, "--json"], None).expect(0).json();
    let who: Vec<&Value> =
        kept["case"]["changes"].as_array().unwrap().iter().map(|change| &change["by"]["who"]).collect();
    assert_eq!(who, ["Ana (loopback)", "Ben (loopback)", "Cem (command line)", "command line"], "{kept}");
}

#[test]
fn a_rule_that_says_that_its_condition_has_ended_resolves_its_alert_and_alerts_anew() {
    let rule = "function detect(frame)\n  if frame.seq == 30 then frame:resolve{ rule = 'seen', key = 1 } end\n  \
                frame:alert{ rule = 'seen', key = 1, message = 'm' }\n  frame:alert{ rule = 'other', key = 1, message = \
                'm' }\n  if frame.seq == 50 then frame:resolve{ rule = 'seen' } end\nend\n";
    let config = "sources: [{ id: gate, uri: 'trace:steps.jsonl' }]\n\
                  detection: { strategies: [{ name: seen, module: seen.lua }] }\n\
                  alerts: { throttle_seconds: 3600, burst_threshold: 100, handlers: [{ name: file, config: { log_file: out.jsonl } }] }\n";
    let folder = Folder::new(config, rule);
    let mut trace =
        json!({ "format": 1, "dsengine": "0", "config_hash": "0", "start_unix_ns": 1_700_000_000_000_000_000_u64 })
            .to_string();
    for seq in 0..100_u64 {
        let frame = json!({ "source": "gate", "seq": seq, "pts_ns": seq * 100_000_000, "width": 64, "height": 64,
            "detections": [] });
        trace.push_str(&format!("\n{frame}"));
    }
    write(folder.path(), "steps.jsonl", &trace);
    let run = ["run", "--config", "config.yaml", "--port", "0", "--state", "state"];
    Dsengine::new(run).cwd(folder.path()).run().expect(0);
    let told = std::fs::read_to_string(folder.path().join("out.jsonl")).unwrap();
    let told = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let seqs: Vec<u64> =
        told.filter(|alert| alert["rule"] == "seen").map(|alert| alert["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [0, 30, 51], "the order within a frame is that of the calls");
    let kept = folder.list(&[]);
    let cases: Vec<(&Value, u64, &Value, u64)> = kept
        .iter()
        .rev()
        .map(|kept| {
            let case = &kept["case"];
            let (seq, count) = (kept["alert"]["seq"].as_u64().unwrap(), case["count"].as_u64().unwrap());
            (&kept["alert"]["rule"], seq, &case["state"], count)
        })
        .collect();
    let (seen, other, open, resolved) = (json!("seen"), json!("other"), json!("open"), json!("resolved"));
    let wanted =
        [(&seen, 0, &resolved, 29), (&other, 0, &open, 99), (&seen, 30, &resolved, 20), (&seen, 51, &open, 48)];
    assert_eq!(cases, wanted);
    let of = |seq: u64| kept.iter().find(|kept| kept["alert"]["seq"] == seq).unwrap();
    let change = &of(30)["case"]["changes"][0];
    assert_eq!(change["by"]["who"], "rule seen", "{change}");
    assert_eq!((&change["step"], &change["by"]["at"]), (&json!("resolve"), &json!("2023-11-14T22:13:25.000Z")));
    let last = &of(51)["case"]["last"];
    assert_eq!(last, "2023-11-14T22:13:29.900Z", "the last frame");
}

/// Two sources and the tokens of three people, of whom the guard sees one source.
fn guarded() -> Folder {
    let tokens = ["guard", "chief", "viewer"].map(|name| {
        let (scopes, sources) = match name {
            "guard" => ("[read, control]", "[gate]"),
            "viewer" => ("[read]", "[]"),
            _ => ("[read, control]", "[]"),
        };
        format!("{{ name: {name}, token: '${{file:{name}.txt}}', scopes: {scopes}, sources: {sources} }}")
    });
    let rest = format!("monitoring: {{ listen: 0.0.0.0, tokens: [{}] }}\n", tokens.join(", "));
    let folder = Folder::new(&live(&["gate", "yard"], &rest), SEEN);
    for name in ["guard", "chief", "viewer"] {
        write(folder.path(), &format!("{name}.txt"), &format!("{name}-token-of-some-length"));
    }
    folder
}

#[test]
fn a_token_that_is_limited_to_a_source_sees_and_changes_its_alerts_only() {
    let folder = guarded();
    let (run, page) = folder.start();
    let ask = |who: &str, method: &str, path: &str, body: &str| {
        let bearer = format!("Bearer {who}-token-of-some-length");
        let headers = [("Host", "localhost"), ("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let answer = answer(send(TcpStream::connect(&page).unwrap(), method, path, &headers, body));
        (answer.status, answer.json())
    };
    let listed = until("two alerts", || {
        let (_, listed) = ask("chief", "GET", "/api/v1/alerts", "");
        Some(listed.as_array().unwrap().clone()).filter(|listed| listed.len() == 2)
    });
    let id = |source: &str| {
        let of = listed.iter().find(|alert| alert["source"] == source).unwrap();
        of["id"].as_str().unwrap().to_owned()
    };
    let (gate, yard) = (id("gate"), id("yard"));
    let (_, seen) = ask("guard", "GET", "/api/v1/alerts", "");
    assert_eq!(seen.as_array().unwrap().iter().map(|alert| &alert["id"]).collect::<Vec<_>>(), [&json!(gate)]);
    let step =
        |who: &str, id: &str, step: &str, body: &str| ask(who, "POST", &format!("/api/v1/alerts/{id}/{step}"), body);
    // Another source's alert is not there for it, in the same words as one that does not exist.
    assert_eq!(ask("guard", "GET", &format!("/api/v1/alerts/{yard}"), "").0, 404);
    let (status, refused) = step("guard", &yard, "acknowledge", "{}");
    let (_, missing) = step("guard", &"0".repeat(32), "acknowledge", "{}");
    assert_eq!(
        (status, refused["message"].as_str().unwrap().replace(&yard, "ID")),
        (404, missing["message"].as_str().unwrap().replace(&"0".repeat(32), "ID"))
    );
    // A page before an alert of another source is refused as one before none is.
    let before = |who: &str, id: &str| {
        let (status, body) = ask(who, "GET", &format!("/api/v1/alerts?before={id}"), "");
        (status, body.to_string().replace(id, "ID"))
    };
    assert_eq!(before("guard", &yard), before("guard", &"0".repeat(32)));
    assert_eq!((before("guard", &yard).0, before("guard", &gate).0, before("chief", &yard).0), (404, 200, 200));
    assert_eq!(step("viewer", &gate, "acknowledge", "{}").0, 403);
    let (status, changed) = step("guard", &gate, "acknowledge", r#"{ "note": "going" }"#);
    assert_eq!((status, &changed["case"]["changes"][0]["by"]["who"]), (200, &json!("guard")), "{changed}");
    // Twice is once, and the first one counts. The condition may have been raised again meanwhile.
    let (_, again) = step("chief", &gate, "acknowledge", "{}");
    for field in ["changes", "state"] {
        assert_eq!(again["case"][field], changed["case"][field]);
    }
    assert_eq!(step("chief", &gate, "resolve", "{}").1["case"]["state"], "resolved");
    assert_eq!(step("chief", &gate, "acknowledge", "{}").0, 409);
    // As `curl -X POST` sends it: no body, and so no kind of one.
    let bare = |step: &str| {
        let (path, bearer) = (format!("/api/v1/alerts/{gate}/{step}"), "Bearer chief-token-of-some-length");
        let headers = [("Host", "localhost"), ("Authorization", bearer)];
        answer(send(TcpStream::connect(&page).unwrap(), "POST", &path, &headers, ""))
    };
    assert_eq!(bare("reopen").json()["case"]["state"], "open");
    assert_eq!([bare("retry").status, bare("verdict").status], [422, 415]);
    assert_eq!(step("chief", &gate, "verdict", r#"{ "correct": true }"#).1["case"]["verdict"]["correct"], true);
    for body in ["{}", r#"{ "correct": 1 }"#, r#"{ "correct": true, "why": "x" }"#] {
        assert_eq!(step("chief", &gate, "verdict", body).0, 422, "{body}");
    }
    let (_, audit) = ask("chief", "GET", "/api/v1/audit", "");
    let line = audit.as_array().unwrap().iter().find(|line| line["who"] == "guard").unwrap();
    assert_eq!((&line["what"], &line["taken"]), (&json!(format!("acknowledge alert {gate} of gate")), &json!(true)));
    let session = ask("guard", "GET", "/api/v1/session", "").1;
    assert_eq!((&session["name"], &session["scopes"]), (&json!("guard"), &json!(["read", "control"])));
    // The command line finds it on the disk, and says why the engine does not.
    let args = ["ack", &yard, "--token", "guard-token-of-some-length"];
    let said = folder.alerts(&args, Some(&page)).expect(1).stderr;
    assert!(said.contains(&format!("alert '{yard}' is on the disk")) && said.contains("other sources"), "{said}");
    // It says why a probe is told so little.
    let health = ["health-check", "--detailed", "--at", &page];
    let said = Dsengine::new(health).cwd(folder.path()).run().stderr;
    assert!(said.contains("wants a token, or another one"), "{said}");
    // The command line has the token's name, too.
    let args = ["alerts", "resolve", &yard, "--at", &page, "--token", "chief-token-of-some-length", "--json"];
    let answer = Dsengine::new(args).cwd(folder.path()).run().expect(0).json();
    assert_eq!(answer["case"]["changes"][0]["by"]["who"], "chief");
    kill(run);
}

#[test]
fn the_list_goes_on_after_an_alert_and_changes_are_in_the_event_stream() {
    let rule = "local n = 0\nfunction detect(frame)\n  if n < 5 then\n    n += 1\n    frame:alert{ rule = 'seen', key = n, \
                message = 'm' }\n  end\nend\n";
    let folder = Folder::new(&live(&["gate"], ""), rule);
    let (run, page) = folder.start();
    let all = until("five alerts", || Some(alerts(&page, "")).filter(|alerts| alerts.len() == 5));
    let ids: Vec<&str> = all.iter().map(|alert| alert["id"].as_str().unwrap()).collect();
    assert!(all.is_sorted_by(|a, b| a["seq"].as_u64() >= b["seq"].as_u64()), "{all:?}");
    let mut paged = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let next = alerts(&page, &query);
        let Some(last) = next.last() else { break };
        query = format!("?limit=2&before={}", last["id"].as_str().unwrap());
        paged.extend(next.iter().map(|alert| alert["id"].as_str().unwrap().to_owned()));
    }
    assert_eq!(paged, ids);
    for (query, status) in [("?before=nothing", 404), ("?limit=0", 400), ("?state=closed", 400), ("?page=2", 400)] {
        assert_eq!(get(&page, &format!("/api/v1/alerts{query}")).0, status, "{query}");
    }
    let headers = [("Host", "localhost")];
    let events = "/api/v1/events?kinds=case&limit=2";
    let mut stream = send(TcpStream::connect(&page).unwrap(), "GET", events, &headers, "");
    crate::admin::head(&mut stream);
    for step in ["acknowledge", "acknowledge", "resolve"] {
        let (status, body) = request("POST", &page, &format!("/api/v1/alerts/{}/{step}", ids[2]), "{}");
        assert_eq!(status, 200, "{body}");
    }
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    let told: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let states: Vec<_> = told.iter().map(|event| (&event["id"], &event["case"]["state"])).collect();
    let id = json!(ids[2]);
    assert_eq!(
        states,
        [(&id, &json!("acknowledged")), (&id, &json!("resolved"))],
        "a step that was taken is no change"
    );
    kill(run);
}

/// The alert of this number.
fn alert(number: u64) -> Arc<Alert> {
    let seen = json!({ "id": format!("{number:032x}"), "level": "high", "rule": "seen", "source": "gate", "key": "door",
        "time": "2026-01-01T00:00:00.000Z", "pts_ns": 0, "seq": number, "message": "m", "detections": [], "suppressed": 0 });
    Arc::new(serde_json::from_value(seen).unwrap())
}

#[test]
fn a_case_is_forgotten_with_its_alert_and_not_when_a_recording_is_played_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("alerts.db");
    let keep = Keep { age: Duration::MAX, alerts: 2 };
    let open = || SqliteJournal::open(&file, keep, Arc::new(SystemClock::new())).unwrap();
    let accepted = |number| Entry::Accepted { alert: alert(number), handlers: vec![], at_ms: 4_000_000_000_000 };
    let case = |number| {
        let mut case = Case::of(&alert(number));
        case.take(CaseStep::False, By::new("ops", 7, Some("a cat"))).unwrap();
        let contents = Some(serde_json::to_string(&case).unwrap().into());
        Entry::Saved(Saved { kind: SavedKind::Case, name: alert(number).id.as_str().into(), contents })
    };
    let names = |journal: &mut SqliteJournal| -> Vec<String> {
        journal.saved().unwrap().iter().map(|saved| saved.name.to_string()).collect()
    };
    let id = |number: u64| format!("{number:032x}");
    let mut journal = open();
    journal.write(&[accepted(1), case(1), accepted(2), case(2)]).unwrap();
    // Alert 1 is played again, after 2.
    journal.write(&[accepted(1)]).unwrap();
    assert_eq!(names(&mut journal), [id(1), id(2)]);
    assert_eq!(journal.newest(10).unwrap(), [alert(2), alert(1)]);
    // One alert more than are kept: 2 is the oldest.
    journal.write(&[accepted(3)]).unwrap();
    assert_eq!(names(&mut journal), [id(1)]);
    let kept = History::new(&file).list(10, &HistoryQuery::default()).unwrap();
    let verdicts: Vec<_> = kept.iter().map(|kept| (kept.alert.seq, kept.case.verdict.is_some())).collect();
    assert_eq!(verdicts, [(3, false), (1, true)]);
    // What is saved after its alert is gone is removed at the next start.
    journal.write(&[case(2)]).unwrap();
    drop(journal);
    let mut journal = open();
    assert_eq!(names(&mut journal).len(), 2);
    assert_eq!(journal.newest(1).unwrap(), [alert(3)]);
    assert_eq!(names(&mut journal), [id(1)]);
}
