//! Scenes behind the Backend seam: exactly once and in order, shared thread, pacing, prompt end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by failing")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use dsengine::backend::scene::SceneBackend;
use dsengine::backend::{Backend, Flow, Sink, SourceEvent, SourceState};
use dsengine::config::{Input, RetryPlan, SourcePlan};
use dsengine::scene::Scene;
use dsengine::types::{Blackout, Clock, Frame, SourceId, Unmasked};

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that stands unless it is moved.
#[derive(Default)]
struct Standing(AtomicU64);

impl Clock for Standing {
    fn monotonic_ns(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn unix_ns(&self) -> u64 {
        1_700_000_000_000_000_000 + self.monotonic_ns()
    }
}

enum Seen {
    Frame(Frame, ThreadId),
    Event(SourceId, SourceEvent),
}

/// Hands everything on through a bounded channel: a full one makes `frame` wait, as a finite source's inlet does.
/// Its events wait too, which a real sink's never do: leave room where a test adds sources while others play.
struct Tap(Sender<Seen>);

impl Sink for Tap {
    fn frame(&self, frame: Unmasked) -> Flow {
        let frame = frame.mask(&Blackout::default());
        match self.0.send(Seen::Frame(frame, std::thread::current().id())) {
            Ok(()) => Flow::Continue,
            Err(_) => Flow::Stop,
        }
    }

