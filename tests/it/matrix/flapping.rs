//! One source that flaps: the others lose nothing by it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::events::Told;
use super::rig::{Engine, LIMIT, source};
use crate::fault_proxy::{FaultProxy, Protocol};
use crate::harness::{soak, until};
use crate::sources::Camera;

/// Frames in a second of the others.
const FPS: u64 = 25;
const OTHERS: [&str; 3] = ["a", "b", "c"];
/// The flapping source is away for this long, then there for as long.
const HALF: Duration = Duration::from_millis(500);

/// The numbers of the frames of a source that were judged.
fn judged(path: &Path, source: &str) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["source"] == source).map(|line| line["seq"].as_u64().unwrap()).collect()
}

#[test]
fn a_source_that_flaps_every_second_costs_the_other_three_no_frame() {
    const TEST: &str = "matrix::flapping::a_source_that_flaps";
    let args = ["--fps", "10", "--key-frames", "1", "--transport", "tcp"];
    let Some(camera) = Camera::start(TEST, 0, &args) else { return };
    let mut proxy = FaultProxy::start(Protocol::Rtsp, camera.port, 1);
    let seconds = if soak() { 300 } else { 10 };
    let frames = FPS * seconds;
    let mut sources = format!(
        "  - {{ id: flap, uri: 'rtsp://127.0.0.1:{}/cam', retry_delay: 0.1, parameters: {{ protocol: tcp }} }}\n",
        proxy.port
    );
    for id in OTHERS {
        sources += &format!(
            "  - {{ id: {id}, uri: 'test:pattern=ball,frames={frames},fps={FPS},size=160x120', realtime: true }}\n"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let rest = "recovery: { max_retry_delay: 0.3 }";
    let args = ["--judgements", "judged.jsonl"];
    let mut engine = Engine::start_with(dir, &sources, rest, &args);
    // The others' ends are the clock: they play at their own pace.
    let (begun, mut flaps) = (Instant::now(), 0_u32);
    let over = || OTHERS.iter().all(|id| source(&engine.page, id)["state"] == "stopped");
    while !over() {
        assert!(begun.elapsed() < Duration::from_secs(seconds) + LIMIT, "they do not end");
        std::thread::park_timeout((begun + flaps * 2 * HALF + HALF).saturating_duration_since(Instant::now()));
        proxy.refuse();
        std::thread::park_timeout((begun + (flaps + 1) * 2 * HALF).saturating_duration_since(Instant::now()));
        proxy.accept();
        flaps += 1;
    }
    let losses = engine.events.of_source("flap", 0).iter().filter(|told| told.is_loss()).count();
    let delivered = engine.events.of_source("flap", 0).iter().filter(|told| told.is_frame()).count();
    assert!(losses >= 3 && delivered > 0, "it flapped {flaps} times: {losses} losses, {delivered} frames");
    // It is there when it stops to flap.
    let at = engine.events.len();
    until("it delivers again", || engine.events.of_source("flap", at).iter().any(Told::is_frame));
    let mut longest = Duration::ZERO;
    for id in OTHERS {
        let told = engine.events.of_source(id, 0);
        let times: Vec<Instant> = told.iter().filter(|told| told.is_frame()).map(|told| told.at).collect();
        longest = longest.max(times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default());
    }
    println!(
        "matrix: {flaps} flaps, {losses} losses said, {delivered} frames of it; others: longest gap {longest:.1?}"
    );
    if soak() {
        assert!(longest < Duration::from_millis(2 * 1000 / FPS), "a gap of {longest:?}");
    }
    engine.run.signal("INT");
    assert!(engine.run.end(LIMIT).is_some(), "it ends");
    for id in OTHERS {
        let judged = judged(&engine.dir().join("judged.jsonl"), id);
        assert!(judged.iter().copied().eq(0..frames), "{id}: {} of {frames} frames judged", judged.len());
    }
}
