//! Scripts edited while they judge: every save has its verdict, every frame one generation, no frame is lost.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{Dsengine, Running, quantile, root, rss_kib, write};

/// Sources beside each other, each at 30 frames a second.
const SOURCES: usize = 4;
/// Every so many-th save is broken on purpose.
const BROKEN_EVERY: usize = 5;

/// The shipped street at 30 frames a second, for longer than any test runs.
fn scene() -> String {
    let street = std::fs::read_to_string(root().join("scenes/street.yaml")).unwrap();
    street.replace("duration_s: 20", "duration_s: 3000").replace("fps: 15", "fps: 30")
}

fn script(version: usize) -> String {
    format!(
        "-- version {version}\nfunction detect(frame)\n  local n = 0\n\
         \x20 for i in frame:select{{ label = 'person' }} do n = n + 1 end\n\
         \x20 state.set('calls', (state.get('calls') or 0) + 1)\nend\n"
    )
}

fn start(dir: &Path, judgements: &str) -> Running {
    write(dir, "scene.yaml", &scene());
    write(dir, "rule.lua", &script(0));
    let sources: String =
        (0..SOURCES).map(|i| format!("  - {{ id: s{i}, uri: 'scene:scene.yaml?live=true&pixels=false' }}\n")).collect();
    let config = format!(
        "sources:\n{sources}detection:\n  strategies: [{{ name: rule, module: rule.lua }}]\n\
         monitoring: {{ prometheus: {{ port: 0 }} }}\nlogging: {{ format: text }}\n"
    );
    write(dir, "config.yaml", &config);
    let mut run =
        Dsengine::new(["run", "--config", "config.yaml", "--json", "--judgements", judgements]).cwd(dir).start();
    run.page();
    run
}

/// What a run of some time left behind.
struct Story {
    /// Per source, in order: (seq, generation, delay of the lane in ns).
    judged: BTreeMap<String, Vec<(u64, u64, u64)>>,
    /// Per source: frames counted as dropped, and why.
    dropped: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Story {
    fn drops(&self, source: &str) -> u64 {
        self.dropped.get(source).map_or(0, |reasons| reasons.values().sum())
    }

    fn all_drops(&self) -> u64 {
        self.dropped.keys().map(|source| self.drops(source)).sum()
    }

    fn frames(&self) -> u64 {
        self.judged.values().map(|frames| frames.len() as u64).sum()
    }
}

fn finish(mut run: Running, path: &Path) -> Story {
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
    let dropped = dropped.collect();
    Story { judged, dropped }
}

/// How often a pair of runs is tried: a live source on a busy machine loses frames with and without saves, and a reload
/// that cost frames would do so every time.
const PAIRS_MAX: usize = 3;
/// What saves may add to the lane's delay at p99.9: one frame.
const FRAME_NS: u64 = 33_333_333;

/// A thousand saves, each with its verdict, and a burst.
fn saves(pair: usize) -> (Story, Duration) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("judged.jsonl");
    let mut run = start(dir.path(), "judged.jsonl");
    let started = Instant::now();
    let limit = Duration::from_secs(10);
    let mut rss = Vec::new();
    let (mut took, mut good) = (Vec::new(), 0);
    for save in 1..=1000 {
        let saved = Instant::now();
        if save % BROKEN_EVERY == 0 {
            // The broken line is the third; the message has to say so.
            let text = format!("-- version {save}\nfunction detect(frame)\n  local = {save}\nend\n");
            std::fs::write(dir.path().join("rule.lua"), text).unwrap();
            let line = run.wait_line(limit, |l| l.contains("not reloaded"));
            assert!(line.contains("rule.lua:3:"), "{line}");
        } else {
            std::fs::write(dir.path().join("rule.lua"), script(save)).unwrap();
            run.wait_line(limit, |l| l.contains("script reloaded"));
            good += 1;
            took.push(saved.elapsed().as_nanos() as u64);
        }
        if save % 100 == 0 {
            rss.push(rss_kib(run.pid()));
        }
    }
    // A burst of saves ends on its last.
    for save in 2000..2020 {
        std::fs::write(dir.path().join("rule.lua"), script(save)).unwrap();
    }
    std::fs::write(dir.path().join("rule.lua"), "function detect(frame) log.info('the last of the burst') end")
        .unwrap();
    run.wait_line(limit, |l| l.contains("the last of the burst"));
    let lasted = started.elapsed();
    let story = finish(run, &log);
    println!(
        "reload {pair}: {good} good saves, save to verdict p50 {} ms p99 {} ms; rss {rss:?} KiB",
        quantile(&mut took, 0.5) / 1_000_000,
        quantile(&mut took, 0.99) / 1_000_000,
    );
    assert!(rss[9] <= rss[1] + 8 * 1024, "memory grows over reloads: {rss:?} KiB");
    assert_eq!(story.judged.len(), SOURCES);
    for (source, frames) in &story.judged {
        let seqs: BTreeSet<u64> = frames.iter().map(|f| f.0).collect();
        assert_eq!(seqs.len(), frames.len(), "{source}: a frame was judged twice");
        let (first, last) = (frames[0].0, frames[frames.len() - 1].0);
        let missing = last - first + 1 - frames.len() as u64;
        assert!(missing <= story.drops(source), "{source}: {missing} frames are missing: {:?}", story.dropped);
        assert!(frames.windows(2).all(|w| w[0].1 <= w[1].1), "{source}: an older generation judged after a newer one");
        let generations: BTreeSet<u64> = frames.iter().map(|f| f.1).collect();
        assert!(generations.len() > 100, "{source}: saw {} generations", generations.len());
    }
    assert!(story.all_drops() * 4 <= story.frames(), "most frames have to be judged: {:?}", story.dropped);
    (story, lasted)
}

/// The same time without a save.
fn control(lasted: Duration) -> Story {
    let quiet = tempfile::tempdir().unwrap();
    let mut control = start(quiet.path(), "judged.jsonl");
    assert!(control.end(lasted).is_none());
    finish(control, &quiet.path().join("judged.jsonl"))
}

#[test]
fn a_thousand_saves_under_four_running_sources_lose_no_frame_and_mix_no_generations() {
    for pair in 1.. {
        let (story, lasted) = saves(pair);
        let control = control(lasted);
        let delay = |story: &Story| {
            let mut delays: Vec<u64> = story.judged.values().flatten().map(|f| f.2).collect();
            quantile(&mut delays, 0.999)
        };
        let (with, without) = (delay(&story), delay(&control));
        println!(
            "reload {pair}: dropped {} of {} {:?}, in the control run {} of {} {:?}; lane delay p99.9 {:.2} ms against {:.2} ms",
            story.all_drops(),
            story.frames(),
            story.dropped,
            control.all_drops(),
            control.frames(),
            control.dropped,
            with as f64 / 1e6,
            without as f64 / 1e6,
        );
        let (equal, prompt) = (story.all_drops() <= control.all_drops(), with.saturating_sub(without) <= FRAME_NS);
        if equal && prompt {
            return;
        }
        assert!(pair < PAIRS_MAX, "drops equal the control's: {equal}; at most one frame later at p99.9: {prompt}");
    }
}