    fn event(&self, source: &SourceId, event: SourceEvent) {
        // The receiver of a test that is over is gone.
        let _ = self.0.send(Seen::Event(source.clone(), event));
    }
}

fn tap(capacity: usize) -> (Arc<dyn Sink>, Receiver<Seen>) {
    let (sender, receiver) = bounded(capacity);
    (Arc::new(Tap(sender)), receiver)
}

fn plan(id: &str, name: &str, pixels: bool, live: bool) -> SourcePlan {
    let second = Duration::from_secs(1);
    let retry =
        RetryPlan { max_retries: 0, base: second, cap: second, exponential: true, first_frame: second, gap: second };
    SourcePlan::new(id, Input::Scene { name: name.into(), pixels, seed: None, live }, retry)
}

#[derive(Default)]
struct Log {
    frames: Vec<(Frame, ThreadId)>,
    events: Vec<String>,
    dropped: BTreeMap<&'static str, u64>,
}

/// Collects per source until `ends` sources have ended.
fn collect(seen: &Receiver<Seen>, ends: usize) -> BTreeMap<String, Log> {
    collect_until(seen, ends, |event| matches!(event, SourceEvent::Ended))
}

/// Collects per source until `last` was true of `ends` events.
fn collect_until(seen: &Receiver<Seen>, ends: usize, last: impl Fn(&SourceEvent) -> bool) -> BTreeMap<String, Log> {
    let mut logs: BTreeMap<String, Log> = BTreeMap::new();
    let mut ended = 0;
    while ended < ends {
        match seen.recv_timeout(PATIENCE).expect("sources come to their end") {
            Seen::Frame(frame, thread) => {
                logs.entry(frame.source.to_string()).or_default().frames.push((frame, thread));
            }
            Seen::Event(source, event) => {
                let log = logs.entry(source.to_string()).or_default();
                ended += usize::from(last(&event));
                match event {
                    SourceEvent::State(state) => log.events.push(state.as_str().into()),
                    SourceEvent::Ended => log.events.push("ended".into()),
                    SourceEvent::Dropped { reason, count } => *log.dropped.entry(reason).or_default() += count,
                    other => log.events.push(format!("{other:?}")),
                }
            }
        }
    }
    logs
}

#[test]
fn a_scene_with_pixels_delivers_every_frame_once_and_in_order() {
    let mut backend = SceneBackend::new(Arc::new(Standing::default()));
    let (sink, seen) = tap(2);
    backend.add_source(&plan("cam", "empty", true, false), sink).unwrap();
    let log = collect(&seen, 1).remove("cam").unwrap();
    let scene = Scene::load("empty").unwrap();
    assert_eq!(log.frames.len() as u64, scene.frames());
    for (i, (frame, _)) in log.frames.iter().enumerate() {
        assert_eq!((frame.seq, frame.pts_ns), (i as u64, scene.pts_ns(i as u64)));
        assert!(frame.picture.is_some() && !frame.tracked && frame.detections.is_empty());
    }
    assert_eq!(log.events, ["connecting", "running", "stopped", "ended"]);
}

#[test]
fn detections_only_sources_share_one_thread_and_arrive_tracked_without_pixels() {
    let mut backend = SceneBackend::new(Arc::new(Standing::default()));
    let (sink, seen) = tap(10_000);
    for i in 0..5 {
        backend.add_source(&plan(&format!("cam{i}"), "street", false, false), sink.clone()).unwrap();
    }
    let logs = collect(&seen, 5);
    let scene = Scene::load("street").unwrap();
    let threads: std::collections::BTreeSet<String> =
        logs.values().flat_map(|l| &l.frames).map(|(_, t)| format!("{t:?}")).collect();
    assert_eq!(threads.len(), 1);
    assert_eq!(logs.len(), 5);
    for log in logs.values() {
        assert_eq!(log.frames.len() as u64, scene.frames());
        assert!(log.frames.iter().enumerate().all(|(i, (f, _))| f.seq == i as u64 && f.tracked && f.picture.is_none()));
        assert_eq!(log.frames[150].0.detections, scene.detections(150));
        assert_eq!(log.events, ["connecting", "running", "stopped", "ended"]);
    }
}

#[test]
fn every_and_fps_thin_a_scene_out_and_what_fps_drops_is_counted() {
    let mut backend = SceneBackend::new(Arc::new(Standing::default()));
    let (sink, seen) = tap(10_000);
    let thinned = SourcePlan { every: 5, ..plan("every", "street", false, false) };
    let limited = SourcePlan { fps: Some(5.0), ..plan("fps", "street", false, false) };
    backend.add_source(&thinned, sink.clone()).unwrap();
    backend.add_source(&limited, sink).unwrap();
    let logs = collect(&seen, 2);
    let seqs = |name: &str| logs[name].frames.iter().map(|(f, _)| f.seq).collect::<Vec<_>>();
    assert_eq!(seqs("every"), (0..300).step_by(5).collect::<Vec<_>>());
    assert!(logs["every"].dropped.is_empty());
    assert_eq!(seqs("fps").len(), 100);
    assert_eq!(logs["fps"].dropped, BTreeMap::from([("fps", 200)]));
}

#[test]
fn a_live_scene_follows_the_clock_and_counts_what_came_too_late() {
    let clock = Arc::new(Standing::default());
    clock.0.store(5_000_000_000, Ordering::SeqCst);
    let mut backend = SceneBackend::new(clock.clone());
    let (sink, seen) = tap(64);
    backend.add_source(&plan("cam", "street", false, true), sink).unwrap();
    let next = || loop {
        if let Seen::Frame(frame, _) = seen.recv_timeout(PATIENCE).unwrap() {
            break frame;
        }
    };
    let first = next();
    assert_eq!((first.seq, first.pts_ns), (0, 5_000_000_000));
    // While the clock stands, nothing more is due.
    assert!(seen.recv_timeout(Duration::from_millis(250)).is_err());
    // Two seconds pass at once: frame 30 is the newest, 1 to 29 are late.
    clock.0.store(7_000_000_000, Ordering::SeqCst);
    match seen.recv_timeout(PATIENCE).unwrap() {
        Seen::Event(_, SourceEvent::Dropped { reason: "late", count: 29 }) => {}
        _ => panic!("the late frames are counted first"),
    }
    let second = next();
    assert_eq!((second.seq, second.pts_ns, second.arrived_ns), (30, 7_000_000_000, 7_000_000_000));
    assert_eq!(second.captured_unix_ns, 1_700_000_007_000_000_000);
}

#[test]
fn a_scene_that_repeats_goes_on_with_new_objects_on_the_same_paths() {
    let mut backend = SceneBackend::new(Arc::new(Standing::default()));
    let (sink, seen) = tap(2);
    let endless = SourcePlan { repeat: true, ..plan("cam", "street", false, false) };
    backend.add_source(&endless, sink).unwrap();
    let scene = Scene::load("street").unwrap();
    let mut frames = Vec::new();
    while frames.len() as u64 <= 2 * scene.frames() + 150 {
        if let Seen::Frame(frame, _) = seen.recv_timeout(PATIENCE).unwrap() {
            frames.push(frame);
        }
    }
    assert!(frames.iter().zip(0..).all(|(f, i)| (f.seq, f.pts_ns) == (i, scene.pts_ns(i))));
    let at = |round: u64| &frames[(round * scene.frames()) as usize + 150].detections;
    let boxes = |round: u64| at(round).iter().map(|d| d.bbox).collect::<Vec<_>>();
    assert!(!boxes(0).is_empty() && boxes(0) == boxes(1) && boxes(1) == boxes(2));
    let ids: std::collections::BTreeSet<_> = (0..3).flat_map(|round| at(round).iter().map(|d| d.track_id)).collect();
    assert_eq!(ids.len(), 3 * at(0).len(), "an object of another round is another object");
    // Nobody takes what it still delivers.
    drop(seen);
    backend.remove_source(&endless.id, Duration::from_secs(3));
}

#[test]
fn a_removed_source_delivers_nothing_more_and_its_name_is_free_again() {
    for pixels in [true, false] {
        let mut backend = SceneBackend::new(Arc::new(Standing::default()));
        let (sink, seen) = tap(100_000);
        let live = plan("cam", "empty", pixels, true);
        backend.add_source(&live, sink.clone()).unwrap();
        assert!(backend.add_source(&live, sink.clone()).is_err(), "the name is taken");
        backend.remove_source(&"cam".into(), Duration::from_secs(3));
        backend.remove_source(&"nobody".into(), Duration::from_secs(3));
        let stopped = |event: &SourceEvent| matches!(event, SourceEvent::State(SourceState::Stopped));
        let log = collect_until(&seen, 1, stopped).remove("cam").unwrap();
        assert_eq!(log.events.last().unwrap(), "stopped");
        backend.add_source(&plan("cam", "empty", pixels, false), sink).unwrap();
        let log = collect(&seen, 1).remove("cam").unwrap();
        assert!(log.frames.len() as u64 >= Scene::load("empty").unwrap().frames());
        backend.stop(Duration::from_secs(1));
    }
}

#[test]
fn stopping_ends_all_threads_though_nobody_takes_frames_any_more() {
    let mut backend = SceneBackend::new(Arc::new(Standing::default()));
    let (sink, seen) = tap(1);
    let waiting = plan("cam", "street", true, false);
    backend.add_source(&waiting, sink).unwrap();
    // The sink is full and its thread waits in it; the engine lets go of its end first, then stops the backend.
    assert!(matches!(seen.recv_timeout(PATIENCE).unwrap(), Seen::Event(..)));
    drop(seen);
    backend.stop(Duration::from_secs(10));
}

#[test]
fn a_scene_that_does_not_exist_is_known_at_once() {
    let mut backend = SceneBackend::new(Arc::new(Standing::default()));
    let (sink, _seen) = tap(4);
    let error = backend.add_source(&plan("cam", "nowhere", true, false), sink.clone()).unwrap_err();
    assert_eq!(error.code().as_str(), "E0201");
    let file = SourcePlan { input: Input::File("x.mp4".into()), ..plan("cam", "street", true, false) };
    assert!(backend.add_source(&file, sink).is_err());
}
