//! Hostile guests put in place one after another while an engine runs: each is stopped within its budget or refused, no
//! other source and no other strategy loses a frame, and nothing of them stays.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::guests;
use crate::harness::{Dsengine, Running, get, root, rss_kib, sample, soak, street, write};

const LIMIT: Duration = Duration::from_secs(30);
/// Frames of each finite source, at 25 a second: longer than the zoo takes, on a slow machine too.
const FRAMES: u64 = 2250;
/// Frames that a hostile version judges well, so that it gets past the self-test (at most 32 remembered frames).
const PATIENCE: u32 = 34;
/// A call may take 20 ms of CPU time, and 250 ms whatever it does; what is above is one late look of a busy machine.
const CALL_NS_MAX: u64 = 350_000_000;
/// Memory that a run may have more at its end than before the zoo.
const GROWTH_KIB: u64 = 16 * 1024;
const FINITE: [&str; 3] = ["ball", "bars", "clip"];
/// What the other strategies judge.
const SOURCES: [&str; 4] = ["bad", "ball", "bars", "clip"];

/// What becomes of a version.
enum Fate {
    /// Not taken: by the loader or by the self-test.
    Refused,
    /// Taken, and rolled back from probation.
    RolledBack,
    /// Taken: hostile, and within what anybody may do.
    Taken,
}
use Fate::{Refused, RolledBack, Taken};

/// A version, what becomes of it and a part of what is said of it.
type Exhibit = (&'static str, Vec<u8>, Fate, &'static str);

const GOOD_LUA: &str = "function detect(frame)\n  for i in frame:select{ zone = 'all' } do frame:label(i) end\nend\n";

fn lua() -> Vec<Exhibit> {
    let load =
        |name, text: &str, told| (name, format!("{text}\nfunction detect(frame) end\n").into_bytes(), Refused, told);
    let mut zoo = vec![
        load("endless top level", "while true do end", "stopped after"),
        load("memory bomb at load", "t = {} while true do t[#t + 1] = table.create(10000, 0) end", "victim.lua"),
        load("error at load", "error('on purpose')", "victim.lua:1: on purpose"),
        load("no Lua", "local = 1", "victim.lua:1: "),
        ("error at once", b"function detect(frame) error('at once') end".into(), Refused, "self-test on bad"),
        ("endless at once", b"function detect(frame) while true do end end".into(), Refused, "self-test on bad"),
        ("endless resume", format!("{GOOD_LUA}function resume() while true do end end").into(), Refused, "taking over"),
    ];
    // Counted in the state, under a name of its own, which outlives the instance.
    for (name, body, told) in [
        ("loop", "while true do end", "stopped after"),
        ("loop under pcall", "while true do pcall(function() while true do end end) end", "stopped after"),
        ("loop in a coroutine", "coroutine.wrap(function() while true do end end)()", "stopped after"),
        ("pattern", "string.find(('a'):rep(30), ('a?'):rep(30) .. ('a'):rep(30) .. 'b')", "stopped after"),
        ("host calls", "while true do log.debug('x') end", "stopped after"),
        ("tables", "local t = {} while true do t[#t + 1] = table.create(1000, 0) end", "victim.lua"),
        ("one text", "local s = ('x'):rep(2^30)", "memory"),
        ("message of 100 MB", "frame:alert{ rule = 'r', message = ('x'):rep(100 * 2^20) }", "memory"),
        ("recursion", "local function f() return 1 + f() end f()", "victim.lua"),
        ("box of NaN", "frame:add{ label = 'x', bbox = { 0/0, 0, 1, 1 } }", "victim.lua:5: "),
        ("index out of range", "frame:keep(2^53)", "victim.lua:5: "),
        ("error in a table", "error({ code = 5 })", "victim.lua"),
        ("deep data", "local t = {} for n = 1, 100000 do t = { t } end state.set('t', t)", "victim.lua:5: "),
    ] {
        let text = format!(
            "function detect(frame)\n  local n = (state.get('{name}') or 0) + 1\n  if n <= {PATIENCE} then state.set('{name}', n) \
             else\n    -- As it is.\n{body}\n  end\nend\n"
        );
        zoo.push((name, text.into_bytes(), RolledBack, told));
    }
    let flood = "function detect(frame) for n = 1, 3000 do frame:alert{ rule = 'r', key = n } end end";
    zoo.push(("3,000 alerts", flood.into(), Taken, ""));
    let slow = "function detect(frame) local x = 0 for n = 1, 300000 do x += n end end";
    zoo.push(("slow and legal", slow.into(), Taken, ""));
    zoo.push(("endless suspend", format!("{GOOD_LUA}function suspend() while true do end end").into(), Taken, ""));
    zoo
}

