//! How each draft of an alert was decided on: through the gate, in the database of a run, from a trace, in the API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dsengine::alert::chain::{Chain, Novelty, Stage};
use dsengine::alert::records::{Asked, Explained, Records};
use dsengine::alert::{
    BoxFuture, Decided, Delivery, DeliveryError, Entry, Gate, Handler, Journal as _, NoJournal, Raiser, Retry,
};
use dsengine::config::{AlertFilter, AlertPlan, QuietHours};
use dsengine::sqlite::{Decisions, Keep, SqliteJournal};
use dsengine::telemetry::{AlertOutcome, Metrics};
use dsengine::types::{
    Alert, BBox, Clock, Detection, Frame, HeldBy, Hours, Level, Raised, Schedule, TimeZone, Weekday,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::harness::{Dsengine, get, until, write};
use crate::watch::Wall;

/// Longest wait for what takes milliseconds.
const LIMIT: Duration = Duration::from_secs(20);
/// Drafts that are held back in each way: 12 ways make more than 200.
const HELD: u64 = 17;

fn plan() -> AlertPlan {
    AlertPlan { attempts: 1, outbox_max: 100_000, ..crate::journal::plan() }
}

/// A handler that answers, refuses, or does not end.
enum Peer {
    Answers,
    Refuses,
    Hangs,
}

impl Handler for Peer {
    fn name(&self) -> &str {
        "peer"
    }

    fn deliver<'a>(&'a self, _: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(async move {
            match self {
                Self::Answers => Ok(()),
                Self::Refuses => Err(DeliveryError { message: "410 Gone".into(), retry: Retry::Never }),
                Self::Hangs => std::future::pending().await,
            }
        })
    }
}

/// The alert path of one source without a journal.
struct Way {
    runtime: Runtime,
    metrics: Arc<Metrics>,
    plan: AlertPlan,
    delivery: Delivery,
    gate: Gate,
}

impl Way {
    fn new(plan: AlertPlan, peer: Peer, filter: &AlertFilter) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let clock: Arc<dyn Clock> = Wall::new();
        let metrics = Metrics::new(clock.clone());
        let nobody = Arc::new(|_: &Arc<Alert>| {});
        let journal = Box::new(NoJournal);
        let delivery = Delivery::start(runtime.handle(), journal, &[], &plan, &metrics, &clock, nobody).unwrap();
        delivery.add_where(Arc::new(peer), filter).unwrap();
        let gate = Gate::new(&plan, &"gate".into(), delivery.outbox(), &metrics);
        Self { runtime, metrics, plan, delivery, gate }
    }

    fn raise(&mut self, seq: u64, raised: &Raised) {
        let by = Raiser { strategy: "door", version: "2", generation: 1, line: &|| Some("door.lua:7".into()) };
        self.gate.raise_by(Some(by), raised, &frame(seq));
    }

    /// Raises `count` drafts on one frame, each of a key of its own.
    fn raise_keys(&mut self, seq: u64, count: u64, raised: &Raised) {
        for key in 0..count {
            self.raise(seq, &Raised { key: key.to_string(), ..raised.clone() });
        }
    }

    /// What the log says, once everything that can be delivered is.
    fn explained(&self) -> Vec<Explained> {
        self.delivery.outbox().recent().explain_all()
    }
}

fn frame(seq: u64) -> Frame {
    let captured_unix_ns = 1_700_000_000_000_000_000 + seq * 100_000_000;
    Frame { pts_ns: seq * 100_000_000, captured_unix_ns, width: 64, height: 64, ..Frame::empty("gate", seq) }
}

fn draft(level: Level) -> Raised {
    Raised { rule: "r".into(), level: Some(level), key: String::new(), message: "a person".into(), ..Raised::default() }
}

fn all_day() -> Schedule {
    Schedule { zone: TimeZone::utc(), hours: vec![Hours { days: Weekday::ALL.to_vec(), from: 0, to: 24 * 60 }] }
}

fn last(explained: &Explained) -> &Stage {
    explained.chain.as_ref().and_then(Chain::last).expect("a stage")
}

/// The number of drafts whose last stage is so; each names the strategy and its line.
fn held(way: &str, explained: &[Explained], is_it: impl Fn(&Stage) -> bool) -> u64 {
    let held: Vec<_> = explained.iter().filter(|one| is_it(last(one))).collect();
    for one in &held {
        let lines = &one.lines;
        assert_eq!(lines[0], "raised by the strategy door, version 2, at door.lua:7", "{way}");
        assert!(lines.len() > 1, "{way}: {lines:?}");
    }
    held.len() as u64
}

