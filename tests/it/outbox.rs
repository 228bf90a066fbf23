//! Accepted alerts in their database: over kills, damage and second processes, and in `dsengine alerts`.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dsengine::alert::{Entry, Journal as _, Settlement};
use dsengine::engine::SystemClock;
use dsengine::sqlite::{Keep, SqliteJournal};
use dsengine::types::Alert;
use serde_json::Value;

use crate::alerts::alert;
use crate::harness::{Dsengine, Outcome, soak, until, write, write_scene, write_trace};
use crate::webhooks::Peer;

/// Longest wait for what takes milliseconds.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// Raises an alert on every frame.
const RULE: &str = "function detect(f) f:alert{ rule = 'r', key = tostring(f.seq), message = 'm' } end";
const KEEP: Keep = Keep { age: Duration::from_secs(86_400), alerts: 10_000 };

/// Has each refused alert given up by itself, though the receiver refuses all of them.
pub(crate) fn gives_up_each(dir: &Path) {
    let config = std::fs::read_to_string(dir.join("c.yaml")).unwrap();
    write(dir, "c.yaml", &config.replace("retry_attempts: 1,", "retry_attempts: 1, max_age_seconds: 0,"));
}

/// A folder with a configuration whose alerts go to a file and to `url`.
pub(crate) fn folder(source: &str, outbox: &str, url: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "r.lua", RULE);
    write_scene(dir.path(), 30);
    write_trace(dir.path(), 40);
    let config = format!(
        "sources: [{{ id: a, uri: '{source}' }}]\nmonitoring: {{ enabled: false }}\n\
         detection: {{ strategies: [{{ name: r, module: r.lua }}] }}\n\
         alerts: {{ throttle_seconds: 0, min_confidence: 0, burst_threshold: 1000, max_alerts_per_minute: 100000, \
         retry_attempts: 1, retry_delay: 0.1, max_retry_delay: 0.2, outbox: {{ {outbox} }}, handlers: [{{ name: file, config: {{ \
         log_file: alerts.jsonl }} }}, {{ name: hook, type: webhook, config: {{ url: '{url}' }} }}] }}\n"
    );
    write(dir.path(), "c.yaml", &config);
    dir
}

pub(crate) fn dsengine(dir: &Path, args: &[&str]) -> Dsengine {
    Dsengine::new(args.iter().copied().chain(["--config", "c.yaml", "--state", "state"])).cwd(dir)
}

pub(crate) fn listed(dir: &Path, args: &[&str]) -> Outcome {
    dsengine(dir, &[&["alerts", "list", "--json", "-n", "100000"], args].concat()).run()
}

/// The alerts that were posted, by id.
pub(crate) fn posted(peer: &Peer) -> BTreeMap<String, Vec<Value>> {
    let mut alerts: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for request in peer.requests() {
        let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        alerts.entry(body["id"].as_str().unwrap().to_owned()).or_default().push(body);
    }
    alerts
}

/// The ids in the file handler's log.
pub(crate) fn logged(dir: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(dir.join("alerts.jsonl")).unwrap_or_default();
    // A kill may cut the last line.
    let alerts = text.lines().filter_map(|line| serde_json::from_str::<Alert>(line).ok());
    alerts.map(|alert| alert.id.to_string()).collect()
}

pub(crate) const LIVE: &str = "scene:scene.yaml?live=true&pixels=false";

#[test]
fn an_alert_that_was_accepted_survives_a_kill() {
    for (outbox, survives) in [("durability: sync", true), ("durability: memory", false)] {
        let up = Arc::new(AtomicBool::new(false));
        let is_up = Arc::clone(&up);
        let peer = Peer::new(move |_, _| {
            let status = if is_up.load(Ordering::Relaxed) { "204 No Content" } else { "503 Service Unavailable" };
            format!("{status}\r\n")
        });
        let dir = folder(LIVE, outbox, &peer.url("/"));
        let run = dsengine(dir.path(), &["run"]).start();
        until("ten alerts are in the file", || logged(dir.path()).len() >= 10);
        run.signal("KILL");
        drop(run);
        let before = logged(dir.path());
        let refused = posted(&peer).len();
        up.store(true, Ordering::Relaxed);
        let mut run = dsengine(dir.path(), &["run"]).start();
        until("a new alert is posted", || posted(&peer).keys().any(|id| !before.contains(id)));
        run.signal("TERM");
        assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", run.seen.join("\n"));
        let posted = posted(&peer);
        let missing = before.iter().filter(|id| !posted.contains_key(*id)).count();
        assert_eq!(missing == 0, survives, "{outbox}: {missing} of {} are missing, {refused} were tried", before.len());
    }
}

