//! At more load than the machine can judge: fresh frames, flat memory, every skipped frame counted.

use std::time::Duration;

use crate::harness::{Dsengine, bar, quantile, rss_kib, soak, testdata, write};

/// How long a finite source of so many frames takes with one worker, the start included.
fn seconds(dir: &std::path::Path, model: &str, frames: u64) -> f64 {
    let config = format!(
        "sources: [{{ id: a, type: test, uri: 'test:pattern=smpte,frames={frames},size=640x360' }}]\n\
         thread_pool_size: 1\ndetection: {{ strategies: [{{ name: m, model_path: {model} }}] }}\n\
         monitoring: {{ prometheus: {{ port: 0 }} }}\n"
    );
    write(dir, "capacity.yaml", &config);
    let out = Dsengine::new(["run", "--config", "capacity.yaml", "--json"]).cwd(dir).run().expect(0);
    out.json()["seconds"].as_f64().unwrap()
}

/// Frames that the machine can judge in a second: what more of them take longer, so that the start does not count.
fn capacity(dir: &std::path::Path, model: &str) -> f64 {
    300.0 / (seconds(dir, model, 350) - seconds(dir, model, 50))
}

/// The oldest that a judged live frame may be at p99, in inference periods for each source: asserted where the machine
/// has nothing else to do (`./dev soak`), since what a neighbour takes from it moves the tail.
const AGE_MAX: f64 = 2.0;
/// How much more is offered than the machine can judge. A busy machine may have had a quarter of its time for the measure.
const OVERLOAD: f64 = 2.0;
const OVERLOAD_BUSY: f64 = 8.0;
/// How long the engine is watched, once it has run in.
const WATCHED: Duration = Duration::from_secs(15);
const RUN_IN: Duration = Duration::from_secs(3);

/// What a run under overload left behind.
struct Story {
    judged_per_s: f64,
    p50: f64,
    p99: f64,
}

/// One run: its own claims about memory and counting hold each time.
fn overload(dir: &std::path::Path) -> Story {
    let args = ["run", "--config", "config.yaml", "--json", "--judgements", "judged.jsonl"];
    let mut run = Dsengine::new(args).cwd(dir).start();
    run.page();
    assert!(run.end(RUN_IN).is_none(), "{:?}", run.seen);
    let early = rss_kib(run.pid());
    assert!(run.end(WATCHED).is_none(), "{:?}", run.seen);
    let late = rss_kib(run.pid());
    run.signal("INT");
    assert_eq!(run.end(bar(Duration::from_secs(5))).and_then(|s| s.code()), Some(0));
    assert!(late <= early + 10 * 1024, "memory grows: {early} -> {late} KiB");

    let text = std::fs::read_to_string(dir.join("judged.jsonl")).unwrap();
    let judged: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let mut ages: Vec<u64> =
        judged.iter().map(|j| j["waited_ns"].as_u64().unwrap() + j["lane_ns"].as_u64().unwrap()).collect();
    let joined = run.seen.join("\n");
    let drops = joined.split("\"overload\": ").skip(1).map(|t| {
        let digits = t.split([',', '\n', '}']).next().unwrap_or_default();
        digits.trim().parse::<u64>().unwrap_or_else(|_| panic!("no number of drops: {joined}"))
    });
    let dropped: u64 = drops.sum();
    let least = if soak() { 0.3 } else { 0.0 };
    assert!(dropped as f64 > least * judged.len() as f64, "{dropped} dropped of {} judged", judged.len());

    let judged_per_s = judged.len() as f64 / (RUN_IN + WATCHED).as_secs_f64();
    let mut periods = |share| quantile(&mut ages, share) as f64 / 1e9 * judged_per_s;
    Story { judged_per_s, p50: periods(0.5), p99: periods(0.99) }
}

#[test]
fn judged_frames_stay_fresh_and_skipped_ones_are_counted() {
    let Some(model) = testdata("overload::judged_frames_stay_fresh", "models/yolox_nano_416.onnx") else { return };
    let dir = tempfile::tempdir().unwrap();
    let model = model.canonicalize().unwrap().display().to_string();
    let capacity = capacity(dir.path(), &model);
    // As many sources as it takes, of no more than the 120 frames a second that one may have.
    let offered = capacity * if soak() { OVERLOAD } else { OVERLOAD_BUSY };
    let sources = (offered / 120.0).ceil();
    let fps = (offered / sources).round();
    let offered: String = (0..sources as usize)
        .map(|n| format!("  - {{ id: s{n}, type: test, uri: 'test:pattern=smpte,size=640x360,fps={fps}' }}\n"))
        .collect();
    let config = format!(
        "pipeline: {{ fps: 120 }}\nsources:\n{offered}\
         thread_pool_size: 1\ndetection: {{ strategies: [{{ name: m, model_path: {model} }}] }}\n\
         monitoring: {{ prometheus: {{ port: 0 }} }}\n"
    );
    write(dir.path(), "config.yaml", &config);
    let Story { judged_per_s, p50, p99 } = overload(dir.path());
    println!(
        "overload: {} fps offered, {judged_per_s:.1} judged a second (alone: {capacity:.1}); age p50 {p50:.2}, p99 \
         {p99:.2} periods",
        fps * sources,
    );
    assert!(!soak() || p99 <= AGE_MAX * sources, "age p99 {p99:.2} periods");
}
