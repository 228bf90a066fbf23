//! What a script costs per frame, with all limits on, beside CPython in the same run; and what the engine's own
//! part of a frame costs. CPU time of the thread, so that a busy machine matters less.
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

use dsengine::config::OnFailure;
use dsengine::guest::{GuestContext, Limits, StateStore, Watchdog};
use dsengine::lua::{self, LuaStrategy, Script};
use dsengine::strategy::{Strategy, View, apply};
use dsengine::track::{Tracker, Tracks};
use dsengine::types::{BBox, Colorimetry, Detection, Frame, Matrix, Picture, Point, Polygon, Range, SourceId, Zone};
use dsengine::vision::motion::{Background, MotionSettings};
use report::{Figure, Goal, thread_cpu_us as cpu_us};
use serde_json::json;

const DETECTIONS: usize = 20;
const FRAME_NS: u64 = 33_333_333;

const CURSOR: &str = r#"
local zone = config.zone
function detect(frame)
    local inside = 0
    for i = 1, frame:count() do
        if frame:label(i) == "person" and frame:confidence(i) > 0.5 and frame:in_zone(i, zone) then
            inside += 1
            frame:keep(i)
        end
    end
    if inside >= 3 then
        frame:alert{ rule = "crowd", level = "medium", message = inside .. " people" }
    end
end"#;

const SELECT: &str = r#"
function detect(frame)
    if frame:select{ label = "person", min_confidence = 0.5 }:count() > 30 then
        frame:alert{ rule = "crowd" }
    end
end"#;