fn wasm() -> Vec<Exhibit> {
    let half = {
        let good = guests::good();
        good[..good.len() / 2].to_vec()
    };
    let mut zoo = vec![
        ("endless init", guests::spin_in_init(), Refused, "init: stopped after"),
        ("endless start", guests::spin_in_start(), Refused, "start: stopped after"),
        ("trap in init", guests::trap_in_init(), Refused, "init: wasm `unreachable`"),
        ("refusal", guests::refuse(), Refused, "config.zone is missing"),
        ("missing export", guests::missing_export(), Refused, "lacks the function"),
        ("wrong version", guests::wrong_version(), Refused, "this engine offers 0.1"),
        ("half a component", half, Refused, "victim.wasm"),
        ("trap at once", guests::trap(), Refused, "self-test on bad"),
        ("endless at once", guests::spin(), Refused, "self-test on bad"),
    ];
    let patient = guests::patient(PATIENCE).into_iter();
    zoo.extend(patient.map(|(name, bytes, told)| (name, bytes, RolledBack, told)));
    zoo.push(("10,000 alerts", guests::many_alerts(10_000), Taken, ""));
    zoo.push(("slow and legal", guests::busy(4_000_000), Taken, ""));
    zoo
}

/// An engine with one live source for the victims, three finite ones, and innocent rules in both languages on all.
struct Site {
    run: Running,
    page: String,
}

