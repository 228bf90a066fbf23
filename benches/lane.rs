//! The engine's own cost of a frame: a trace of 20 moving objects that nobody has tracked yet, through a whole engine:
//! tracker, tracks, one zone, `scripts/intrusion.lua`, alert policy as it is by default. No decoding, no model.
//!
//! `lane` is the 99th percentile of the wall time that a lane spends on a frame, as the engine itself tells it
//! (`Judged::lane_ns`), `lane_p50` the median. `lane_cpu` is the 99th percentile of all CPU time of the lane's thread from one frame to the next, taking it
//! from its queue and publishing it included; other work on the machine is not in it.
#![allow(clippy::print_stdout, reason = "a bench prints its result")]

mod report;
mod setup;

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dsengine::backend::trace::{FORMAT, Header, Writer};
use dsengine::engine::{Engine, Judged, Observer};
use dsengine::types::{Alert, BBox, Detection, Frame};
use report::Goal;

const OBJECTS: usize = 20;
const FRAMES: u64 = 6000;
const WARM_UP: usize = 200;
const RUNS: usize = 5;
const GOAL_US: f64 = 50.0;
const FRAME_NS: u64 = 33_333_333;

fn main() -> Result<(), Box<dyn Error>> {
    let trace = report::folder()?.join("lane.jsonl");
    write_trace(&trace)?;
    let plan = setup::plan(
        "lane",
        &format!(
            "zones: {{ yard: [[0.1, 0.2], [0.6, 0.1], [0.8, 0.5], [0.6, 0.95], [0.1, 0.9]] }}\n\
             sources: [{{ id: cam, type: trace, uri: '{}' }}]\n\
             detection: {{ strategies: [{{ name: intrusion, module: scripts/intrusion.lua, config: {{ zone: yard }} }}] }}\n\
             alerts: {{ handlers: [{{ name: file, config: {{ log_file: '{}' }} }}] }}\n",
            trace.display(),
            report::folder()?.join("alerts.jsonl").display()
        ),
    )?;
    let (mut p50, mut p99, mut cpu) = (vec![], vec![], vec![]);
    for _ in 0..RUNS {
        let costs = Arc::new(Costs::default());
        let engine = Engine::builder(plan.clone()).observer(Arc::clone(&costs) as Arc<dyn Observer>).start()?;
        engine.handle().wait(Duration::from_secs(120));
        let summary = engine.drain(Duration::from_secs(5));
        let mut seen = costs.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (judged, alerts) = (summary.judged(), summary.sources[0].alerts);
        if judged != FRAMES || alerts == 0 || seen.tracks_max < OBJECTS as u64 {
            return Err(format!("that was no honest run: {judged} judged, {alerts} alerts").into());
        }
        p50.push(quantile(&mut seen.lane_us, 0.5));
        p99.push(quantile(&mut seen.lane_us, 0.99));
        cpu.push(quantile(&mut seen.cpu_us, 0.99));
        for (alerts, costs) in seen.by_alerts.iter_mut().enumerate().filter(|(_, costs)| !costs.is_empty()) {
            let (frames, p50, p99) = (costs.len(), quantile(costs, 0.5), quantile(costs, 0.99));
            println!("  {frames} frames with {alerts} alerts: p50 {p50:.1}, p99 {p99:.1} us");
        }
        println!(
            "{judged} frames, {alerts} alerts; lane p50 {:.1}, p99 {:.1}, p99.9 {:.1}; CPU p50 {:.1}, p99 {:.1} us",
            quantile(&mut seen.lane_us, 0.5),
            quantile(&mut seen.lane_us, 0.99),
            quantile(&mut seen.lane_us, 0.999),
            quantile(&mut seen.cpu_us, 0.5),
            quantile(&mut seen.cpu_us, 0.99),
        );
    }
    let goal = Some(Goal::AtMost(GOAL_US));
    for (name, mut figures, goal) in [("lane_p50", p50, None), ("lane_cpu", cpu, None), ("lane", p99, goal)] {
        let ours = report::median(&mut figures);
        report::Figure { name, ours, unit: "us per frame", runs: RUNS, beside: None, goal }.write()?;
    }
    Ok(())
}

/// What frames cost.
#[derive(Default)]
struct Costs(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    frames: usize,
    lane_us: Vec<f64>,
    /// Alerts of the frame on the lane, and what frames cost with 0, 1, 2, and more of them.
    alerts: usize,
    by_alerts: [Vec<f64>; 4],
    cpu_us: Vec<f64>,
    last_cpu_us: f64,
    tracks_max: u64,
}

impl Observer for Costs {
    fn alert(&self, _alert: &Alert) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).alerts += 1;
    }

    fn judged(&self, judged: &Judged<'_>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = report::thread_cpu_us();
        let spent = now - seen.last_cpu_us;
        seen.frames += 1;
        let newest = judged.frame.detections.iter().filter_map(|d| d.track_id).max();
        seen.tracks_max = seen.tracks_max.max(newest.unwrap_or(0));
        if seen.frames > WARM_UP {
            let spent_us = judged.lane_ns as f64 / 1e3;
            seen.lane_us.push(spent_us);
            let alerts = std::mem::take(&mut seen.alerts).min(3);
            seen.by_alerts[alerts].push(spent_us);
            seen.cpu_us.push(spent);
        }
        // What this observer itself costs is not counted.
        seen.last_cpu_us = report::thread_cpu_us();
    }
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

/// Objects that walk to and fro at their own speeds, jittering as detections do.
fn write_trace(path: &Path) -> Result<(), Box<dyn Error>> {
    let header = Header {
        format: FORMAT,
        dsengine: env!("CARGO_PKG_VERSION").into(),
        config_hash: String::new(),
        start_unix_ns: 0,
        timezone: None,
    };
    let mut writer = Writer::new(BufWriter::new(File::create(path)?), &header)?;
    let labels: [Arc<str>; 3] = ["person", "car", "bicycle"].map(Arc::from);
    let mut random = fastrand::Rng::with_seed(20);
    for seq in 0..FRAMES {
        let detections = (0..OBJECTS).map(|i| {
            let class = if i % 3 == 0 { i / 3 % 2 + 1 } else { 0 };
            let turn = (seq as f32 * (0.002 + i as f32 * 0.0002) + i as f32 * 0.37) % 2.0;
            let along = if turn < 1.0 { turn } else { 2.0 - turn };
            let mut jitter = || (random.f32() - 0.5) * 0.004;
            let (x, y) = (0.02 + along * 0.85 + jitter(), 0.02 + (i / 2) as f32 * 0.08 + jitter());
            let (width, height) = (0.06 + jitter(), 0.12 + jitter());
            let confidence = 0.55 + (i * 7 % 10) as f32 * 0.04;
            Detection::new(Arc::clone(&labels[class]), class as u32, confidence, BBox { x, y, width, height })
        });
        writer.write(&Frame {
            pts_ns: seq * FRAME_NS,
            width: 1920,
            height: 1080,
            detections: detections.collect(),
            ..Frame::empty("cam", seq)
        })?;
    }
    writer.finish()?;
    Ok(())
}