const SELECT_ZONE: &str = r#"
local zone = config.zone
function detect(frame)
    local inside = frame:select{ label = "person", min_confidence = 0.5, zone = zone }
    frame:keep(inside)
    if #inside >= 3 then
        frame:alert{ rule = "crowd", level = "medium", message = #inside .. " people" }
    end
end"#;

/// The floor: the same decision in CPython on objects built per frame, as a Python engine would hand them over.
const PYTHON: &str = r#"
import time, json
class D:
    __slots__ = ("label", "class_id", "confidence", "x", "y", "width", "height", "track_id")
    def __init__(self, label, class_id, confidence, x, y, width, height, track_id):
        self.label = label; self.class_id = class_id; self.confidence = confidence
        self.x = x; self.y = y; self.width = width; self.height = height; self.track_id = track_id
POLY = [(0.1, 0.2), (0.6, 0.1), (0.8, 0.5), (0.6, 0.95), (0.1, 0.9)]
def contains(px, py):
    inside = False; j = len(POLY) - 1
    for i in range(len(POLY)):
        ax, ay = POLY[i]; bx, by = POLY[j]
        if (ay > py) != (by > py) and px < (bx - ax) * (py - ay) / (by - ay) + ax: inside = not inside
        j = i
    return inside
rows = [tuple(r) for r in json.loads(input())]
def frame():
    ds = [D(*r) for r in rows]
    kept = []
    for i, d in enumerate(ds):
        if d.label == "person" and d.confidence > 0.5 and contains(d.x + d.width / 2, d.y + d.height): kept.append(i)
    alerts = [("crowd", "medium", f"{len(kept)} people")] if len(kept) >= 3 else []
    return kept, alerts
runs = []
for _ in range(101):
    t = time.thread_time_ns()
    for _ in range(100): out = frame()
    runs.append((time.thread_time_ns() - t) / 100 / 1000)
runs.sort()
print(json.dumps({"us": runs[len(runs) // 2], "kept": out[0]}))
"#;

fn detections(step: u64) -> Vec<Detection> {
    let labels: Vec<Arc<str>> = ["person", "car", "bicycle"].map(Arc::from).to_vec();
    let drift = step as f32 * 0.0005;
    (0..DETECTIONS)
        .map(|i| {
            let (x, y) = (0.05 + (i % 5) as f32 * 0.18 + drift % 0.1, 0.05 + (i / 5) as f32 * 0.2);
            let class = if i % 3 == 0 { i / 3 % 2 + 1 } else { 0 };
            let confidence = 0.35 + (i * 7 % 10) as f32 * 0.06;
            Detection::new(
                Arc::clone(&labels[class]),
                class as u32,
                confidence,
                BBox { x, y, width: 0.08, height: 0.15 },
            )
        })
        .collect()
}

fn frame(seq: u64) -> Frame {
    Frame {
        pts_ns: seq * FRAME_NS,
        width: 1920,
        height: 1080,
        detections: detections(seq),
        ..Frame::empty("bench", seq)
    }
}

fn zones() -> Vec<Zone> {
    let points = [(0.1, 0.2), (0.6, 0.1), (0.8, 0.5), (0.6, 0.95), (0.1, 0.9)].map(|(x, y)| Point { x, y });
    vec![Zone { name: "yard".into(), polygon: Polygon::new(points.to_vec()).unwrap() }]
}

fn script(text: &str, watchdog: &Arc<Watchdog>) -> Script {
    let config = Arc::new(json!({ "zone": "yard", "seconds": 1 }));
    let (state, watchdog) = (StateStore::default(), Arc::clone(watchdog));
    let source = Some(SourceId::from("bench"));
    Script {
        context: GuestContext::new("bench", source, Limits::lua(), &state, watchdog).with_config(config),
        file: "bench.lua".into(),
        text: text.into(),
        class: None,
        roots: vec![],
        on_failure: OnFailure::Pass,
    }
}

fn load(text: &str, watchdog: &Arc<Watchdog>) -> LuaStrategy {
    lua::load(script(text, watchdog)).unwrap_or_else(|e| panic!("{e}"))
}

fn median(mut runs: Vec<f64>) -> f64 {
    report::median(&mut runs)
}

/// Median over batches of the mean cost of one call, µs.
fn call_cost(strategy: &mut dyn Strategy) -> f64 {
    let zones = zones();
    let mut frame = frame(0);
    let (mut tracker, mut tracks) = (Tracker::default(), Tracks::default());
    tracker.update(0, &mut frame.detections);
    tracks.observe(&frame, &zones);
    let view = View { frame: &frame, tracks: &tracks, zones: &zones };
    let batch = |strategy: &mut dyn Strategy| {
        let start = cpu_us();
        for _ in 0..100 {
            black_box(strategy.judge(black_box(&view)).unwrap());
        }
        (cpu_us() - start) / 100.0
    };
    (0..20).for_each(|_| _ = batch(strategy));
    median((0..201).map(|_| batch(strategy)).collect())
}

/// p50 and p99 of the engine's own part of a frame: tracker, tracks, one rule, its verdict.
fn lane_cost(watchdog: &Arc<Watchdog>, rule: &str) -> (f64, f64, f64) {
    let zones = zones();
    let mut strategy = load(rule, watchdog);
    let (mut tracker, mut tracks) = (Tracker::default(), Tracks::default());
    let (mut whole, mut tracking) = (Vec::new(), Vec::new());
    for seq in 0..6000 {
        let mut frame = frame(seq);
        let start = cpu_us();
        tracker.update(frame.pts_ns, &mut frame.detections);
        tracks.observe(&frame, &zones);
        let tracked = cpu_us();
        let verdict = strategy.judge(&View { frame: &frame, tracks: &tracks, zones: &zones }).unwrap();
        black_box(apply(verdict, false, &mut frame.detections).unwrap());
        if seq >= 1000 {
            whole.push(cpu_us() - start);
            tracking.push(tracked - start);
        }
    }
    whole.sort_by(f64::total_cmp);
    (whole[whole.len() / 2], whole[whole.len() * 99 / 100], median(tracking))
}

fn python(rows: &[Detection]) -> Option<(f64, Vec<u32>)> {
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
    writeln!(child.stdin.take()?, "{}", serde_json::to_string(&rows).ok()?).ok()?;
    let out = child.wait_with_output().ok()?;
    let answer: serde_json::Value = serde_json::from_slice(&out.stdout).ok()?;
    let kept = answer["kept"].as_array()?.iter().filter_map(|v| v.as_u64().map(|v| v as u32)).collect();
    Some((answer["us"].as_f64()?, kept))
}

fn motion_cost() -> f64 {
    let mut rng = fastrand::Rng::with_seed(1);
    let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
    let pictures: Vec<_> = (0..4)
        .map(|_| {
            let luma = (0..1920 * 1080).map(|_| 90 + rng.u8(0..8)).collect();
            let chroma = vec![128; 960 * 540];
            Picture::from_i420(1920, 1080, colorimetry, [luma, chroma.clone(), chroma]).unwrap()
        })
        .collect();
    let planes: Vec<_> = pictures.iter().map(|picture| picture.planes().unwrap()).collect();
    let mut background = Background::new(MotionSettings::default());
    let mut runs = Vec::new();
    for n in 0..240u64 {
        let start = cpu_us();
        black_box(background.update(&planes[n as usize % 4], n * FRAME_NS));
        if background.is_warm() {
            runs.push(cpu_us() - start);
        }
    }
    median(runs)
}

fn main() {
    let watchdog = Watchdog::start().unwrap();
    let floor = python(&detections(0));
    if floor.is_none() {
        println!("SKIP the CPython floor: python3 does not run");
    }
    let theirs = floor.as_ref().map(|(us, _)| *us);
    // Beside CPython: ours / theirs.
    let record = |name: &str, ours: f64, theirs: Option<f64>, goal: Option<Goal>, runs: usize| {
        let beside = theirs.map(|theirs| (theirs, ours / theirs));
        Figure { name, ours, unit: "us CPU", runs, beside, goal }.write().unwrap();
    };
    for (name, text, goal) in [
        ("luau_cursor_20", CURSOR, Some(7.0)),
        ("luau_select_20", SELECT, Some(1.5)),
        ("luau_select_zone_keep_alert_20", SELECT_ZONE, None),
    ] {
        let mut strategy = load(text, &watchdog);
        if let (Some((_, kept)), true) = (&floor, text != SELECT) {
            let (frame, zones, tracks) = (frame(0), zones(), Tracks::default());
            let verdict = strategy.judge(&View { frame: &frame, tracks: &tracks, zones: &zones }).unwrap();
            assert_eq!(verdict.keep.as_ref(), Some(kept), "both decide the same");
            assert_eq!(verdict.alerts.len(), 1);
        }
        record(name, call_cost(&mut strategy), theirs, goal.map(Goal::AtMost), 201);
    }
    let rule = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/loitering.lua")).unwrap();
    let (p50, p99, tracking) = lane_cost(&watchdog, &rule);
    record("lane_tracker_zone_rule_p50", p50, None, None, 5000);
    record("lane_tracker_zone_rule_p99", p99, None, None, 5000);
    record("lane_tracker_and_tracks", tracking, None, None, 5000);
    let loads = (0..51).map(|_| {
        let start = cpu_us();
        black_box(load(&rule, &watchdog));
        cpu_us() - start
    });
    record("luau_load", median(loads.collect()), None, None, 51);
    record("motion_1080p_i420", motion_cost(), None, None, 200);
}