#[test]
fn explain_names_the_right_stage_for_what_is_held_back_in_twelve_ways() {
    let all = AlertFilter::default();
    let medium = draft(Level::Medium);
    let held_by = |by: HeldBy| move |stage: &Stage| matches!(stage, Stage::Burst { by: is, used: 1, .. } if *is == by);
    let mut count = 0;
    let mut check = |name: &str, way: &Way, is_it: &dyn Fn(&Stage) -> bool| {
        let explained = way.explained();
        assert_eq!(held(name, &explained, is_it), HELD, "{name}: {:?}", explained.last());
        count += HELD;
    };

    let mut way = Way::new(AlertPlan { enabled: false, ..plan() }, Peer::Answers, &all);
    way.raise_keys(0, HELD, &medium);
    check("switched off", &way, &|stage| *stage == Stage::Disabled);

    let quiet = QuietHours { schedule: all_day(), min_level: Level::High };
    let mut way = Way::new(AlertPlan { quiet_hours: vec![quiet], ..plan() }, Peer::Answers, &all);
    way.raise_keys(0, HELD, &medium);
    way.raise_keys(0, HELD, &draft(Level::High));
    check("quiet hours", &way, &|stage| *stage == Stage::QuietHours { entry: 1, min_level: Level::High });

    let mut way = Way::new(plan(), Peer::Answers, &all);
    let weak = Detection::new("person", 0, 0.3, BBox { x: 0.1, y: 0.1, width: 0.2, height: 0.2 });
    way.raise_keys(0, HELD, &Raised { detections: vec![weak], ..medium.clone() });
    check("confidence", &way, &|stage| *stage == Stage::Confidence { best: 0.3, min: 0.5 });

    let mut way = Way::new(plan(), Peer::Answers, &all);
    way.raise_keys(0, HELD, &medium);
    way.raise_keys(1, HELD, &medium);
    let told_ms = Some(1_700_000_000_000);
    let repeat = Stage::Condition { is: Novelty::Repeat, news: None, told_ms, window_ms: 60_000, repeats: 1 };
    check("repeats", &way, &|stage| *stage == repeat);

    let mut way = Way::new(AlertPlan { burst_threshold: 1, ..plan() }, Peer::Answers, &all);
    way.raise_keys(0, HELD + 1, &medium);
    check("burst", &way, &held_by(HeldBy::Burst));

    let mut way = Way::new(AlertPlan { max_critical_per_minute: 1, ..plan() }, Peer::Answers, &all);
    way.raise_keys(0, HELD + 1, &draft(Level::Critical));
    check("critical alerts", &way, &held_by(HeldBy::Critical));

    let mut way = Way::new(AlertPlan { max_per_minute: 1, ..plan() }, Peer::Answers, &all);
    way.raise_keys(0, HELD + 1, &medium);
    check("rate", &way, &|stage| *stage == Stage::Rate { limit: 1, used: 1, of_source: 1 });

    // One is sent, and each rule after it has a digest of its own.
    let mut way = Way::new(AlertPlan { max_per_minute: 1, ..plan() }, Peer::Answers, &all);
    for rule in 0..=4096 + HELD {
        way.raise(0, &Raised { rule: format!("r{rule}"), ..medium.clone() });
    }
    check("too many digests", &way, &|stage| *stage == Stage::DigestsFull);

    let mut way = Way::new(plan(), Peer::Hangs, &all);
    way.raise_keys(0, HELD, &medium);
    // The same frames again.
    way.gate = Gate::new(&way.plan, &"gate".into(), way.delivery.outbox(), &way.metrics);
    way.raise_keys(0, HELD, &medium);
    check("duplicates", &way, &|stage| *stage == Stage::Duplicate);

    // A more important one has the only place.
    let mut way = Way::new(AlertPlan { outbox_max: 1, ..plan() }, Peer::Hangs, &all);
    way.raise(0, &Raised { key: "first".into(), ..draft(Level::High) });
    way.raise_keys(1, HELD, &medium);
    check("full queue", &way, &|stage| matches!(stage, Stage::QueueFull { why } if why.contains("queue is full")));

    let mut way = Way::new(plan(), Peer::Answers, &AlertFilter { min_level: Level::High, ..all.clone() });
    way.raise_keys(0, HELD, &medium);
    let left_out = Stage::Accepted { handlers: vec![], left_out: vec!["peer".into()] };
    check("left out by where", &way, &|stage| *stage == left_out);

    let mut way = Way::new(plan(), Peer::Refuses, &all);
    way.raise_keys(0, HELD, &medium);
    assert_eq!(way.runtime.block_on(way.delivery.drain(LIMIT)), 0);
    let accepted = Stage::Accepted { handlers: vec!["peer".into()], left_out: vec![] };
    check("given up", &way, &|stage| *stage == accepted);
    for one in way.explained() {
        assert_eq!((&*one.attempts[0].error, &*one.handlers[0].how), ("410 Gone", "given_up"), "{:?}", one.lines);
    }
    assert!(count >= 200, "{count} drafts in 12 ways");

    let mut way = Way::new(plan(), Peer::Hangs, &all);
    way.raise_keys(0, HELD, &medium);
    assert_eq!(way.delivery.remove("peer", Duration::ZERO), HELD as usize);
    let removed = way.explained().iter().filter(|one| one.handlers[0].how == "handler_removed").count();
    assert_eq!(removed, HELD as usize);
}

