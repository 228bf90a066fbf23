//! `dsengine plugin bench`: measures a strategy's calls with limits on, compared with its budget.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dsengine::backend::trace::Reader;
use dsengine::config::Plan;
use dsengine::engine::SystemClock;
use dsengine::error::{Code, Error};
use dsengine::guest::Limits;
use dsengine::strategy::{View, apply};
use dsengine::track::Tracks;
use dsengine::types::{BBox, Clock as _, Detection, Frame, Point, Polygon, Zone};
use serde_json::json;

use super::module::{Language, Module, Role, given, guests};
use crate::cli::exit::{Exit, failed, refused};
use crate::cli::test::sample;

/// Detections per generated frame.
const DETECTIONS: usize = 20;
/// Maximum frames, generated or from a trace, that are judged in a cycle.
const FRAMES_MAX: usize = 2000;
/// Frame time between two frames.
const FRAME_NS: u64 = 40_000_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A strategy's folder, script or component
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// Judge the frames of this recording; without one, made-up frames of 20 detections
    #[arg(long, value_name = "TRACE")]
    frames: Option<PathBuf>,
    /// How many calls are measured
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(10..))]
    calls: u32,
    /// Take settings, limits and grants from this configuration; without one, settings are those of its first test
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Exit {
    let plan = match given(&args.path, args.config.as_deref()) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let frames = match args.frames.as_deref().map(recorded).transpose() {
        Ok(frames) => frames.unwrap_or_else(made_up),
        Err(error) => return refused(&error),
    };
    match measure(args, plan.as_ref(), frames) {
        Ok(figures) => {
            figures.print(args.json);
            if figures.faults == 0 { Exit::Fine } else { Exit::Failed }
        }
        Err(error) => failed(&error),
    }
}

/// The measurements; times in nanoseconds.
struct Figures {
    name: String,
    calls: usize,
    detections: f64,
    load: u64,
    p50: u64,
    p99: u64,
    max: u64,
    soft: u64,
    hard: u64,
    alerts: usize,
    faults: usize,
    last_fault: Option<String>,
    memory: Option<usize>,
}

fn measure(args: &Args, plan: Option<&Plan>, frames: Vec<Frame>) -> Result<Figures, Error> {
    let module = Module::find(&args.path)?;
    let sample = if plan.is_none() { sample(&module.path) } else { None };
    let Role::Strategy(role) = module.role(plan, sample.as_ref())? else {
        return Err(Error::new(Code::Plugin, format!("{} is a handler: it waits for others", module.name()))
            .hint("`dsengine test` runs a handler with answers made up"));
    };
    if frames.is_empty() {
        return Err(Error::new(Code::Trace, "the recording has no frames"));
    }
    let zones: Vec<Zone> = match (plan.and_then(|p| p.sources.first()), &sample) {
        (Some(source), _) => source.zones.to_vec(),
        (None, Some(sample)) => sample.zones.clone(),
        (None, None) => left_half(),
    };
    let clock = SystemClock::new();
    let (guests, _runtime) = guests()?;
    guests.set_zones(&frames[0].source, &zones);
    let started = clock.monotonic_ns();
    let mut strategy = guests.strategy(&role, &module.bytes, &Arc::default())?.rehearsal(&frames[0].source)?;
    let load = clock.monotonic_ns() - started;
    let mut tracks = Tracks::default();
    let mut times: Vec<u64> = Vec::with_capacity(args.calls as usize);
    let (mut alerts, mut faults, mut last_fault, mut seen) = (0, 0, None, 0);
    // The first calls include cache misses and lazy initialisation.
    let warm = args.calls as usize / 10;
    let span = frames.last().map_or(0, |f| f.pts_ns) + FRAME_NS;
    for call in 0..args.calls as usize + warm {
        let (round, index) = (call / frames.len(), call % frames.len());
        let mut frame = frames[index].clone();
        frame.seq = call as u64;
        frame.pts_ns += round as u64 * span;
        tracks.observe(&frame, &zones);
        let view = View { frame: &frame, tracks: &tracks, zones: &zones };
        let before = clock.monotonic_ns();
        let verdict = strategy.judge(&view);
        let spent = clock.monotonic_ns() - before;
        let applied = verdict.and_then(|verdict| apply(verdict, true, &mut frame.detections.clone()));
        if call < warm {
            continue;
        }
        times.push(spent);
        seen += frame.detections.len();
        match applied {
            Ok(applied) => alerts += applied.raised.len(),
            Err(fault) => {
                faults += 1;
                last_fault = Some(fault.to_string());
            }
        }
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() as f64 - 1.0) * share).round() as usize];
    let defaults = if module.language == Language::Lua { Limits::lua() } else { Limits::wasm() };
    let limits = defaults.with(&role.limits).under(&module.manifest.limits);
    let nanos = |d: std::time::Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    Ok(Figures {
        name: module.name(),
        calls: times.len(),
        detections: seen as f64 / times.len() as f64,
        load,
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
        soft: nanos(limits.call.soft_cpu),
        hard: nanos(limits.call.hard_cpu),
        alerts,
        faults,
        last_fault,
        memory: strategy.health().map(|health| health.memory_bytes),
    })
}

