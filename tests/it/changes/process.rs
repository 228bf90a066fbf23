//! Edits of every kind, by file, API and command line, of a `dsengine run` with six sources; a control with the four
//! that no edit names runs at the same moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::control::{Ask, Asked};
use super::edits::{self, Edit};
use super::held::Held;
use super::measure::{Arrival, Compared, FRAME, Reader, delays};
use super::site::{Rule, Site, UNTOUCHED};
use crate::harness::{Dsengine, Running, get, request, soak, write};

const LIMIT: Duration = Duration::from_secs(30);
/// Edits, one in four of them wrong.
const EDITS: usize = 60;
const EDITS_SOAK: usize = 600;
const FPS: u32 = 30;
/// What may be held more at the end than after the first tenth.
const GROWTH_KIB: u64 = 5 << 10;
/// How often a model and pictures come and go before what a process holds is read.
const WARM_UP: usize = 5;

/// A `dsengine run` whose judgements are read as they come.
pub(super) struct Process {
    pub(super) run: Running,
    pub(super) page: String,
    pub(super) reader: Reader,
    pub(super) dir: tempfile::TempDir,
}

impl Process {
    pub(super) fn start(dir: tempfile::TempDir, yaml: &str) -> Self {
        write(dir.path(), "config.yaml", yaml);
        let reader = Reader::start(&dir.path().join("judged"));
        let args = ["run", "--config", "config.yaml", "--state", "state", "--judgements", "judged", "--json"];
        let mut run = Dsengine::new(args).cwd(dir.path()).start();
        let page = run.page();
        Self { run, page, reader, dir }
    }

    pub(super) fn json(&self, path: &str) -> Value {
        let (status, body) = get(&self.page, path);
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {status} {error}: {body}"))
    }