#[test]
fn a_condition_that_lasts_is_logged_by_time_and_its_repeats_are_counted() {
    let mut way = Way::new(plan(), Peer::Answers, &AlertFilter::default());
    for seq in 0..100 {
        way.raise(seq, &draft(Level::Medium));
    }
    let explained = way.explained();
    let repeats: Vec<(u64, u64)> = explained
        .iter()
        .filter_map(|one| match last(one) {
            Stage::Condition { is: Novelty::Repeat, repeats, .. } => Some((*repeats, one.chain.as_ref()?.more)),
            _ => None,
        })
        .collect();
    // Ten frames a second: the first repeat, and then one a second that stands for those since.
    let every_second: Vec<(u64, u64)> = (0..10).map(|n| (1 + 10 * n, if n == 0 { 0 } else { 9 })).collect();
    assert_eq!(repeats, every_second);
    way.raise(100, &draft(Level::High));
    let news = way.explained().pop().expect("another");
    let condition = news.chain.expect("a chain").stages.remove(0);
    let Stage::Condition { is: Novelty::Changed, news: Some(news), repeats: 99, .. } = condition else {
        panic!("{condition:?}")
    };
    assert_eq!(news, "level high");
}

#[test]
fn a_full_queue_is_logged_by_time_too_and_its_repeats_are_counted() {
    let mut way = Way::new(AlertPlan { outbox_max: 1, ..plan() }, Peer::Hangs, &AlertFilter::default());
    way.raise(0, &Raised { key: "first".into(), ..draft(Level::High) });
    for seq in 1..=100 {
        way.raise(seq, &Raised { key: "k".into(), ..draft(Level::Medium) });
    }
    let explained = way.explained();
    let full = explained.iter().filter(|one| matches!(last(one), Stage::QueueFull { .. }));
    let more: Vec<u64> = full.map(|one| one.chain.as_ref().expect("a chain").more).collect();
    // Ten frames a second: the first one, and then one a second that stands for those since.
    assert_eq!(more, [0, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
    let refused = way.metrics.source(&"gate".into()).alerts(AlertOutcome::Refused);
    assert_eq!(refused, 100, "each one is counted");
}

/// Raises alerts that are held back in several ways, a tenth of a second apart.
const SCRIPT: &str = "local function raise(frame, rule, count, level, from, detections)
    for key = from or 1, (from or 1) + count - 1 do
        frame:alert{ rule = rule, level = level, key = key, message = rule, detections = detections }
    end
end
local steps = {
    [0] = function(frame)
        for i in frame:select{} do raise(frame, 'weak', 12, nil, 1, { i }) end
    end,
    [1] = function(frame) raise(frame, 'quiet', 12, 'low') end,
    [2] = function(frame) raise(frame, 'again', 10) end,
    [3] = function(frame)
        raise(frame, 'again', 10)
        frame:alert{ rule = 'again', level = 'high', key = 1, message = 'worse' }
    end,
    [4] = function(frame) raise(frame, 'burst', 15) end,
    [5] = function(frame) raise(frame, 'burst', 15, nil, 16) end,
    [6] = function(frame) raise(frame, 'critical', 15, 'critical') end,
    [7] = function(frame) raise(frame, 'rate', 12) end,
}
function detect(frame)
    local step = steps[frame.seq]
    if step then step(frame) end
end
";

const CONFIG: &str = "
sources: [{ id: a, uri: 'trace:t.jsonl' }]
monitoring: { enabled: false }
detection:
  strategies:
    - { name: steps, module: steps.lua }
    - { name: night, module: steps.lua, schedule: { from: '02:00', to: '03:00' } }
alerts:
  min_confidence: 0.5
  burst_threshold: 12
  max_critical_per_minute: 5
  max_alerts_per_minute: 25
  quiet_hours: { from: '22:00', to: '23:00', min_level: medium }
  handlers: [{ name: file, where: { rules: [again] }, config: { log_file: alerts.jsonl } }]
";

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "steps.lua", SCRIPT);
    write(dir.path(), "c.yaml", CONFIG);
    let head =
        json!({ "format": 1, "dsengine": "0", "config_hash": "0", "start_unix_ns": 1_700_000_000_000_000_000_u64 });
    let weak =
        json!({ "label": "person", "class_id": 0, "confidence": 0.3, "bbox": [0.1, 0.1, 0.2, 0.2], "track_id": 1 });
    let frame = |seq: u64| {
        let pts_ns = seq * 100_000_000;
        json!({ "source": "a", "seq": seq, "pts_ns": pts_ns, "width": 64, "height": 64, "detections": [weak] })
    };
    let frames: Vec<String> = (0..40).map(|seq| frame(seq).to_string()).collect();
    write(dir.path(), "t.jsonl", &format!("{head}\n{}\n", frames.join("\n")));
    dir
}

