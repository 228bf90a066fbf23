//! What a component costs per frame, with all limits on, beside CPython in the same run. CPU time of the thread, so that
//! a busy machine matters less.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark talks to its terminal, and stops where it breaks"
)]

mod report;

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use dsengine::guest::{GuestContext, Limits, StateStore, Watchdog};
use dsengine::strategy::{OnFailure, Strategy, View};
use dsengine::track::{Tracker, Tracks};
use dsengine::types::{BBox, Detection, Frame, Point, Polygon, SourceId, Zone};
use dsengine::wasm::{Host, Program};
use report::{Figure, Goal, thread_cpu_us as cpu_us};
use serde_json::json;

const DETECTIONS: usize = 20;
const CORNERS: [(f32, f32); 5] = [(0.1, 0.2), (0.6, 0.1), (0.8, 0.5), (0.6, 0.95), (0.1, 0.9)];

/// The floor: the same decision in CPython on objects built per frame, as a Python engine would hand them over.
const PYTHON: &str = r#"
import time, json
class D:
    __slots__ = ("label", "class_id", "confidence", "x", "y", "width", "height", "track_id")
    def __init__(self, label, class_id, confidence, x, y, width, height, track_id):
        self.label = label; self.class_id = class_id; self.confidence = confidence
        self.x = x; self.y = y; self.width = width; self.height = height; self.track_id = track_id
given = json.loads(input())
rows, corners, calls = [tuple(r) for r in given["rows"]], [tuple(p) for p in given["corners"]], 0
def contains(px, py):
    inside = False; j = len(corners) - 1
    for i in range(len(corners)):
        ax, ay = corners[i]; bx, by = corners[j]
        if (ay > py) != (by > py) and px < (bx - ax) * (py - ay) / (by - ay) + ax: inside = not inside
        j = i
    return inside
def frame():
    global calls
    calls += 1
    ds = [D(*r) for r in rows]
    people = [i for i, d in enumerate(ds) if d.label == "person" and contains(d.x + d.width / 2, d.y + d.height)]
    return [("crowd", "high", "yard", f"{len(people)} people in yard", people)] if len(people) >= 3 else []
runs = []
for _ in range(101):
    t = time.thread_time_ns()
    for _ in range(100): out = frame()
    runs.append((time.thread_time_ns() - t) / 100 / 1000)