    /// Waits until it is so.
    #[track_caller]
    pub(super) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let from = Instant::now();
        while !is_so(self) {
            let ended = self.run.end(Duration::from_millis(10));
            assert!(ended.is_none(), "it ended before {what}:\n{}", self.run.seen.join("\n"));
            assert!(from.elapsed() < LIMIT, "never {what}: {}\n{}", self.problems(), self.run.seen.join("\n"));
        }
    }

    pub(super) fn problems(&self) -> String {
        self.json("/api/v1/status")["problems"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// What the files' problem is, and what waits for a restart.
    fn problem(&self) -> Option<String> {
        self.json("/api/v1/config")["problem"].as_str().map(str::to_owned)
    }

    /// What runs, without what counts on by itself and without what is said of the files.
    fn standing(&self) -> String {
        let status = self.json("/api/v1/status");
        let mut lines = vec![format!("{} {}", status["name"], self.json("/api/v1/config")["hash"])];
        let mut list = |all: &Value, keys: &[&str]| {
            for one in all.as_array().unwrap() {
                lines.push(keys.iter().map(|key| one[*key].to_string()).collect::<Vec<_>>().join(" "));
            }
        };
        list(&status["sources"], &["id", "state"]);
        list(&status["strategies"], &["name", "kind", "generation", "degraded"]);
        list(&status["handlers"], &["name"]);
        list(&self.json("/api/v1/plugins"), &["name", "module", "generation", "shadow_of", "sources"]);
        lines.join("\n")
    }

    /// Ends it; its frames, and how many it dropped by source.
    pub(super) fn finish(mut self) -> (super::measure::Arrivals, BTreeMap<String, u64>) {
        self.run.signal("INT");
        assert_eq!(self.run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", self.run.seen.join("\n"));
        let lines = self.run.seen.iter().skip_while(|line| *line != "{").take_while(|line| *line != "}");
        let summary = lines.cloned().collect::<Vec<_>>().join("\n") + "}";
        let summary: Value = serde_json::from_str(&summary).unwrap_or_else(|error| panic!("{error}: {summary}"));
        let dropped = summary["sources"].as_array().unwrap().iter().map(|source| {
            let reasons = source["dropped"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
            (source["source"].as_str().unwrap().to_owned(), reasons)
        });
        let dropped = dropped.collect();
        (self.reader.finish(), dropped)
    }
}

/// How an edit is made.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    File,
    Script,
    Api,
    Cli,
}

/// An engine that is edited.
struct Edited {
    process: Process,
    site: Site,
    asked: Asked,
    rng: fastrand::Rng,
    script: String,
}

impl Edited {
    fn start(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut site = Site::new(dir.path(), FPS);
        site.rules.push(Rule::new("keep"));
        let script = std::fs::read_to_string(dir.path().join("rule.lua")).unwrap();
        let process = Process::start(dir, &site.yaml());
        process.reader.more(&UNTOUCHED, 3);
        let mut edited = Self { process, site, asked: Asked::default(), rng: fastrand::Rng::with_seed(seed), script };
        // What edits by the API add for good is there from the start.
        for kind in Asked::STAY {
            let ask = edited.asked.valid(&mut edited.rng, kind);
            let (taken, told) = edited.by_api(&ask);
            assert!(taken, "{told}");
        }
        edited.process.reader.more(&UNTOUCHED, 2);
        edited
    }

    /// One edit, and what has to hold after it.
    fn edit(&mut self, n: usize) {
        let way = [Way::File, Way::Api, Way::Script, Way::Cli, Way::File, Way::Api][n % 6];
        let wrong = (n / 6) % 4 == (n % 6) % 4;
        let (before, from) = (self.process.standing(), UNTOUCHED.map(|id| self.process.reader.count(id)));
        let former = UNTOUCHED.map(|id| self.last(id));
        let (what, late) = match way {
            Way::File => self.by_file(n, wrong),
            Way::Script => self.by_script(n, wrong),
            Way::Api | Way::Cli => self.by_asking(n, wrong, way),
        };
        self.process.reader.more(&UNTOUCHED, 2);
        if wrong {
            let before = before.clone();
            self.process.until(&format!("as before {what}:\n{before}"), |process| process.standing() == before);
        }
        for ((id, from), former) in UNTOUCHED.into_iter().zip(from).zip(former) {
            let frames = self.process.reader.since(id, from);
            let after = frames.last().unwrap().rules.clone();
            if wrong {
                assert_eq!(former, after, "{what}: {id}");
            }
            self.generations(&after, &what);
            let mut changed = false;
            for Arrival { seq, rules, .. } in frames.iter().filter(|_| !late) {
                changed |= *rules == after && after != former;
                assert_eq!(*rules, if changed { after.clone() } else { former.clone() }, "{what}: {id}, frame {seq}");
            }
        }
    }

    fn last(&self, id: &str) -> std::sync::Arc<str> {
        let count = self.process.reader.count(id);
        self.process.reader.since(id, count - 1)[0].rules.clone()
    }

    /// The rules that judge are those that the engine says.
    fn generations(&self, rules: &str, what: &str) {
        let judging: BTreeMap<String, u64> = serde_json::from_str(rules).unwrap();
        let plugins = self.process.json("/api/v1/plugins");
        for (name, generation) in judging {
            let plugin = plugins.as_array().unwrap().iter().find(|plugin| plugin["name"] == *name);
            assert_eq!(plugin.map(|plugin| &plugin["generation"]), Some(&generation.into()), "{what}: {name}");
        }
    }

    fn save(&self, site: &Site) {
        write(self.process.dir.path(), "config.yaml", &site.yaml());
    }

    fn by_file(&mut self, n: usize, wrong: bool) -> (String, bool) {
        let make = if wrong { edits::wrong } else { edits::valid };
        let Edit { what, mut next, wrong, late } = make(&self.site, &mut self.rng, if wrong { n / 6 } else { n / 2 });
        next.name = format!("edit {n}");
        self.save(&next);
        let Some(part) = wrong else {
            let name = next.name.clone();
            self.process.until(&what, |process| process.json("/api/v1/status")["name"] == *name);
            self.site = next;
            return (what, false);
        };
        self.process.until(&format!("refused {what}"), |process| process.problem().is_some());
        let problem = self.process.problem().unwrap();
        let line = place(&problem).unwrap_or_else(|| panic!("{what}: no place: {problem}"));
        let id = part.split(['[', ']']).nth(1).unwrap();
        let text = next.yaml();
        let named = text.lines().nth(line - 1).unwrap_or_default();
        assert!(named.contains(id), "{what}: {problem} is at {named}");
        self.save(&self.site.clone());
        self.process.until("taken back", |process| process.problem().is_none());
        (what, late)
    }

    /// An edit of the script that most rules run.
    fn by_script(&mut self, n: usize, wrong: bool) -> (String, bool) {
        let path = self.process.dir.path().join("rule.lua");
        if !wrong {
            self.script = format!("-- {n}\n{}", self.script);
            std::fs::write(&path, &self.script).unwrap();
            self.process.run.wait_line(LIMIT, |line| line.contains("script reloaded"));
            return (format!("{n}: script saved"), false);
        }
        let broken = ["local = 3\n", "function detekt(frame) end\n", "error('on purpose')\n"][n % 3];
        let text = match n % 3 {
            1 => broken.to_owned(),
            _ => format!("\n\n{broken}{}", self.script),
        };
        std::fs::write(&path, text).unwrap();
        let line = self.process.run.wait_line(LIMIT, |line| line.contains("not reloaded"));
        assert!(n % 3 == 1 || line.contains("rule.lua:3: "), "{line}");
        std::fs::write(&path, &self.script).unwrap();
        self.process.run.wait_line(LIMIT, |line| line.contains("running version again"));
        (format!("{n}: broken script saved"), false)
    }

    fn by_asking(&mut self, n: usize, wrong: bool, way: Way) -> (String, bool) {
        let ask = if wrong { Asked::wrong(n / 6) } else { self.asked.valid(&mut self.rng, n / 2) };
        let what = format!("{n}: {way:?} {ask:?}");
        let (taken, told) = if way == Way::Api { self.by_api(&ask) } else { self.by_cli(&ask) };
        assert_eq!(taken, ask.wrong.is_none(), "{what}: {told}");
        if let Some(named) = ask.wrong {
            assert!(told.contains(named), "{what} does not name {named}: {told}");
        }
        (what, false)
    }

    fn by_api(&self, Ask { method, path, body, .. }: &Ask) -> (bool, String) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, told) = request(method, &self.process.page, path, &body);
        assert!(status < 500, "{method} {path} {body}: {status} {told}");
        (status < 300, told)
    }

    fn by_cli(&self, ask: &Ask) -> (bool, String) {
        let dir = self.process.dir.path();
        write(dir, "edit.yaml", &ask.body.to_string());
        let mut args = ask.command("edit.yaml");
        args.extend(["--at".to_owned(), self.process.page.clone()]);
        let out = Dsengine::new(args).cwd(dir).run();
        (out.code() == 0, out.stdout + &out.stderr)
    }

    /// What it holds with nothing but what it started with, once every probation is over.
    fn held(&mut self, n: usize, before: Option<Held>) -> Held {
        for id in std::mem::take(&mut self.asked.added) {
            assert_eq!(request("DELETE", &self.process.page, &format!("/api/v1/sources/{id}"), "").0, 200);
        }
        let mut first = Site::new(self.process.dir.path(), FPS);
        first.rules.push(Rule::new("keep"));
        write(self.process.dir.path(), "rule.lua", &self.script);
        // What models and pictures need stays with the allocator: it has its size after a few.
        let mut rich = Site { name: format!("rich {n}"), ..first.clone() };
        let model = crate::harness::root().join("models/street.onnx").display().to_string();
        rich.models.push(("street".into(), format!("model_path: {model}, sources: [e1]")));
        rich.source("e1").uri = "scene:scene.yaml?pixels=true&live=true".into();
        first.name = format!("held {n}");
        for (round, site) in (0..WARM_UP).flat_map(|round| [(round, &rich), (round, &first)]) {
            let site = &Site { name: format!("{} {round}", site.name), ..site.clone() };
            self.save(site);
            self.process.until(&site.name, |process| process.json("/api/v1/status")["name"] == *site.name);
            self.process.reader.more(&["e1"], 10);
        }
        self.site = Site { name: format!("held {n} {}", WARM_UP - 1), ..first };
        let quiet = |process: &Process| {
            process.json("/api/v1/plugins").as_array().unwrap().iter().all(|plugin| plugin["on_probation"] == false)
        };
        self.process.until("no probation", quiet);
        // Free memory goes back every few seconds; threads that wait for more work end after a while without.
        self.process.reader.more(&["w0"], 7 * FPS as usize);
        let few = |now: Held| before.is_none_or(|before| now.threads <= before.threads);
        self.process.until("as few threads", |process| few(Held::by(process.run.pid())));
        Held::by(self.process.run.pid())
    }
}