fn dsengine(dir: &Path, args: &[&str]) -> Dsengine {
    Dsengine::new(args.iter().copied().chain(["--config", "c.yaml"])).cwd(dir)
}

fn database(dir: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(dir.join("state")).unwrap().map(|entry| entry.unwrap().path());
    files.find(|file| file.extension().is_some_and(|ending| ending == "db")).expect("a database")
}

/// What the log has of the source.
fn logged(file: &Path) -> Records {
    let decided = Decisions::new(file).of_source(&Asked::all("a")).unwrap().decided;
    Records { decided, ..Records::default() }
}

/// The drafts that ended at each stage, by rule; digests left out.
fn ends(explained: &Value) -> BTreeMap<(String, String), u64> {
    let mut ends = BTreeMap::new();
    for one in explained.as_array().unwrap() {
        let stages = one["chain"]["stages"].as_array().unwrap();
        if stages.iter().all(|stage| stage["stage"] != "digest") {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            *ends.entry((text(&one["rule"]), text(&stages.last().unwrap()["stage"]))).or_default() += 1;
        }
    }
    ends
}

/// What does not depend on handlers, which a replay does not have.
fn policy(explained: &Value) -> Vec<Value> {
    let mut all = explained.as_array().unwrap().clone();
    // The engine's own alerts depend on the machine.
    all.retain(|one| one["source"] == "a");
    for one in &mut all {
        for key in ["handlers", "attempts", "lines"] {
            one[key] = Value::Null;
        }
        for stage in one["chain"]["stages"].as_array_mut().unwrap() {
            if stage["stage"] == "accepted" {
                *stage = Value::Null;
            }
        }
    }
    all
}

#[test]
fn a_run_and_a_replay_of_its_trace_explain_every_draft_alike() {
    let dir = folder();
    dsengine(dir.path(), &["run", "--state", "state"]).run().expect(0);
    let records = logged(&database(dir.path()));
    let live = serde_json::to_value(records.explain_all()).unwrap();
    let count = |rule: &str, stage: &str, count: u64| ((rule.to_owned(), stage.to_owned()), count);
    let expected = BTreeMap::from([
        count("weak", "confidence", 12),
        count("quiet", "quiet_hours", 12),
        count("again", "accepted", 11),
        count("again", "condition", 10),
        count("burst", "accepted", 12),
        count("burst", "burst", 18),
        count("critical", "accepted", 5),
        count("critical", "burst", 10),
        count("rate", "accepted", 2),
        count("rate", "rate", 10),
    ]);
    assert_eq!(ends(&live), expected);
    for workers in ["1", "2"] {
        let replay = ["replay", "t.jsonl", "--workers", workers];
        let alerts = dsengine(dir.path(), &replay).run().expect(0).stdout;
        assert!(alerts.lines().count() >= 30, "a replay still prints its alerts: {alerts}");
    }
    let replayed = dsengine(dir.path(), &["explain", "alert", "all", "--trace", "t.jsonl", "--json"]).run().expect(0);
    assert_eq!(policy(&replayed.json()), policy(&live));
    let text = dsengine(dir.path(), &["replay", "t.jsonl", "--explain", "all"]).run().expect(0).stdout;
    assert!(text.contains("its condition lasts, told at 2023-11-14T22:13:20.200Z, and has a new level high"), "{text}");
}