runs.sort()
print(json.dumps({"us": runs[len(runs) // 2], "message": out[0][3]}))
"#;

fn median(mut runs: Vec<f64>) -> f64 {
    report::median(&mut runs)
}

fn frame() -> Frame {
    let labels: Vec<Arc<str>> = ["person", "car", "bicycle"].map(Arc::from).to_vec();
    let detections = (0..DETECTIONS).map(|i| {
        let (x, y) = (0.05 + (i % 5) as f32 * 0.18, 0.05 + (i / 5) as f32 * 0.2);
        let class = if i % 3 == 0 { i / 3 % 2 + 1 } else { 0 };
        let confidence = 0.35 + (i * 7 % 10) as f32 * 0.06;
        Detection::new(Arc::clone(&labels[class]), class as u32, confidence, BBox { x, y, width: 0.08, height: 0.15 })
    });
    Frame { width: 1920, height: 1080, detections: detections.collect(), ..Frame::empty("bench", 0) }
}

fn zones() -> Vec<Zone> {
    let points = CORNERS.map(|(x, y)| Point { x, y });
    vec![Zone { name: "yard".into(), polygon: Polygon::new(points.to_vec()).unwrap() }]
}

/// Where the guests of this run live.
struct Place {
    watchdog: Arc<Watchdog>,
    store: StateStore,
}

impl Place {
    fn strategy(&self, program: &Program) -> impl Strategy + use<> {
        let config = Arc::new(json!({ "zone": "yard", "most": 3 }));
        let (source, watchdog) = (Some(SourceId::from("bench")), Arc::clone(&self.watchdog));
        let context = GuestContext::new("bench", source, Limits::wasm(), &self.store, watchdog);
        program
            .strategy(context.with_config(config).with_zones(&zones()), OnFailure::Pass)
            .unwrap_or_else(|e| panic!("{e}"))
    }
}

/// Median over batches of the mean cost of one call, µs; and what its one alert says.
fn call_cost(strategy: &mut impl Strategy, mut frame: Frame) -> (f64, String) {
    let zones = zones();
    let (mut tracker, mut tracks) = (Tracker::default(), Tracks::default());
    tracker.update(0, &mut frame.detections);
    tracks.observe(&frame, &zones);
    let view = View { frame: &frame, tracks: &tracks, zones: &zones };
    let said = strategy.judge(&view).unwrap_or_else(|f| panic!("{f}")).alerts.remove(0).message;
    let mut batch = || {
        let start = cpu_us();
        for _ in 0..100 {
            black_box(strategy.judge(black_box(&view)).unwrap());
        }
        (cpu_us() - start) / 100.0
    };
    (0..20).for_each(|_| _ = batch());
    (median((0..201).map(|_| batch()).collect()), said)
}

fn python(rows: &[Detection]) -> Option<(f64, String)> {
    use std::io::Write as _;
    let rows: Vec<_> = rows
        .iter()
        .map(|d| json!([&*d.label, d.class_id, d.confidence, d.bbox.x, d.bbox.y, d.bbox.width, d.bbox.height, null]))
        .collect();
    let mut child = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .ok()?;
    writeln!(child.stdin.take()?, "{}", json!({ "rows": rows, "corners": CORNERS })).ok()?;
    let out = child.wait_with_output().ok()?;
    let answer: serde_json::Value = serde_json::from_slice(&out.stdout).ok()?;
    Some((answer["us"].as_f64()?, answer["message"].as_str()?.to_owned()))
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let component = std::env::var_os("CROWD_WASM").map_or_else(|| root.join("plugins/prebuilt/crowd.wasm"), Into::into);
    let Ok(bytes) = std::fs::read(&component) else {
        println!("SKIP {} is not there", component.display());
        return;
    };
    let floor = python(&frame().detections);
    if floor.is_none() {
        println!("SKIP the CPython floor: python3 does not run");
    }
    // Beside CPython: ours / theirs.
    let record = |name: &str, ours: f64, theirs: Option<f64>, goal: Option<Goal>, runs: usize| {
        let beside = theirs.map(|theirs| (theirs, ours / theirs));
        Figure { name, ours, unit: "us CPU", runs, beside, goal }.write().unwrap();
    };
    let place = Place { watchdog: Watchdog::start().unwrap(), store: StateStore::default() };
    let host = Host::start(None).unwrap_or_else(|e| panic!("{e}"));
    let compile = |host: &Host| host.compile(&bytes, &Limits::wasm(), "crowd.wasm").unwrap_or_else(|e| panic!("{e}"));
    let program = compile(&host);

    let mut strategy = place.strategy(&program);
    let (cost, said) = call_cost(&mut strategy, frame());
    if let Some((_, theirs)) = &floor {
        assert_eq!(&said, theirs, "both decide the same");
    }
    record("wasm_rust_crowd_20", cost, floor.as_ref().map(|(us, _)| *us), None, 201);

    // `crowd` wants to see people only, 13 of the 20 above; here it is handed all 20.
    let (mut people, person) = (frame(), Arc::from("person"));
    people.detections.iter_mut().for_each(|d| d.label = Arc::clone(&person));
    let (cost, _) = call_cost(&mut place.strategy(&program), people);
    record("wasm_rust_crowd_20_people", cost, None, Some(Goal::AtMost(4.0)), 201);

    let instances = (0..51).map(|_| {
        let start = cpu_us();
        black_box(place.strategy(&program));
        cpu_us() - start
    });
    record("wasm_instance", median(instances.collect()), None, None, 51);

    let folder = root.join("target/bench/wasm-cache");
    let cached = Host::start(Some(folder.clone())).unwrap_or_else(|e| panic!("{e}"));
    compile(&cached);
    let loads = (0..51).map(|_| {
        let start = cpu_us();
        black_box(compile(&cached));
        cpu_us() - start
    });
    record("wasm_load_from_cache", median(loads.collect()), None, None, 51);
}