/// A webhook's receiver that is away most of the time, and what it took.
pub(crate) struct Away {
    peer: Peer,
    back: Arc<AtomicBool>,
    taken: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
}

impl Away {
    pub(crate) fn new() -> Self {
        let (back, taken) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<BTreeMap<_, Vec<Value>>>>::default());
        let (is_back, log) = (Arc::clone(&back), Arc::clone(&taken));
        let peer = Peer::new(move |n, request| {
            if !is_back.load(Ordering::Relaxed) && n % 7 != 0 {
                return "503 Away\r\n".into();
            }
            let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
            log.lock().unwrap().entry(body["id"].as_str().unwrap().to_owned()).or_default().push(body);
            "204 No Content\r\n".into()
        });
        Self { peer, back, taken }
    }

    pub(crate) fn url(&self) -> String {
        self.peer.url("/")
    }

    /// Those of `alerts` that it did not take yet.
    pub(crate) fn missing<'a>(&self, alerts: &'a BTreeSet<String>) -> Vec<&'a String> {
        let taken = self.taken.lock().unwrap();
        alerts.iter().filter(|id| !taken.contains_key(*id)).collect()
    }

    /// Comes back, and takes from one more run what was accepted in `dir`: in the file handler's log, or written down.
    /// Returns how many alerts that were.
    pub(crate) fn takes_all(&self, dir: &Path) -> usize {
        self.back.store(true, Ordering::Relaxed);
        let accepted: BTreeSet<String> = logged(dir).into_iter().chain(pending(dir)).collect();
        let mut run = dsengine(dir, &["run"]).start();
        until("everything is taken", || self.missing(&accepted).is_empty());
        run.signal("TERM");
        assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", run.seen.join("\n"));
        for (id, bodies) in self.taken.lock().unwrap().iter() {
            assert!(bodies.iter().all(|body| *body == bodies[0]), "{id} was taken with two contents");
        }
        accepted.len()
    }
}