#[test]
fn explain_alert_says_each_stage_in_a_line_and_explain_source_what_held_back() {
    let dir = folder();
    dsengine(dir.path(), &["run", "--state", "state"]).run().expect(0);
    let records = logged(&database(dir.path()));
    let all = records.explain_all();
    let find = |rule: &str, stage: &str| {
        all.iter().find(|one| one.rule == rule && last(one).as_str() == stage).expect(rule).id.to_string()
    };
    let explain = |id: &str| dsengine(dir.path(), &["explain", "alert", id, "--state", "state"]).run();
    let line = SCRIPT.lines().position(|line| line.contains("frame:alert{ rule = rule")).unwrap() + 1;

    let held = explain(&find("burst", "burst")).expect(0).stdout;
    for said in [
        "raised by the strategy steps".to_owned(),
        format!("steps.lua:{line}"),
        "its condition begins, and lasts while it is raised within 60 s again: passed".to_owned(),
        "12 of at most 12 alerts of this rule within 10 s are sent (alerts.burst_threshold): held back".to_owned(),
    ] {
        assert!(held.contains(&said), "{said}\n{held}");
    }
    let id = find("again", "accepted");
    let sent = explain(&id[id.len() - 14..]).expect(0).stdout;
    assert!(sent.contains("accepted for file") && sent.contains("file: delivered"), "{sent}");
    let left_out = explain(&find("critical", "accepted")).expect(0).stdout;
    assert!(left_out.contains("accepted for no handler; left out by `where` of file"), "{left_out}");
    assert!(explain("ffffffffff").expect(1).stderr.contains("the log has no alert"));
    assert!(explain("0").expect(1).stderr.contains("more than one alert"));

    let why = |args: &[&str]| {
        let args = [&["explain", "--source", "a", "--state", "state"], args].concat();
        dsengine(dir.path(), &args).run().expect(0).stdout
    };
    let told = why(&["--from", "2023-11-14T22:13:00Z"]);
    for said in [
        "rate: 10 held back at 2023-11-14T22:13:20.700Z",
        "again: 10 held back at 2023-11-14T22:13:20.300Z",
        "40 frames were judged",
        "the strategy night judged 0 frames and raised 0, was off by its schedule for 40",
    ] {
        assert!(told.contains(said), "{said}\n{told}");
    }
    let of_rule = why(&["--from", "2023-11-14T22:13:00Z", "--rule", "weak", "--json"]);
    let review: Value = serde_json::from_str(&of_rule).unwrap();
    assert_eq!((review["groups"][0]["count"].as_u64(), review["groups"].as_array().unwrap().len()), (Some(12), 1));
    assert!(why(&["--from", "-10m"]).contains("nothing was raised"));
    // Page by page, the newest first: each decision once.
    let (mut to, mut counted) = ("2023-11-14T22:30:00Z".to_owned(), 0);
    loop {
        let page = why(&["--from", "2023-11-14T22:13:00Z", "--to", &to, "--limit", "20", "--json"]);
        let page: Value = serde_json::from_str(&page).unwrap();
        counted += page["groups"].as_array().unwrap().iter().map(|group| group["count"].as_u64().unwrap()).sum::<u64>();
        let Some(next_ms) = page["next_ms"].as_u64() else { break };
        to = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + Duration::from_millis(next_ms)).to_string();
    }
    let decided = all.iter().map(|one| 1 + one.chain.as_ref().unwrap().more).sum::<u64>();
    assert_eq!(counted, decided);
    let note = ["explain", "--source", "a", "--state", "state", "--from", "2023-11-14T22:13:00Z", "--limit", "20"];
    let note = dsengine(dir.path(), &note).run().expect(0).stderr;
    assert!(note.contains("for those before them: --to 2023-11-14T22:13:20."), "{note}");
    assert_eq!(dsengine(dir.path(), &["explain", "--source", "a", "--from", "noon"]).run().code(), 2);
}