impl Figures {
    fn print(&self, json: bool) {
        if json {
            println!(
                "{:#}",
                json!({
                    "name": self.name, "calls": self.calls, "detections": self.detections, "load_ns": self.load,
                    "p50_ns": self.p50, "p99_ns": self.p99, "max_ns": self.max,
                    "budget_soft_ns": self.soft, "budget_hard_ns": self.hard,
                    "alerts": self.alerts, "faults": self.faults, "last_fault": self.last_fault,
                    "memory_bytes": self.memory,
                })
            );
            return;
        }
        let share = self.p99 as f64 / self.soft.max(1) as f64 * 100.0;
        println!("{}: {} calls, {:.0} detections a frame, limits on", self.name, self.calls, self.detections);
        println!("p50     {:>12}", time(self.p50));
        println!("p99     {:>12}   {share:.1} % of the soft budget", time(self.p99));
        println!("most    {:>12}", time(self.max));
        println!("budget  {:>12}   soft: slower calls are counted", time(self.soft));
        println!("        {:>12}   hard: slower calls are stopped", time(self.hard));
        println!("load    {:>12}   read, compiled, set up", time(self.load));
        if let Some(bytes) = self.memory {
            println!("memory  {:>8} KiB", bytes / 1024);
        }
        println!("alerts  {}, faults {}", self.alerts, self.faults);
        if let Some(fault) = &self.last_fault {
            println!("the last fault: {fault}");
        }
    }
}

fn time(nanos: u64) -> String {
    match nanos {
        0..1_000_000 => format!("{:.1} µs", nanos as f64 / 1e3),
        _ => format!("{:.2} ms", nanos as f64 / 1e6),
    }
}

/// A zone over the left half, for rules that need one called `gate`.
fn left_half() -> Vec<Zone> {
    let corners = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)].map(|(x, y)| Point { x, y });
    Polygon::new(corners.to_vec()).map(|polygon| Zone { name: "gate".into(), polygon }).into_iter().collect()
}

/// Generated frames with people and cars that cross the picture.
fn made_up() -> Vec<Frame> {
    let frame = |seq: usize| {
        let detections = (0..DETECTIONS).map(|i| {
            let x = (i as f32 * 0.047 + seq as f32 * 0.002) % 0.9;
            let y = 0.1 + (i as f32 * 0.13) % 0.6;
            let (label, class_id): (Arc<str>, u32) = if i % 3 == 0 { ("car".into(), 2) } else { ("person".into(), 0) };
            let bbox = BBox { x, y, width: 0.06, height: 0.18 };
            let confidence = 0.4 + (i as f32 * 0.07) % 0.6;
            Detection { track_id: Some(i as u64 + 1), ..Detection::new(label, class_id, confidence, bbox) }
        });
        Frame {
            pts_ns: seq as u64 * FRAME_NS,
            width: 1920,
            height: 1080,
            detections: detections.collect(),
            tracked: true,
            ..Frame::empty("bench", seq as u64)
        }
    };
    (0..250).map(frame).collect()
}

fn recorded(path: &Path) -> Result<Vec<Frame>, Error> {
    let mut reader = Reader::open(path)?;
    let mut frames: Vec<Frame> = Vec::new();
    while let Some(record) = reader.next_record()? {
        // Only one source: an instance never judges two.
        if frames.first().is_none_or(|first| first.source == record.source) && frames.len() < FRAMES_MAX {
            frames.push(record.into_frame(0));
        }
    }
    Ok(frames)
}
