//! Sources that come and go leave nothing behind: memory, threads, descriptors, series.

use super::held::Held;
use super::process::Process;
use super::site::{Site, source};
use crate::harness::{request, soak, write};
use crate::sources::Camera;

/// Keeps a state and figures of its own for every source.
const RULE: &str =
    "function detect(frame)\n  state.set('calls', (state.get('calls') or 0) + 1)\n  metrics.add('seen', 1)\nend\n";
/// What may be held more at the end than after the first tenth.
const GROWTH_KIB: u64 = 5 << 10;
/// 22 seconds of the source that stays.
const REST_FRAMES: usize = 22 * 30;

/// An engine with one source that stays.
fn engine() -> Process {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path(), 30);
    site.sources = vec![source("w0", "scene:scene.yaml?pixels=false", ", realtime: true")];
    site.rules.truncate(1);
    write(dir.path(), "rule.lua", RULE);
    let process = Process::start(dir, &site.yaml());
    process.reader.more(&["w0"], 3);
    process
}

/// Adds a source, lets it be judged, and takes it away again, so many times.
///
/// Before anything is counted, `first` of them come and go: what they need once stays.
fn come_and_go(first: usize, times: usize, entry: impl Fn(&str) -> serde_json::Value) {
    let mut process = engine();
    let mut early = None;
    for n in 0..first + times {
        let id = format!("gone{n}");
        let (status, told) = request("POST", &process.page, "/api/v1/sources", &entry(&id).to_string());
        assert!(status < 300, "{status} {told}");
        process.reader.more(&[&id], 3);
        let (status, told) = request("DELETE", &process.page, &format!("/api/v1/sources/{id}"), "");
        assert_eq!(status, 200, "{told}");
        if n + 1 == first + times / 10 {
            early = Some(settled(&mut process, None));
        }
    }
    let late = settled(&mut process, early);
    late.no_more_than(early.unwrap(), GROWTH_KIB);
    let (_, page) = request("GET", &process.page, "/metrics", "");
    let left: Vec<&str> = page.lines().filter(|line| line.contains("\"gone")).collect();
    assert!(left.is_empty(), "series of sources that are gone: {left:?}");
    let (arrivals, _) = process.finish();
    let seqs = arrivals["w0"].iter().map(|frame| frame.seq);
    assert!(seqs.eq(0..arrivals["w0"].len() as u64), "the source that stays lost a frame");
}

/// What it holds at rest: free memory goes back every five seconds for twenty seconds after a change, and the threads
/// that end have ended by then. With a figure of `before`, as soon as it is no more than that.
fn settled(process: &mut Process, before: Option<Held>) -> Held {
    let mut held = Held::by(process.run.pid());
    for _ in 0..REST_FRAMES / 15 {
        if before.is_some_and(|before| held.is_no_more_than(before, GROWTH_KIB)) {
            break;
        }
        process.reader.more(&["w0"], 15);
        held = Held::by(process.run.pid());
    }
    held
}

#[test]
fn scenes_that_come_and_go_leave_nothing_behind() {
    let times = if soak() { 1000 } else { 100 };
    come_and_go(10, times, |id| serde_json::json!({ "id": id, "uri": "scene:scene.yaml?pixels=false&live=true" }));
}

#[test]
fn scenes_with_pictures_that_come_and_go_leave_nothing_behind() {
    let times = if soak() { 300 } else { 60 };
    // Each has a thread of its own, and the allocator as much as that many need.
    come_and_go(50, times, |id| serde_json::json!({ "id": id, "uri": "scene:scene.yaml?live=true" }));
}

#[test]
fn cameras_that_come_and_go_leave_nothing_behind() {
    let test = "changes::cameras_that_come_and_go";
    let Some(camera) = Camera::start(test, 0, &[]) else { return };
    let uri = format!("rtsp://127.0.0.1:{}/cam", camera.port);
    let times = if soak() { 200 } else { 20 };
    come_and_go(10, times, |id| serde_json::json!({ "id": id, "uri": uri }));
}