impl Site {
    fn new(dir: &Path, first: [&[u8]; 2]) -> Self {
        write(dir, "bad.yaml", &street(3000, 60));
        write(dir, "clip.yaml", &street(FRAMES / 25, 25));
        for (name, bytes) in [
            ("victim.lua", GOOD_LUA.as_bytes()),
            ("fine.lua", GOOD_LUA.as_bytes()),
            ("victim.wasm", &guests::good()),
            ("crowd.wasm", &std::fs::read(root().join("plugins/prebuilt/crowd.wasm")).unwrap()),
            ("first.lua", first[0]),
            ("first.wasm", first[1]),
        ] {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
        let test = |id: &str, pattern: &str| {
            format!(
                "  - {{ id: {id}, type: test, uri: 'test:pattern={pattern},frames={FRAMES},fps=25,size=64x64', realtime: true }}\n"
            )
        };
        let victim = |name: &str| {
            let (short, kind) = name.split_once('.').unwrap();
            format!("    - {{ name: {short}-{kind}, module: {name}, sources: [bad], limits: {{ soft_ms: 0.5 }} }}\n")
        };
        let config = format!(
            "monitoring: {{ prometheus: {{ port: 0 }} }}\nlogging: {{ format: text }}\npipeline: {{ fps: 120 }}\n\
             zones: {{ all: [[0, 0], [1, 0], [1, 1], [0, 1]] }}\nsources:\n\
             \x20 - {{ id: bad, type: scene, uri: 'scene:bad.yaml?live=true&pixels=false' }}\n\
             \x20 - {{ id: clip, type: scene, uri: 'scene:clip.yaml?pixels=false', realtime: true }}\n{}{}\
             detection:\n  strategies:\n{}{}{}{}\
             \x20   - {{ name: fine-lua, module: fine.lua }}\n\
             \x20   - {{ name: fine-wasm, module: crowd.wasm, config: {{ zone: all, most: 99 }} }}\n",
            test("ball", "ball"),
            test("bars", "smpte"),
            victim("first.lua"),
            victim("first.wasm"),
            victim("victim.lua"),
            victim("victim.wasm"),
        );
        write(dir, "config.yaml", &config);
        let args = ["run", "--config", "config.yaml", "--judgements", "judged.jsonl"];
        let cache = dir.join("cache").display().to_string();
        let mut run = Dsengine::new(args).cwd(dir).env("XDG_CACHE_HOME", &cache).start();
        let page = run.page();
        Self { run, page }
    }

    fn status(&self) -> Value {
        serde_json::from_str(&get(&self.page, "/api/v1/status").1).unwrap()
    }

    fn strategy(&self, name: &str) -> Value {
        let status = self.status();
        status["strategies"].as_array().unwrap().iter().find(|s| s["name"] == name).unwrap().clone()
    }

    fn state(&self, source: &str) -> String {
        let status = self.status();
        let found = status["sources"].as_array().unwrap().iter().find(|s| s["id"] == source).unwrap().clone();
        found["state"].as_str().unwrap().to_owned()
    }

    fn metric(&self, series: &str) -> f64 {
        sample(&get(&self.page, "/metrics").1, series).unwrap_or(0.0)
    }

    fn until(&mut self, limit: Duration, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..limit.as_millis() / 50 {
            if done(self) {
                return;
            }
            let ended = self.run.end(Duration::from_millis(50));
            assert!(ended.is_none(), "it ended: {}", self.run.seen.join("\n"));
        }
        panic!("{what}: never\n{}", self.run.seen.join("\n"));
    }

    /// Waits until `bad` has this many more frames judged.
    fn frames(&mut self, more: f64) {
        let judged = "dsengine_frames_total{source=\"bad\"}";
        let before = self.metric(judged);
        self.until(LIMIT, "frames of bad", |site| site.metric(judged) >= before + more);
    }

    /// Saves a version and waits for what becomes of it.
    fn put(&mut self, path: &Path, (name, bytes, fate, told): &Exhibit) {
        std::fs::write(path, bytes).unwrap();
        // Of this strategy: others may pass their probation meanwhile.
        let strategy = path.file_name().unwrap().to_str().unwrap().replace('.', "-");
        let settled =
            |line: &str| line.contains(&strategy) && ["rolled back to", "stays"].iter().any(|word| line.contains(word));
        let verdict = |line: &str| {
            ["script not reloaded", "script reloaded"].iter().any(|word| line.contains(word))
                || line.contains(&strategy) && line.contains("rolled back to")
        };
        let line = self.run.wait_line(LIMIT, verdict);
        let line = match fate {
            Refused => {
                assert!(line.contains("script not reloaded"), "{name}: {line}");
                line
            }
            // It may strike before the reload has told of itself.
            RolledBack if line.contains("rolled back to") => line,
            RolledBack => {
                assert!(line.contains("script reloaded"), "{name}: {line}");
                self.run.wait_line(LIMIT, settled)
            }
            Taken => {
                assert!(line.contains("script reloaded"), "{name}: {line}");
                self.frames(70.0);
                line
            }
        };
        assert!(matches!(fate, Taken) || line.contains(told), "{name}: no `{told}` in: {line}");
        assert!(matches!(fate, RolledBack) == line.contains("rolled back to"), "{name}: {line}");
    }

    /// Threads and open descriptors.
    fn held(&self) -> [usize; 2] {
        ["task", "fd"].map(|what| std::fs::read_dir(format!("/proc/{}/{what}", self.run.pid())).unwrap().count())
    }

    /// Frames that each innocent strategy was asked about, by source.
    fn calls(&self) -> BTreeMap<String, f64> {
        let metrics = get(&self.page, "/metrics").1;
        let calls = |strategy: &str, source: &str| {
            let line = metrics.lines().find(|line| {
                line.starts_with("dsengine_strategy_calls_total{")
                    && line.contains(&format!("strategy=\"{strategy}\""))
                    && line.contains(&format!("source=\"{source}\""))
            });
            let line = line.unwrap_or_else(|| panic!("no calls of {strategy} on {source}"));
            (format!("{strategy} on {source}"), line.rsplit(' ').next().unwrap().parse().unwrap())
        };
        let pairs = FINITE.iter().flat_map(|source| ["fine-lua", "fine-wasm"].map(|strategy| (strategy, *source)));
        pairs.map(|(strategy, source)| calls(strategy, source)).collect()
    }

    /// Lets the finite sources play to their ends; what was judged, by source: (seq, time of the lane in ns).
    fn finish(mut self, dir: &Path) -> Story {
        for source in FINITE {
            self.until(Duration::from_secs(120), "a finite source ends", |site| site.state(source) == "stopped");
        }
        let calls = self.calls();
        let innocent = ["fine-lua", "fine-wasm"].map(|name| self.strategy(name)["faults"].as_u64().unwrap());
        self.run.signal("INT");
        let ended = self.run.end(LIMIT).and_then(|s| s.code());
        assert_eq!(ended, Some(0), "{}", self.run.seen.join("\n"));
        let mut judged: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
        for line in std::fs::read_to_string(dir.join("judged.jsonl")).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let entry = (line["seq"].as_u64().unwrap(), line["lane_ns"].as_u64().unwrap());
            judged.entry(line["source"].as_str().unwrap().to_owned()).or_default().push(entry);
        }
        Story { judged, calls, innocent }
    }
}

/// What a run left behind.
struct Story {
    judged: BTreeMap<String, Vec<(u64, u64)>>,
    calls: BTreeMap<String, f64>,
    innocent: [u64; 2],
}

impl Story {
    fn counts(&self) -> [usize; 3] {
        FINITE.map(|source| self.judged[source].len())
    }