/// The line in `config.yaml:LINE:COLUMN`.
fn place(text: &str) -> Option<usize> {
    let mut parts = text.split("config.yaml:").nth(1)?.split(':');
    let line = parts.next()?.parse().ok()?;
    parts.next()?.chars().next()?.is_ascii_digit().then_some(line)
}

/// A process with the sources that no edit names.
fn control(dir: tempfile::TempDir) -> Process {
    let mut site = Site::new(dir.path(), FPS);
    site.rules.push(Rule::new("keep"));
    site.sources.truncate(UNTOUCHED.len());
    let process = Process::start(dir, &site.yaml());
    process.reader.more(&UNTOUCHED, 3);
    process
}

#[test]
fn edits_by_file_api_and_command_line_lose_no_frame_of_sources_that_they_do_not_name() {
    let edits = if soak() { EDITS_SOAK } else { EDITS };
    let control = control(tempfile::tempdir().unwrap());
    let mut edited = Edited::start(11);
    // Sixty edits tell a model or a picture that is kept; how flat it is, the long version tells.
    let (settled, growth) = if soak() { (edits / 10, GROWTH_KIB) } else { (edits / 3, 4 * GROWTH_KIB) };
    let mut early = None;
    for n in 0..edits {
        edited.edit(n);
        if n == settled {
            early = Some(edited.held(n, None));
        }
    }
    edited.held(edits, early).no_more_than(early.unwrap(), growth);
    compare(edited.process, control);
}

