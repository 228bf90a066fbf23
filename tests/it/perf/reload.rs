//! Scripts and components replaced while they judge: every save has its verdict, every frame one generation, no frame is
//! lost, what is kept goes on.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::guests;
use crate::harness::{Dsengine, Pauses, Running, quantile, root, rss_kib, write};

/// Sources beside each other, each at so many frames a second.
const SOURCES: usize = 4;
const FPS: f64 = 30.0;
/// Saves, without those of the burst.
const SAVES: usize = 1000;
/// Every so many-th save is broken on purpose, in turn in each of six ways.
const BROKEN_EVERY: usize = 5;
/// How often a pair of runs is tried: a live source on a busy machine loses frames with and without saves, and a reload
/// that cost frames would do so every time.
const PAIRS_MAX: usize = 3;
/// What saves may add to the lane's delay at p99.9: one frame.
const FRAME_NS: u64 = 33_333_333;
/// Share of frames that a stall of the whole machine may cost one run and not the other: one in a thousand.
const STALLS: f64 = 0.001;
const LIMIT: Duration = Duration::from_secs(20);

/// The shipped street at 30 frames a second, for longer than any test runs.
fn scene() -> String {
    let street = std::fs::read_to_string(root().join("scenes/street.yaml")).unwrap();
    street.replace("duration_s: 20", "duration_s: 3000").replace("fps: 15", "fps: 30")
}

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
    /// From the save to the verdict at p99, at most, on the reference machine.
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

fn start(dir: &Path, language: &Language) -> Running {
    write(dir, "scene.yaml", &scene());
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
    let args = ["run", "--config", "config.yaml", "--json", "--judgements", "judged.jsonl"];
    let mut run = Dsengine::new(args).cwd(dir).env("XDG_CACHE_HOME", &dir.join("cache").display().to_string()).start();
    run.page();
    run
}

/// Threads and open descriptors of a process.
fn held(pid: u32) -> [usize; 2] {
    ["task", "fd"].map(|what| std::fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count())
}

/// Some arithmetic that takes this long on the reference machine, a core of an EPYC of 2024.
const REFERENCE: Duration = Duration::from_millis(42);

/// How many times slower than the reference machine this one is at the moment, at least 1.
fn slowness() -> f64 {
    let work = || {
        let (start, mut x) = (Instant::now(), 0x9e37_79b9_7f4a_7c15_u64);
        for n in 0..20_000_000_u64 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x = x.wrapping_add(n);
        }
        std::hint::black_box(x);
        start.elapsed()
    };
    let took = (0..5).map(|_| work()).min().unwrap();
    (took.as_secs_f64() / REFERENCE.as_secs_f64()).max(1.0)
}

/// What a run of some time left behind.
struct Story {
    /// Per source, in order: (seq, generation, delay of the lane in ns).
    judged: BTreeMap<String, Vec<(u64, u64, u64)>>,
    /// Per source: frames counted as dropped, and why.
    dropped: BTreeMap<String, BTreeMap<String, u64>>,
    /// How long the machine stood still, each time.
    pauses: Vec<Duration>,
}

impl Story {
    /// Frames that live sources leave out while the machine stands still.
    fn paused_frames(&self) -> f64 {
        self.pauses.iter().sum::<Duration>().as_secs_f64() * FPS * SOURCES as f64
    }

    /// The lane's delay at p99.9, less the pauses: the longest ones held up the frames that waited longest.
    fn delay(&self) -> u64 {
        let mut delays: Vec<u64> = self.judged.values().flatten().map(|f| f.2).collect();
        delays.sort_unstable();
        let mut pauses: Vec<u64> = self.pauses.iter().map(|pause| pause.as_nanos() as u64).collect();
        pauses.sort_unstable();
        for (held_up, pause) in delays.rchunks_mut(SOURCES).zip(pauses.into_iter().rev()) {
            held_up.iter_mut().for_each(|delay| *delay = delay.saturating_sub(pause));
        }
        quantile(&mut delays, 0.999)
    }

    fn drops(&self, source: &str) -> u64 {
        self.dropped.get(source).map_or(0, |reasons| reasons.values().sum())
    }