    fn check(&self) {
        for source in FINITE {
            let seqs = self.judged[source].iter().map(|(seq, _)| *seq);
            assert!(seqs.eq(0..FRAMES), "{source}: {} of {FRAMES} frames judged", self.judged[source].len());
        }
        assert_eq!(self.innocent, [0, 0], "faults of the innocent");
        assert!(self.calls.values().all(|calls| *calls == FRAMES as f64), "{:?}", self.calls);
        assert!(SOURCES.iter().all(|source| self.judged.contains_key(*source)));
    }
}

#[test]
fn forty_hostile_guests_cost_nobody_else_a_frame_and_leave_nothing_behind() {
    let quiet = tempfile::tempdir().unwrap();
    let control = Site::new(quiet.path(), [GOOD_LUA.as_bytes(), &guests::good()]).finish(quiet.path());
    control.check();

    let dir = tempfile::tempdir().unwrap();
    let endless = b"function detect(frame) while true do end end\n";
    let mut site = Site::new(dir.path(), [endless, &guests::spin()]);
    // Nothing stands behind a first version: it is left out after five faults.
    site.until(LIMIT, "the first versions are switched off", |site| {
        ["first-lua", "first-wasm"].iter().all(|name| site.strategy(name)["degraded"] == true)
    });
    for name in ["first-lua", "first-wasm"] {
        let first = site.strategy(name);
        assert!(first["last_error"].as_str().unwrap().contains("stopped after"), "{first}");
    }
    site.frames(40.0);
    // What a reload needs once is there before anything is counted.
    let [victim, component] = ["victim.lua", "victim.wasm"].map(|name| dir.path().join(name));
    site.put(&victim, &("good", format!("-- again\n{GOOD_LUA}").into(), Taken, ""));
    site.put(&component, &("good", guests::counter(), Taken, ""));
    let (rss, held) = (rss_kib(site.run.pid()), site.held());

    let (lua, wasm) = (lua(), wasm());
    for exhibit in &lua {
        site.put(&victim, exhibit);
    }
    for exhibit in &wasm {
        site.put(&component, exhibit);
    }
    let told = ["slow_calls", "alerts"].map(|what| {
        let metrics = get(&site.page, "/metrics").1;
        let of = |l: &&str| l.starts_with("dsengine_strategy_limited_total{") && l.contains(&format!("\"{what}\""));
        metrics.lines().filter(of).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    });

    // Still reloading: the victims are mended, and so are the versions that never worked.
    for (name, bytes) in [
        ("victim.lua", format!("-- mended\n{GOOD_LUA}").into_bytes()),
        ("victim.wasm", guests::good()),
        ("first.lua", GOOD_LUA.into()),
        ("first.wasm", guests::good()),
    ] {
        site.put(&dir.path().join(name), &("mended", bytes, Taken, ""));
    }
    site.frames(250.0);
    for name in ["victim-lua", "victim-wasm", "first-lua", "first-wasm"] {
        let mended = site.strategy(name);
        assert!(mended["degraded"] == false && mended["last_error"].is_null(), "{mended}");
    }
    for source in FINITE {
        assert_ne!(site.state(source), "stopped", "{source} was to play through all of it");
    }
    let pid = site.run.pid();
    site.until(LIMIT, "memory, threads and descriptors are what they were", |site| {
        rss_kib(pid) <= rss + GROWTH_KIB && site.held().iter().zip(held).all(|(late, early)| *late <= early)
    });
    let (rss_late, held_late) = (rss_kib(pid), site.held());
    let story = site.finish(dir.path());
    let longest = story.judged["bad"].iter().map(|(_, ns)| *ns).max().unwrap();
    println!(
        "zoo: {} in Lua, {} components, and two first versions; longest judgement {:.0} ms; frames of {FINITE:?} {:?}, in \
         the control run {:?}; memory {rss} -> {rss_late} KiB, threads and descriptors {held:?} -> {held_late:?}; slow \
         calls and alerts cut {told:?}",
        lua.len(),
        wasm.len(),
        longest as f64 / 1e6,
        story.counts(),
        control.counts(),
    );
    story.check();
    assert_eq!((story.counts(), &story.calls), (control.counts(), &control.calls));
    // A busy machine stretches one judgement or another. A call that is not stopped would be as long every time, which
    // is three times for each version that is rolled back.
    let struck = lua.iter().chain(&wasm).filter(|(_, _, fate, _)| matches!(fate, RolledBack)).count();
    let most = if soak() { 2 } else { struck / 2 };
    let long = story.judged["bad"].iter().filter(|(_, ns)| *ns > CALL_NS_MAX).count();
    assert!(long <= most, "{long} judgements took longer than {CALL_NS_MAX} ns, the longest {longest} ns");
    assert!(told.iter().all(|count| *count > 0.0), "slow calls and alerts cut: {told:?}");
}
