//! An engine over the doubles, through what embedders have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dsengine::backend::scene::SceneBackend;
use dsengine::backend::{Offer, Sources};
use dsengine::config::{self, Plan, Request};
use dsengine::engine::status::SourceStatus;
use dsengine::engine::{Engine, EngineApi, Judged, Observer};
use dsengine::types::SourceId;
use parking_lot::{Condvar, Mutex};

use super::doubles::{HARDWARE_FRAMES, Hardware, Mixed, Publishing, SharedPipeline};
use crate::harness::root;
use crate::recorder::Machine;

const MINUTE: Duration = Duration::from_secs(60);

fn load(text: &str) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, format!("{text}monitoring: {{ enabled: false }}\n")).unwrap();
    let request = Request { config: Some(path), working_dir: root(), ..Request::default() };
    config::load(&request).unwrap_or_else(|problems| panic!("{problems:?}")).plan
}

/// The numbers and detections of judged frames, by source.
#[derive(Default)]
struct Seen {
    frames: Mutex<BTreeMap<SourceId, Vec<(u64, usize)>>>,
    changed: Condvar,
}

impl Observer for Seen {
    fn judged(&self, judged: &Judged<'_>) {
        let seen = (judged.frame.seq, judged.frame.detections.len());
        self.frames.lock().entry(judged.frame.source.clone()).or_default().push(seen);
        self.changed.notify_all();
    }
}

impl Seen {
    fn count(&self, source: &str) -> usize {
        self.frames.lock().get(&SourceId::from(source)).map_or(0, Vec::len)
    }

    /// Waits until so many frames of `source` are judged.
    fn wait(&self, source: &str, frames: usize) {
        let (mut seen, id) = (self.frames.lock(), SourceId::from(source));
        let fewer = |seen: &mut BTreeMap<SourceId, Vec<(u64, usize)>>| seen.get(&id).map_or(0, Vec::len) < frames;
        let waited = self.changed.wait_while_for(&mut seen, fewer, MINUTE);
        assert!(!waited.timed_out(), "{source}: {:?} of {frames} frames", seen.get(&id).map(Vec::len));
    }
}