    fn all_drops(&self) -> u64 {
        self.dropped.keys().map(|source| self.drops(source)).sum()
    }

    fn frames(&self) -> u64 {
        self.judged.values().map(|frames| frames.len() as u64).sum()
    }

    /// Every frame once, by one generation; a generation that has ended comes back only where its successor was rolled
    /// back to it.
    fn check(&self, rolled_back: &BTreeSet<u64>) {
        assert_eq!(self.judged.len(), SOURCES);
        for (source, frames) in &self.judged {
            let seqs: BTreeSet<u64> = frames.iter().map(|f| f.0).collect();
            assert_eq!(seqs.len(), frames.len(), "{source}: a frame was judged twice");
            let (first, last) = (frames[0].0, frames[frames.len() - 1].0);
            let missing = last - first + 1 - frames.len() as u64;
            assert!(missing <= self.drops(source), "{source}: {missing} frames are missing: {:?}", self.dropped);
            for pair in frames.windows(2).filter(|pair| pair[1].1 < pair[0].1) {
                let (from, to) = (pair[0].1, pair[1].1);
                assert!(rolled_back.contains(&from), "{source}: generation {to} judged after {from}");
            }
            let generations: BTreeSet<u64> = frames.iter().map(|f| f.1).collect();
            assert!(generations.len() > 100, "{source}: saw {} generations", generations.len());
        }
        assert!(self.all_drops() * 4 <= self.frames(), "most frames have to be judged: {:?}", self.dropped);
    }
}

fn finish(mut run: Running, path: &Path, pauses: Vec<Duration>) -> Story {
    run.signal("INT");
    assert_eq!(run.end(Duration::from_secs(10)).and_then(|s| s.code()), Some(0), "{}", run.seen.join("\n"));
    let mut judged: BTreeMap<String, Vec<(u64, u64, u64)>> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let number = |v: &serde_json::Value| v.as_u64().unwrap();
        let delay = number(&line["waited_ns"]) + number(&line["lane_ns"]);
        let entry = (number(&line["seq"]), number(&line["generations"]["rule"]), delay);
        judged.entry(line["source"].as_str().unwrap().to_owned()).or_default().push(entry);
    }
    let summary =
        run.seen.iter().skip_while(|l| *l != "{").take_while(|l| *l != "}").cloned().collect::<Vec<_>>().join("\n");
    let summary: serde_json::Value = serde_json::from_str(&format!("{summary}}}")).unwrap();
    let sources = summary["sources"].as_array().expect("a summary");
    let dropped = sources.iter().map(|s| {
        let reasons = serde_json::from_value(s["dropped"].clone()).unwrap();
        (s["source"].as_str().unwrap().to_owned(), reasons)
    });
    Story { judged, dropped: dropped.collect(), pauses }
}