/// What holds of sources that no edit names.
fn compare(edited: Process, control: Process) {
    let (edited, dropped) = edited.finish();
    let (control, without) = control.finish();
    for id in UNTOUCHED {
        let seqs: Vec<u64> = edited[id].iter().map(|frame| frame.seq).collect();
        let ordered = seqs.windows(2).all(|pair| pair[0] < pair[1]);
        let missing = seqs[seqs.len() - 1] + 1 - seqs.len() as u64;
        println!(
            "{id}: {} frames, {missing} missing; dropped {}, of the control {}",
            seqs.len(),
            dropped[id],
            without[id]
        );
        assert!(ordered, "{id}: every frame once and in order");
        if id.starts_with('w') {
            assert_eq!((seqs[0], missing), (0, 0), "{id}");
        } else {
            assert!(missing <= dropped[id], "{id}: {missing} missing, {} dropped", dropped[id]);
        }
    }
    let compared = Compared::of(delays(&edited, &UNTOUCHED, FPS.into()), delays(&control, &UNTOUCHED, FPS.into()));
    println!("{compared}");
    // What a frame may be late is told where the machine has nothing else to do: `./dev soak`.
    if soak() {
        let live = |dropped: &BTreeMap<String, u64>| dropped["l0"] + dropped["l1"];
        assert!(live(&dropped) <= live(&without) + 1, "live sources drop more: {dropped:?}, {without:?}");
        assert!(compared.nearly_all() && compared.all(), "{compared}");
    }
}

/// Stops a process for a while, just before a frame is due.
fn stall(process: &Process, lasts: Duration) {
    process.reader.more(&["w0"], 1);
    let (nothing, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let _ = wait.recv_timeout(FRAME - Duration::from_millis(6));
    process.run.signal("STOP");
    let _ = wait.recv_timeout(lasts);
    process.run.signal("CONT");
    drop(nothing);
}

/// The measure itself, at a real process: it sees what it has to see. Where other work holds processes up it may see
/// more.
#[test]
fn a_process_that_is_stopped_for_60_ms_is_seen() {
    let frames = if soak() { 6000 } else { 600 };
    let (once, often, control) = (tempfile::tempdir, tempfile::tempdir, tempfile::tempdir);
    let [once, often, quiet] = [once, often, control].map(|dir| self::control(dir().unwrap()));
    for n in 0..frames / 60 {
        quiet.reader.more(&["w0"], 30);
        stall(&often, Duration::from_millis(60));
        if n == 0 {
            stall(&once, Duration::from_millis(60));
        }
    }
    let [once, often, quiet] = [once, often, quiet].map(|process| {
        let (arrivals, _) = process.finish();
        delays(&arrivals, &UNTOUCHED, FPS.into())
    });
    let longest = |delays: &[u64]| Duration::from_nanos(*delays.iter().max().unwrap());
    assert!(longest(&once) > FRAME && longest(&often) > FRAME, "{:?} {:?}", longest(&once), longest(&often));
    let (often, once) = (Compared::of(often, quiet.clone()), Compared::of(once, quiet));
    println!("stopped often: {often}\nstopped once: {once}");
    if soak() {
        assert!(!often.nearly_all() && !often.all(), "{often}");
        assert!(!once.all() && once.nearly_all(), "{once}");
    }
}

#[test]
fn a_place_is_read_out_of_a_problem() {
    let told = "the configuration's files are not what runs: config.yaml:12:7: unknown key";
    assert_eq!((place(told), place("config.yaml: is gone")), (Some(12), None));
}