/// A source's status once `done` holds of it.
fn status(engine: &Engine, source: &str, done: impl Fn(&SourceStatus) -> bool) -> SourceStatus {
    let mut last = None;
    for _ in 0..6000 {
        let status = engine.handle().status();
        let found = status.sources.into_iter().find(|s| s.id == source);
        match found {
            Some(found) if done(&found) => return found,
            other => last = other,
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{source} does not come to it: {last:?}");
}

#[test]
fn a_pipeline_that_dies_under_its_sources_costs_the_others_no_frame() {
    let plan = load(
        "sources:\n  - { id: shared-a, uri: test }\n  - { id: shared-b, uri: test }\n\
         \x20 - { id: other, uri: 'scene:street?pixels=false' }\n\
         detection: { strategies: [{ name: motion }] }\n",
    );
    let (seen, kills) = (Arc::new(Seen::default()), Arc::new(Mutex::new(None)));
    let theirs = Arc::clone(&kills);
    let builder = Engine::builder(plan).observer(seen.clone()).backend(move |clock| {
        let (shared, kill) = SharedPipeline::new(Arc::clone(&clock));
        *theirs.lock() = Some(kill);
        Ok(Box::new(Mixed { shared, scenes: SceneBackend::new(clock) }))
    });
    let engine = builder.start().unwrap();
    for source in ["shared-a", "shared-b", "other"] {
        seen.wait(source, 5);
    }
    kills.lock().as_ref().unwrap().send(()).unwrap();
    for source in ["shared-a", "shared-b"] {
        let back = status(&engine, source, |s| s.reconnects == 1 && s.state == "running");
        assert_eq!(back.error, None, "{source}: it runs again");
        seen.wait(source, seen.count(source) + 5);
    }
    seen.wait("other", 300);
    let summary = engine.drain(MINUTE);
    assert_eq!(summary.sources[2].judged, 300);
    assert!(summary.sources[2].dropped.values().all(|n| *n == 0), "{:?}", summary.sources[2].dropped);
    let frames = seen.frames.lock();
    let numbers: Vec<u64> = frames[&"other".into()].iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>(), "each once and in order");
}

#[test]
fn a_source_waits_for_its_publisher_without_being_a_problem() {
    let plan = load("sources: [{ id: door, uri: test }]\ndetection: { strategies: [{ name: motion }] }\n");
    let (seen, clock, leave) = (Arc::new(Seen::default()), Machine::start(), Arc::new(AtomicBool::new(false)));
    let theirs = Arc::clone(&leave);
    let builder = Engine::builder(plan).observer(seen.clone()).clock(clock.clone());
    let engine =
        builder.backend(move |clock| Ok(Box::new(Publishing::new(clock, Arc::clone(&theirs))))).start().unwrap();
    let handle = engine.handle();
    let waiting = |s: &SourceStatus| s.state == "waiting";
    status(&engine, "door", waiting);
    clock.skip(10 * MINUTE);
    std::thread::sleep(Duration::from_millis(200));
    let still = status(&engine, "door", waiting);
    assert_eq!((still.reconnects, still.error), (0, None), "no watchdog runs over one that waits");
    let whole = handle.status();
    assert!(whole.ready && whole.problems.is_empty(), "{:?}", whole.problems);

    assert!(handle.peers("nobody").is_err());
    let offer = |sdp: &str| Offer { sdp: sdp.to_owned(), from: std::net::Ipv4Addr::LOCALHOST.into() };
    assert_eq!(handle.peers("door").unwrap().publish(&offer("v=0")).unwrap().sdp, "answer to v=0");
    status(&engine, "door", |s| s.state == "running");
    seen.wait("door", 5);
    leave.store(true, Ordering::SeqCst);
    assert_eq!(status(&engine, "door", waiting).reconnects, 0);
    handle.peers("door").unwrap().publish(&offer("v=1")).unwrap();
    status(&engine, "door", |s| s.state == "running");
    let summary = engine.drain(MINUTE);
    assert_eq!(summary.sources[0].broken, None);
}

/// Detections in each judged frame of [`Hardware`], and how often anybody looked at its pictures.
fn hardware(detected: bool) -> (Vec<usize>, u64) {
    let plan = load(
        "sources: [{ id: cam, uri: 'test:frames=30' }]\n\
         detection: { strategies: [{ name: street, model_path: models/street.onnx }] }\n",
    );
    let (seen, looks) = (Arc::new(Seen::default()), Arc::new(AtomicU64::new(0)));
    let theirs = Arc::clone(&looks);
    let builder = Engine::builder(plan)
        .observer(seen.clone())
        .backend(move |_| Ok(Box::new(Hardware { sources: Sources::default(), looks: Arc::clone(&theirs), detected })));
    let engine = builder.start().unwrap();
    assert!(engine.handle().wait(MINUTE));
    let summary = engine.drain(MINUTE);
    assert_eq!(summary.sources[0].judged, HARDWARE_FRAMES, "{:?}", summary.sources[0].dropped);
    let frames = seen.frames.lock();
    (frames[&"cam".into()].iter().map(|(_, detections)| *detections).collect(), looks.load(Ordering::SeqCst))
}

#[test]
fn a_frame_that_arrives_detected_is_not_inferred_and_its_picture_is_never_mapped() {
    let (found, looks) = hardware(true);
    assert!(found.iter().all(|n| *n == 1), "the hardware's detection and no other: {found:?}");
    assert_eq!(looks, 0, "nobody looked at a picture");
    let (_, looks) = hardware(false);
    assert!(looks >= HARDWARE_FRAMES, "a model looks at each: {looks}");
}