/// The ids of the alerts that are written down and not delivered.
pub(crate) fn pending(dir: &Path) -> BTreeSet<String> {
    let kept = listed(dir, &["--pending"]).expect(0).json();
    kept.as_array().unwrap().iter().map(|kept| kept["alert"]["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn whatever_is_accepted_arrives_however_often_the_process_is_killed() {
    let kills = if soak() { 500 } else { 20 };
    let receiver = Away::new();
    let dir = folder(LIVE, "durability: sync", &receiver.url());
    fastrand::seed(7);
    for _ in 0..kills {
        let known = logged(dir.path()).len();
        let run = dsengine(dir.path(), &["run"]).start();
        // At any moment: while it starts, and some alerts later.
        let more = fastrand::usize(0..12);
        until("some more alerts", || logged(dir.path()).len() >= known + more);
        run.signal("KILL");
        drop(run);
    }
    let accepted = receiver.takes_all(dir.path());
    assert!(accepted > kills, "{accepted} alerts over {kills} kills");
}

#[test]
fn delivered_alerts_are_listed_as_long_and_as_many_as_the_keys_say() {
    let peer = Peer::new(|_, _| "204 No Content\r\n".into());
    let count = |outbox: &str| {
        let dir = folder("trace:t.jsonl", outbox, &peer.url("/"));
        dsengine(dir.path(), &["run"]).run().expect(0);
        let listed = listed(dir.path(), &[]).expect(0).json();
        for kept in listed.as_array().unwrap() {
            let handlers = kept["handlers"].as_array().unwrap();
            assert_eq!(handlers.len(), 2, "{kept}");
            assert!(handlers.iter().all(|handler| handler["outcome"] == "delivered"), "{kept}");
        }
        listed.as_array().unwrap().len()
    };
    assert_eq!(count("keep_days: 7"), 40);
    assert!(count("keep_alerts: 5") <= 5);
    assert_eq!(count("keep_days: 0"), 0);
}

#[test]
fn an_alert_is_shown_by_a_part_of_its_id_with_what_became_of_it() {
    let peer = Peer::new(|_, _| "410 Gone\r\n".into());
    let dir = folder("trace:t.jsonl", "", &peer.url("/"));
    gives_up_each(dir.path());
    dsengine(dir.path(), &["run"]).run().expect(1);
    let id = logged(dir.path()).into_iter().next().unwrap();
    let shown = dsengine(dir.path(), &["alerts", "show", &id[12..]]).run().expect(0).stdout;
    for part in [id.as_str(), "handler     file: delivered", "handler     hook: given up", "rule        r"] {
        assert!(shown.contains(part), "{shown}");
    }
    let lines = dsengine(dir.path(), &["alerts", "list"]).run().expect(0).stdout;
    assert_eq!(lines.lines().count(), 20, "{lines}");
    assert!(lines.lines().all(|line| line.contains("hook given up")), "{lines}");
    let missing = dsengine(dir.path(), &["alerts", "show", "ffff"]).run();
    assert!(missing.code() != 0 && missing.stderr.contains("[E0502] there is no alert \"ffff\""), "{}", missing.stderr);
    let none = Dsengine::new(["alerts", "list", "--state", "state"]).cwd(dir.path()).run();
    assert!(none.code() != 0 && none.stderr.contains("--config FILE"), "{}", none.stderr);
}

#[test]
fn alerts_are_listed_by_source_rule_and_level() {
    let peer = Peer::new(|_, _| "204 No Content\r\n".into());
    let dir = folder("trace:t.jsonl", "", &peer.url("/"));
    let first = "if f.seq == 0 then f:alert{ rule = 'first', key = 'k', level = 'high', message = 'm' } end";
    write(dir.path(), "r.lua", &RULE.replace("function detect(f)", &format!("function detect(f) {first}")));
    dsengine(dir.path(), &["run"]).run().expect(0);
    let count = |args: &[&str]| listed(dir.path(), args).expect(0).json().as_array().unwrap().len();
    let all = count(&[]);
    assert_eq!(all, 41);
    for (args, wanted) in [
        (&["--source", "a"][..], all),
        (&["--source", "b"], 0),
        (&["--rule", "first"], 1),
        (&["--rule", "r", "--level", "medium"], all - 1),
        (&["--level", "high", "--source", "a", "--open"], 1),
        (&["--level", "critical"], 0),
        (&["--rule", "first", "--undelivered"], 0),
    ] {
        assert_eq!(count(args), wanted, "{args:?}");
    }
    // The oldest of all: the number is of those that are wanted.
    let one = dsengine(dir.path(), &["alerts", "list", "-n", "1", "--rule", "first"]).run().expect(0).stdout;
    assert!(one.lines().count() == 1 && one.contains(" a first: m"), "{one}");
    let wrong = dsengine(dir.path(), &["alerts", "list", "--level", "hihg"]).run().expect(2).stderr;
    assert!(wrong.contains("expected one of low, medium, high, critical"), "{wrong}");
}

#[test]
fn a_second_process_of_a_configuration_is_refused_and_told_which_is_the_first() {
    let peer = Peer::new(|_, _| "204 No Content\r\n".into());
    let dir = folder(LIVE, "", &peer.url("/"));
    let first = dsengine(dir.path(), &["run"]).start();
    until("it runs", || !logged(dir.path()).is_empty());
    write(dir.path(), "run.jsonl", "what the first one records\n");
    let second = dsengine(dir.path(), &["run", "--record", "run.jsonl"]).run();
    assert_eq!(second.code(), 2, "{}", second.stderr);
    assert_eq!(std::fs::read_to_string(dir.path().join("run.jsonl")).unwrap(), "what the first one records\n");
    assert!(
        second.stderr.contains(&format!("process {} runs this configuration already", first.pid())),
        "{}",
        second.stderr
    );
    // In another folder there is another run.
    let elsewhere =
        Dsengine::new(["run", "--config", "c.yaml", "--state", "other", "--duration", "0.2"]).cwd(dir.path());
    elsewhere.run().expect(0);
}

#[test]
fn without_a_folder_to_write_to_alerts_are_kept_in_memory_and_that_is_said() {
    let peer = Peer::new(|_, _| "204 No Content\r\n".into());
    let run = |outbox: &str| {
        let dir = folder("trace:t.jsonl", outbox, &peer.url("/"));
        let run = Dsengine::new(["run", "--config", "c.yaml", "--state", "c.yaml/state"]).cwd(dir.path()).run();
        (run.code(), run.stderr, logged(dir.path()).len())
    };
    let (code, said, delivered) = run("");
    assert_eq!((code, delivered), (0, 40), "{said}");
    assert!(said.contains("warning: alerts that are not delivered when this process ends are lost"), "{said}");
    let (code, said, delivered) = run("durability: memory");
    assert_eq!((code, delivered), (0, 40), "{said}");
    assert!(!said.contains("are lost"), "{said}");
    let (code, said, delivered) = run("durability: sync");
    assert_eq!((code, delivered), (2, 0), "{said}");
    assert!(said.contains("cannot be created"), "{said}");
}

fn open(file: &Path) -> SqliteJournal {
    SqliteJournal::open(file, KEEP, Arc::new(SystemClock::new())).unwrap()
}

/// An acceptance that no test's time forgets, in Unix milliseconds.
const AT_MS: u64 = 4_000_000_000_000;

/// Each page of a small database is overwritten in turn: what is recovered is what was written, and nothing else.
#[test]
fn a_damaged_page_costs_its_own_alerts_at_most_and_nothing_wrong_is_delivered() {
    const PAGE: usize = 4096;
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.db");
    let long = "a long message ".repeat(60);
    let alerts: Vec<Arc<Alert>> =
        (0..60).map(|n| Arc::new(Alert { message: long.clone(), ..(*alert(&n.to_string())).clone() })).collect();
    {
        let mut journal = open(&whole);
        journal.recover().unwrap();
        let accepted = alerts
            .iter()
            .map(|alert| Entry::Accepted { alert: alert.clone(), handlers: vec!["x".into(), "y".into()], at_ms: AT_MS })
            .collect::<Vec<_>>();
        journal.write(&accepted).unwrap();
        let done = Entry::Settled { id: alerts[0].id.clone(), handler: "x".into(), how: Settlement::Delivered };
        journal.write(&[done]).unwrap();
    }
    let pages = std::fs::metadata(&whole).unwrap().len() as usize / PAGE;
    assert!(pages > 10, "{pages} pages");
    let (mut complete, mut most) = (0, 0);
    for page in 0..pages {
        let file = dir.path().join(format!("{page}.db"));
        std::fs::copy(&whole, &file).unwrap();
        let noise: Vec<u8> = (0..PAGE).map(|at| (at * 31 + page) as u8).collect();
        std::fs::File::options().write(true).open(&file).unwrap().write_all_at(&noise, (page * PAGE) as u64).unwrap();
        // A first page that is no database's is refused as another program's, or set aside.
        let Ok(mut journal) = SqliteJournal::open(&file, KEEP, Arc::new(SystemClock::new())) else { continue };
        let recovered = journal.recover().unwrap();
        for pending in &recovered {
            let written = alerts.iter().find(|alert| alert.id == pending.alert.id).expect("an alert that was written");
            assert_eq!(pending.alert, *written, "page {page}");
        }
        complete += usize::from(recovered.len() == alerts.len());
        most += usize::from(recovered.len() > alerts.len() / 2);
        // And it goes on.
        let new = alert("new");
        journal.write(&[Entry::Accepted { alert: new.clone(), handlers: vec!["x".into()], at_ms: AT_MS }]).unwrap();
        drop(journal);
        let again = open(&file).recover().unwrap();
        assert_eq!(again.len(), recovered.len() + 1, "page {page}");
        assert_eq!(again.last().unwrap().alert, new);
    }
    assert!(complete < pages, "damage was noticed");
    // A page of alerts holds four of the sixty; only the roots of the tables cost all of them.
    assert!(most >= pages - 5, "{most} of {pages} damaged pages leave most alerts");
}

/// A bit that a disk flipped in an alert's text leaves a whole database: the checksum notices.
#[test]
fn an_alert_whose_text_was_altered_is_set_aside_and_not_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("alerts.db");
    let [a, b] =
        ["one", "two"].map(|text| Arc::new(Alert { message: format!("seen {text}"), ..(*alert(text)).clone() }));
    let mut journal = open(&file);
    let accepted =
        |alert: &Arc<Alert>| Entry::Accepted { alert: alert.clone(), handlers: vec!["x".into()], at_ms: AT_MS };
    journal.write(&[accepted(&a), accepted(&b)]).unwrap();
    drop(journal);
    let bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(8).position(|window| window == b"seen one").unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().write_all_at(b"sewn", at as u64).unwrap();
    let recovered = open(&file).recover().unwrap();
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0].alert, b);
}
