//! Scripts and components replaced while they judge: every save has its verdict, every frame one generation, no frame is
//! lost, what is kept goes on. How late frames are is read by `changes::measure`, beside a control without a save that
//! runs at the same moment; what depends on a machine that has nothing else to do is asserted by `./dev soak` only.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::changes::measure::{Arrivals, Compared, Reader, delays};
use crate::guests;
use crate::harness::{Dsengine, Running, quantile, root, rss_kib, soak, street, write};

/// Sources beside each other, each at so many frames a second.
const SOURCES: usize = 4;
const FPS: f64 = 30.0;
/// Saves, without those of the burst.
const SAVES: usize = 100;
const SAVES_SOAK: usize = 1000;
/// Every so many-th save is broken on purpose, in turn in each of six ways.
const BROKEN_EVERY: usize = 5;
/// What memory may grow by after the first tenth.
const GROWTH_KIB: u64 = 5 << 10;
const LIMIT: Duration = Duration::from_secs(20);

/// A broken version, by its number, and what its refusal says.
type Broken = fn(usize) -> (Vec<u8>, &'static str);

/// One language's versions.
struct Language {
    file: &'static str,
    /// A version that judges well and counts its calls in the state.
    good: fn(usize) -> Vec<u8>,
    /// Six ways to be broken; the last one is only found out on probation.
    broken: [Broken; 6],
    /// The last version: faults where the state's count is below this.
    expects: fn(u64) -> Vec<u8>,
    /// From the save to the verdict at p99, at most, where the machine has nothing else to do.
    active_ms: u64,
}

const LUA: Language = Language {
    file: "rule.lua",
    good: |n| {
        let text = "function detect(frame)\n  local n = 0\n  for i in frame:select{ label = 'person' } do n = n + 1 end\n  \
                    state.set('calls', (state.get('calls') or 0) + 1)\nend\n";
        format!("-- version {n}\n{text}").into_bytes()
    },
    broken: [
        |n| (format!("-- {n}\nfunction detect(frame)\n  local = {n}\nend\n").into_bytes(), "rule.lua:3: "),
        |n| (format!("-- {n}\nfunction detekt(frame) end\n").into_bytes(), "there is no function detect(frame)"),
        |n| {
            let text = format!("---@since 9.9\n-- {n}\nfunction detect(frame) end\n");
            (text.into_bytes(), "rule.lua:1: the plugin wants API 9.9, this engine offers 0.1")
        },
        |n| (format!("-- {n}\nerror('on purpose')\n").into_bytes(), "rule.lua:2: on purpose"),
        |n| {
            let text = format!("-- {n}\nfunction detect(frame)\n  error('on purpose')\nend\n");
            (text.into_bytes(), "self-test on s0, frame ")
        },
        |n| {
            let text = format!(
                "-- {n}\nlocal seen = 0\nfunction detect(frame)\n  seen += 1\n  if seen > 36 then error('late') end\nend\n"
            );
            (text.into_bytes(), "rule.lua:5: late")
        },
    ],
    expects: |least| {
        format!("function detect(frame) if state.get('calls') < {least} then error(state.get('calls')) end end")
            .into_bytes()
    },
    active_ms: 150,
};

const WASM: Language = Language {
    file: "rule.wasm",
    good: |n| marked(std::fs::read(root().join("plugins/prebuilt/crowd.wasm")).unwrap(), n),
    broken: [
        |n| {
            // A first section of no known kind.
            let mut bytes = marked(guests::good(), n);
            bytes[8] = 0x7f;
            (bytes, "this is no valid component")
        },
        |n| (marked(guests::missing_export(), n), "lacks the function"),
        |n| (marked(guests::wrong_version(), n), "plugin wants dsengine:plugin@0.3, this engine offers 0.1"),
        |n| (marked(guests::refuse(), n), "config.zone is missing"),
        |n| (marked(guests::trap(), n), "self-test on s0, frame "),
        |n| (marked(guests::late(36), n), "judge"),
    ],
    expects: guests::expects_calls,
    active_ms: 300,
};

/// The same component with other bytes: a section of its own at the end that nobody reads.
fn marked(mut component: Vec<u8>, n: usize) -> Vec<u8> {
    let text = format!("\u{4}mark{n:08}");
    component.extend([0, u8::try_from(text.len()).unwrap()]);
    component.extend(text.as_bytes());
    component
}

/// An engine whose judgements are read as they come.
struct Engine {
    run: Running,
    reader: Reader,
    dir: tempfile::TempDir,
}

fn start(language: &Language) -> Engine {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    write(dir, "scene.yaml", &street(3000, 30));
    std::fs::write(dir.join(language.file), (language.good)(0)).unwrap();
    let sources: String =
        (0..SOURCES).map(|i| format!("  - {{ id: s{i}, uri: 'scene:scene.yaml?live=true&pixels=false' }}\n")).collect();
    let config = format!(
        "sources:\n{sources}detection:\n  strategies: [{{ name: rule, module: {}, config: {{ zone: gate, most: 99 }} }}]\n\
         zones: {{ gate: [[0, 0], [1, 0], [1, 1], [0, 1]] }}\n\
         monitoring: {{ prometheus: {{ port: 0 }} }}\nlogging: {{ format: text }}\n",
        language.file
    );
    write(dir, "config.yaml", &config);
    let reader = Reader::start(&dir.join("judged"));
    let args = ["run", "--config", "config.yaml", "--json", "--judgements", "judged"];
    let cache = dir.join("cache").display().to_string();
    let mut run = Dsengine::new(args).cwd(dir).env("XDG_CACHE_HOME", &cache).start();
    run.page();
    reader.more(&["s0"], 3);
    Engine { run, reader, dir: folder }
}

/// Threads and open descriptors of a process.
fn held(pid: u32) -> [usize; 2] {
    ["task", "fd"].map(|what| std::fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count())
}

/// What a run of some time left behind.
struct Story {
    arrivals: Arrivals,
    /// Per source: frames counted as dropped, and why.
    dropped: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The generation that judged a frame.
fn generation(rules: &str) -> u64 {
    let rules: BTreeMap<String, u64> = serde_json::from_str(rules).unwrap();
    rules["rule"]
}

impl Story {
    fn delays(&self) -> Vec<u64> {
        let sources: Vec<&str> = self.arrivals.keys().map(String::as_str).collect();
        delays(&self.arrivals, &sources, FPS)
    }

    fn drops(&self, source: &str) -> u64 {
        self.dropped.get(source).map_or(0, |reasons| reasons.values().sum())
    }

    fn all_drops(&self) -> u64 {
        self.dropped.keys().map(|source| self.drops(source)).sum()
    }

    /// Every frame once, by one generation; a generation that has ended comes back only where its successor was rolled
    /// back to it.
    fn check(&self, rolled_back: &BTreeSet<u64>, saves: usize) {
        assert_eq!(self.arrivals.len(), SOURCES);
        for (source, frames) in &self.arrivals {
            assert!(frames.windows(2).all(|pair| pair[0].seq < pair[1].seq), "{source}: each frame once, in order");
            let missing = frames[frames.len() - 1].seq + 1 - frames[0].seq - frames.len() as u64;
            assert!(missing <= self.drops(source), "{source}: {missing} frames are missing: {:?}", self.dropped);
            let generations: Vec<u64> = frames.iter().map(|frame| generation(&frame.rules)).collect();
            for pair in generations.windows(2).filter(|pair| pair[1] < pair[0]) {
                assert!(rolled_back.contains(&pair[0]), "{source}: generation {} judged after {}", pair[1], pair[0]);
            }
            let seen = generations.into_iter().collect::<BTreeSet<u64>>().len();
            assert!(seen > saves / 10, "{source}: saw {seen} generations");
        }
    }
}

fn finish(engine: Engine) -> Story {
    let Engine { mut run, reader, .. } = engine;
    run.signal("INT");
    assert_eq!(run.end(LIMIT).and_then(|s| s.code()), Some(0), "{}", run.seen.join("\n"));
    let summary =
        run.seen.iter().skip_while(|l| *l != "{").take_while(|l| *l != "}").cloned().collect::<Vec<_>>().join("\n");
    let summary: serde_json::Value = serde_json::from_str(&format!("{summary}}}")).unwrap();
    let sources = summary["sources"].as_array().expect("a summary");
    let dropped = sources.iter().map(|s| {
        let reasons = serde_json::from_value(s["dropped"].clone()).unwrap();
        (s["source"].as_str().unwrap().to_owned(), reasons)
    });
    Story { dropped: dropped.collect(), arrivals: reader.finish() }
}

/// The number after `word=` in a log line.
fn number(line: &str, word: &str) -> u64 {
    let digits = line.split(&format!("{word}=")).nth(1).unwrap_or_else(|| panic!("no {word}: {line}"));
    digits.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// What saves left in the log.
#[derive(Default)]
struct Verdicts {
    /// From each good save to its verdict.
    took_ns: Vec<u64>,
    refused: usize,
    rolled_back: BTreeSet<u64>,
}

impl Verdicts {
    /// A save that is broken in one of six ways: its verdict says how.
    fn broken(&mut self, engine: &mut Engine, path: &Path, (bytes, told): (Vec<u8>, &str), on_probation: bool) {
        std::fs::write(path, bytes).unwrap();
        let word = if on_probation { "rolled back" } else { "not reloaded" };
        let line = engine.run.wait_line(LIMIT, |l| l.contains(word));
        assert!(line.contains(told), "{line}");
        if on_probation {
            self.rolled_back.insert(number(&line, "generation"));
        }
        self.refused += 1;
    }

    fn good(&mut self, engine: &mut Engine, path: &Path, bytes: &[u8]) {
        let saved = Instant::now();
        std::fs::write(path, bytes).unwrap();
        engine.run.wait_line(LIMIT, |l| l.contains("script reloaded"));
        self.took_ns.push(saved.elapsed().as_nanos() as u64);
    }
}

/// Many saves, each with its verdict, one in five of them broken in six ways, and a burst.
fn saves(language: &Language, saves: usize, engine: &mut Engine) -> Verdicts {
    let path = engine.dir.path().join(language.file);
    let (mut rss, mut holds, mut verdicts) = (Vec::new(), Vec::new(), Verdicts::default());
    for save in 1..=saves {
        if save % BROKEN_EVERY == 0 {
            let way = (save / BROKEN_EVERY) % 6;
            verdicts.broken(engine, &path, (language.broken[way])(save), way == 5);
        } else {
            verdicts.good(engine, &path, &(language.good)(save));
        }
        if save % (saves / 10) == 0 {
            rss.push(rss_kib(engine.run.pid()));
            holds.push(held(engine.run.pid()));
        }
    }
    // A burst of saves ends on its last, and what was kept is still there.
    for save in 20_000..20_020 {
        std::fs::write(&path, (language.good)(save)).unwrap();
    }
    // The verdict on one that is broken tells that the burst is over.
    verdicts.broken(engine, &path, (language.broken[0])(30_000), false);
    // Each source has its own count; what is judged by a version on probation that fails is not counted.
    let counts = (0..SOURCES).map(|source| {
        let judged = engine.reader.since(&format!("s{source}"), 0);
        judged.iter().filter(|frame| !verdicts.rolled_back.contains(&generation(&frame.rules))).count() as u64
    });
    let counted = counts.min().unwrap();
    std::fs::write(&path, (language.expects)(counted)).unwrap();
    let line = engine.run.wait_line(LIMIT, |l| l.contains("script reloaded") || l.contains("not reloaded"));
    assert!(line.contains("script reloaded"), "the count of {counted} went on over all reloads: {line}");
    let last = format!("generation={} ", number(&line, "generation"));
    let line = engine.run.wait_line(LIMIT, |l| format!("{l} ").contains(&last) && !l.contains("script reloaded"));
    assert!(line.contains("stays"), "{line}");
    println!(
        "{}: {} good saves, {} refused or rolled back ({}); rss {rss:?} KiB, threads and descriptors {holds:?}, {counted} \
         calls kept",
        language.file,
        verdicts.took_ns.len(),
        verdicts.refused,
        verdicts.rolled_back.len(),
    );
    // The first hundred saves, or what there is of them, are needed to have seen every way to be broken.
    let warm = if soak() { rss[0] } else { *rss[1..4].iter().max().unwrap() };
    // What is free goes back to the system some seconds after the last change; what was lost does not.
    let until = Instant::now() + 3 * LIMIT;
    while rss_kib(engine.run.pid()) > warm + GROWTH_KIB {
        assert!(engine.run.end(Duration::from_millis(100)).is_none(), "{}", engine.run.seen.join("\n"));
        let late = rss_kib(engine.run.pid());
        assert!(Instant::now() < until, "memory grows over reloads: {rss:?}, and stays at {late} KiB");
    }
    assert!(holds[9].iter().zip(holds[1]).all(|(late, early)| *late <= early + 2), "{holds:?}");
    verdicts
}

fn many(language: &Language) {
    let count = if soak() { SAVES_SOAK } else { SAVES };
    let (control, mut engine) = (start(language), start(language));
    let mut verdicts = saves(language, count, &mut engine);
    let (story, control) = (finish(engine), finish(control));
    story.check(&verdicts.rolled_back, count);
    let [usual, active] = [0.5, 0.99].map(|share| quantile(&mut verdicts.took_ns, share) / 1_000_000);
    let compared = Compared::of(story.delays(), control.delays());
    println!(
        "{}: save to verdict p50 {usual} ms, p99 {active} ms; dropped {:?}, the control {:?}; {compared}",
        language.file, story.dropped, control.dropped,
    );
    if soak() {
        assert!(story.all_drops() <= control.all_drops() + SOURCES as u64, "{:?} {:?}", story.dropped, control.dropped);
        assert!(compared.nearly_all(), "{compared}");
        assert!(active <= language.active_ms, "save to verdict p99 {active} ms");
    }
}

#[test]
fn many_saves_of_a_script_lose_no_frame_and_mix_no_generations() {
    many(&LUA);
}

#[test]
fn many_saves_of_a_component_lose_no_frame_and_mix_no_generations() {
    many(&WASM);
}