/// The number after `word=` in a log line.
fn number(line: &str, word: &str) -> u64 {
    let digits = line.split(&format!("{word}=")).nth(1).unwrap_or_else(|| panic!("no {word}: {line}"));
    digits.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// A thousand saves, each with its verdict, two hundred of them broken in six ways, and a burst.
fn saves(language: &Language, pair: usize) -> (Story, Duration, u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(language.file);
    let log = dir.path().join("judged.jsonl");
    let mut run = start(dir.path(), language);
    let (pauses, started) = (Pauses::watch(), Instant::now());
    let (mut rss, mut holds) = (Vec::new(), Vec::new());
    let (mut took, mut refused, mut rolled_back) = (Vec::new(), 0, BTreeSet::new());
    for save in 1..=SAVES {
        if save % BROKEN_EVERY == 0 {
            let (bytes, told) = (language.broken[(save / BROKEN_EVERY) % 6])(save);
            std::fs::write(&path, bytes).unwrap();
            let on_probation = (save / BROKEN_EVERY) % 6 == 5;
            let word = if on_probation { "rolled back" } else { "not reloaded" };
            let line = run.wait_line(LIMIT, |l| l.contains(word));
            assert!(line.contains(told), "{line}");
            if on_probation {
                rolled_back.insert(number(&line, "generation"));
            }
            refused += 1;
        } else {
            let bytes = (language.good)(save);
            let saved = Instant::now();
            std::fs::write(&path, bytes).unwrap();
            run.wait_line(LIMIT, |l| l.contains("script reloaded"));
            took.push(pauses.elapsed(saved).as_nanos() as u64);
        }
        if save % 100 == 0 {
            rss.push(rss_kib(run.pid()));
            holds.push(held(run.pid()));
        }
    }
    // A burst of saves ends on its last, and what was kept is still there.
    for save in 2000..2020 {
        std::fs::write(&path, (language.good)(save)).unwrap();
    }
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let counted = text.lines().filter(|line| line.contains("\"source\":\"s0\"")).count() as u64;
    // The file is written in blocks, and frames that were judged by versions on probation are not counted.
    std::fs::write(&path, (language.expects)(counted * 3 / 5)).unwrap();
    let last = run.wait_line(LIMIT, |l| {
        l.contains("the new version stays") || l.contains("rolled back") || l.contains("not reloaded")
    });
    assert!(last.contains("stays"), "the count went on over all reloads: {last}");
    let lasted = started.elapsed();
    let story = finish(run, &log, pauses.each_within(started, Instant::now()));
    println!(
        "{} {pair}: {} good saves, {refused} refused or rolled back ({}), save to verdict p50 {} ms p99 {} ms; rss {rss:?} KiB, \
         threads and descriptors {holds:?}, at least {} calls kept",
        language.file,
        took.len(),
        rolled_back.len(),
        quantile(&mut took, 0.5) / 1_000_000,
        quantile(&mut took, 0.99) / 1_000_000,
        counted * 3 / 5,
    );
    assert!(rss[9] <= rss[2] + 8 * 1024, "memory grows over reloads: {rss:?} KiB");
    assert!(holds[9].iter().zip(holds[1]).all(|(late, early)| *late <= early + 2), "{holds:?}");
    story.check(&rolled_back);
    (story, lasted, quantile(&mut took, 0.99) / 1_000_000)
}

/// Some of the same time without a save.
fn control(language: &Language, lasted: Duration) -> Story {
    let quiet = tempfile::tempdir().unwrap();
    let mut control = start(quiet.path(), language);
    let (pauses, started) = (Pauses::watch(), Instant::now());
    assert!(control.end(lasted.min(Duration::from_secs(60))).is_none());
    let pauses = pauses.each_within(started, Instant::now());
    finish(control, &quiet.path().join("judged.jsonl"), pauses)
}

fn a_thousand(language: &Language) {
    // Each bar has to be reached in one of the pairs: what a reload costs, it would cost in every one.
    let (mut equal, mut prompt, mut active) = (false, false, false);
    for pair in 1.. {
        let (story, lasted, active_ms) = saves(language, pair);
        let slowness = slowness();
        let control = control(language, lasted);
        let (with, without) = (story.delay(), control.delay());
        println!(
            "{} {pair}: dropped {} of {} {:?}, in the control run {} of {} {:?}; lane delay p99.9 {:.2} ms against {:.2} ms; \
             the machine stood still for {:?}, {:?} in the control run, and is {slowness:.2} times slower than the reference",
            language.file,
            story.all_drops(),
            story.frames(),
            story.dropped,
            control.all_drops(),
            control.frames(),
            control.dropped,
            with as f64 / 1e6,
            without as f64 / 1e6,
            story.pauses.iter().sum::<Duration>(),
            control.pauses.iter().sum::<Duration>(),
        );
        let share = control.all_drops() as f64 / control.frames() as f64;
        equal |= story.all_drops() as f64 <= (share + STALLS) * story.frames() as f64 + story.paused_frames();
        prompt |= with.saturating_sub(without) <= FRAME_NS;
        active |= active_ms as f64 <= language.active_ms as f64 * slowness;
        if equal && prompt && active {
            return;
        }
        assert!(
            pair < PAIRS_MAX,
            "drops equal the control's: {equal}; at most one frame later at p99.9: {prompt}; active in time: {active}"
        );
    }
}

#[test]
fn a_thousand_saves_of_a_script_lose_no_frame_and_mix_no_generations() {
    a_thousand(&LUA);
}

#[test]
fn a_thousand_saves_of_a_component_lose_no_frame_and_mix_no_generations() {
    a_thousand(&WASM);
}