#[test]
fn the_api_explains_alerts_and_sources_to_whoever_may_read_them() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "r.lua",
        "function detect(frame)\n    frame:alert{ rule = 'r', key = 'k', message = 'm' }\nend\n",
    );
    write(
        dir.path(),
        "c.yaml",
        "sources: [{ id: gate, uri: 'test:size=64x64,fps=10' }]\nalerts: { handlers: [] }\n\
         detection: { strategies: [{ name: s, module: r.lua }] }\n",
    );
    let args = ["run", "--port", "0", "--state", "state"];
    let mut run = dsengine(dir.path(), &args).start();
    let page = run.page();
    let ask = |path: &str| {
        let (status, body) = get(&page, path);
        (status, serde_json::from_str::<Value>(&body).unwrap_or(Value::Null))
    };
    let mut id = String::new();
    until("an alert is raised", || {
        id = ask("/api/v1/alerts").1[0]["id"].as_str().unwrap_or_default().to_owned();
        !id.is_empty()
    });
    let (status, explained) = ask(&format!("/api/v1/alerts/{id}/explain"));
    let line = explained["chain"]["by"]["line"].as_str().unwrap_or_default();
    assert!(status == 200 && line.ends_with("r.lua:2"), "{explained}");
    assert_eq!(ask("/api/v1/alerts/ffff0000/explain").0, 404);
    until("a repeat is logged", || {
        let (status, review) = ask("/api/v1/explain?source=gate&rule=r&from=2020-01-01T00:00:00Z");
        assert_eq!(status, 200, "{review}");
        let groups = review["groups"].as_array().unwrap();
        groups.iter().any(|group| group["stage"] == "condition") && groups.iter().any(|g| g["stage"] == "accepted")
    });
    let (_, newest) = ask("/api/v1/explain?source=gate&rule=r&limit=1");
    let next_ms = newest["next_ms"].as_u64().expect("more was decided before");
    let (_, older) = ask(&format!("/api/v1/explain?source=gate&rule=r&to={next_ms}"));
    assert_eq!((older["to_ms"].as_u64(), older["next_ms"].as_u64()), (Some(next_ms), None), "{older}");
    assert!(newest["from_ms"].as_u64().unwrap() > next_ms, "{newest}");
    assert_eq!(ask("/api/v1/explain").0, 400);
    for limit in [0, 10_001] {
        assert_eq!(ask(&format!("/api/v1/explain?source=gate&limit={limit}")).0, 400, "{limit}");
    }
    assert_eq!(ask("/api/v1/explain?source=gate&from=noon").0, 422);
    run.signal("TERM");
    assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", run.seen.join("\n"));
}

/// A decision as a lane logs it.
fn decision(number: u64, at_ms: u64) -> Entry {
    let id = serde_json::from_value(json!(format!("{number:032x}"))).unwrap();
    let (source, rule, contents) = ("a".into(), "r".into(), format!("{number}"));
    Entry::Decided(Arc::new(Decided { source, rule, at_ms, id, contents }))
}

#[test]
fn the_log_in_the_database_is_bounded_by_number_and_by_age() {
    let clock = Wall::new();
    let now_ms = clock.unix_ns() / 1_000_000;
    let hour_ms = 3_600_000;
    let kept = |batches: Vec<Vec<Entry>>| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("alerts.db");
        let keep = Keep { age: Duration::from_secs(3600), alerts: 2 };
        let mut journal = SqliteJournal::open(&file, keep, clock.clone()).unwrap();
        journal.recover().unwrap();
        batches.iter().for_each(|batch| journal.write(batch).unwrap());
        let decided = Decisions::new(&file).of_source(&Asked::all("a")).unwrap().decided;
        decided.iter().map(|decided| decided.contents.parse().unwrap()).collect::<Vec<u64>>()
    };
    let many = (0..100).map(|number| decision(number, now_ms)).collect();
    assert_eq!(kept(vec![many]), (80..100).collect::<Vec<u64>>(), "ten per alert that is kept");
    let old: Vec<Entry> = (0..10).map(|number| decision(number, now_ms - 2 * hour_ms)).collect();
    assert_eq!(kept(vec![old, vec![decision(10, now_ms)]]), [10]);
    let recording = (0..10).map(|number| decision(number, 1_000 + number)).collect();
    assert_eq!(kept(vec![recording]), (0..10).collect::<Vec<u64>>(), "a recording is as old as its frames");
}
