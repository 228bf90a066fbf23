//! What a slow disk costs: eight live sources whose rule raises alerts, through a whole engine with its database.
//!
//! `disk_lane` is the 99.9th percentile of a frame's delay on its lane (waiting and judgement) while every fsync takes
//! half a second (`tests/doubles/disk`); "theirs" is the same on the unchanged disk. Turns are taken, and the ratio is
//! the median over the pairs. `disk_handler` is the 99th percentile from a frame's arrival to the handler
//! that gets its alert, on the unchanged disk. No detector runs.
//!
//! Needs a C compiler; skips without one.
#![allow(clippy::print_stdout, reason = "a bench prints its result")]

mod report;
mod setup;

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dsengine::alert::{BoxFuture, DeliveryError, Handler};
use dsengine::engine::{Engine, Judged, Observer, SystemClock};
use dsengine::sqlite::{Keep, SqliteJournal};
use dsengine::types::{Alert, Clock};
use report::Goal;

const PAIRS: usize = 5;
const SOURCES: usize = 8;
const TURN: Duration = Duration::from_secs(15);
const GOAL_MS: f64 = 20.0;
/// Set for the process of a turn: its folder.
const FOLDER: &str = "DISK_BENCH_FOLDER";

/// On one frame of five, as busy as a site gets.
const RULE: &str = "function detect(f)\n  if f.seq % 5 == 0 then\n    f:alert{ rule = 'r', key = tostring(f.seq), \
                    message = 'm' }\n  end\nend\n";
const SCENE: &str = "seed: 1\nduration_s: 3000\nfps: 30\nwidth: 320\nheight: 240\n\
                     camera: { height_m: 4, pitch_deg: 12, focal: 0.9 }\nnoise: 2\n\
                     objects: [{ kind: person, speed_mps: 1.5, path: [[-4, 9], [4, 9]] }]\n";

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return turn(Path::new(&folder));
    }
    let Some(double) = double()? else {
        println!("SKIP disk: there is no cc");
        return Ok(());
    };
    let (mut slow, mut control, mut ratios, mut handler) = (vec![], vec![], vec![], vec![]);
    for pair in 0..PAIRS {
        // Who goes first changes from pair to pair.
        let (with, without) = if pair % 2 == 0 {
            let with = figures(Some(&double))?;
            (with, figures(None)?)
        } else {
            let without = figures(None)?;
            (figures(Some(&double))?, without)
        };
        println!(
            "pair {pair}: lane p99.9 {:.2} and {:.2} ms, to the handler p99 {:.1} and {:.1} ms",
            with.lane_ms, without.lane_ms, with.handler_ms, without.handler_ms
        );
        slow.push(with.lane_ms);
        control.push(without.lane_ms);
        ratios.push(with.lane_ms / without.lane_ms);
        handler.push(without.handler_ms);
    }
    let (ours, theirs, ratio) = (report::median(&mut slow), report::median(&mut control), report::median(&mut ratios));
    let unit = "ms, a frame's delay on its lane, p99.9";
    report::Figure { name: "disk_lane", ours, unit, runs: PAIRS, beside: Some((theirs, ratio)), goal: None }.write()?;
    let ours = report::median(&mut handler);
    let (unit, goal) = ("ms from a frame's arrival to the handler, p99", Some(Goal::AtMost(GOAL_MS)));
    report::Figure { name: "disk_handler", ours, unit, runs: PAIRS, beside: None, goal }.write()
}

/// The preloaded double; `None` without a C compiler.
fn double() -> Result<Option<PathBuf>, Box<dyn Error>> {
    let library = report::folder()?.join("disk.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doubles/disk/disk.c");
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).args(["-ldl", "-lpthread"]);
    match cc.status() {
        Ok(status) if status.success() => Ok(Some(library)),
        Ok(status) => Err(format!("the double is not compiled: {status}").into()),
        Err(_) => Ok(None),
    }
}

/// What a turn came to.
struct Figures {
    lane_ms: f64,
    handler_ms: f64,
}

/// A turn, in a process of its own, with this double before its disk.
fn figures(double: Option<&Path>) -> Result<Figures, Box<dyn Error>> {
    let folder = report::folder()?.canonicalize()?.join("disk");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let mut process = Command::new(std::env::current_exe()?);
    process.env(FOLDER, &folder);
    if let Some(double) = double {
        let delay = [("DISK_SHIM_FSYNC_DELAY_MS", "500")];
        process.env("LD_PRELOAD", double.canonicalize()?).env("DISK_SHIM_DIR", &folder).envs(delay);
    }
    let output = process.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match figures[..] {
        [lane_ms, handler_ms] if output.status.success() => Ok(Figures { lane_ms, handler_ms }),
        _ => Err(format!("that was no honest turn: {text}{}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// One turn: prints its two figures.
fn turn(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::write(folder.join("rule.lua"), RULE)?;
    fs::write(folder.join("scene.yaml"), SCENE)?;
    let at = folder.display();
    let source = |n: usize| format!("{{ id: s{n}, uri: 'scene:{at}/scene.yaml?live=true&pixels=false' }}");
    let sources: Vec<String> = (0..SOURCES).map(source).collect();
    let yaml = format!(
        "sources: [{}]\ndetection: {{ strategies: [{{ name: r, module: '{at}/rule.lua' }}] }}\n\
         alerts: {{ throttle_seconds: 0, min_confidence: 0, burst_threshold: 0, max_alerts_per_minute: 0, \
         handlers: [{{ name: file, config: {{ log_file: '{at}/alerts.jsonl' }} }}] }}\n",
        sources.join(", ")
    );
    let plan = setup::plan("disk", &yaml)?;
    let clock = Arc::new(SystemClock::new());
    let keep = Keep { age: Duration::from_secs(86_400), alerts: 10_000 };
    let journal = SqliteJournal::open(&folder.join("alerts.db"), keep, clock.clone())?;
    let watch = Arc::new(Watch { clock: clock.clone(), seen: Mutex::default() });
    let builder = Engine::builder(plan).clock(clock).journal(Box::new(journal));
    let builder = builder.observer(watch.clone()).handler(watch.clone());
    let engine = builder.start()?;
    engine.handle().wait(TURN);
    let summary = engine.drain(Duration::from_secs(20));
    let seen = watch.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let to_handler = |(frame, at_ns): &(Name, u64)| Some(at_ns.saturating_sub(*seen.arrived.get(frame)?) as f64 / 1e6);
    let mut to_handler: Vec<f64> = seen.handled.iter().filter_map(to_handler).collect();
    let mut lane = seen.lane_ms.clone();
    let expected = SOURCES as u64 * TURN.as_secs() * 15;
    if summary.judged() < expected || to_handler.len() as u64 * 10 < summary.judged() {
        return Err(format!("{} frames judged, {} alerts", summary.judged(), to_handler.len()).into());
    }
    println!("{} {}", quantile(&mut lane, 0.999), quantile(&mut to_handler, 0.99));
    Ok(())
}

/// A frame's source and number.
type Name = (String, u64);

/// Notes when frames come, how long lanes take, and when alerts reach a handler.
struct Watch {
    clock: Arc<SystemClock>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    arrived: HashMap<Name, u64>,
    lane_ms: Vec<f64>,
    handled: Vec<(Name, u64)>,
}

impl Observer for Watch {
    fn judged(&self, judged: &Judged<'_>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.lane_ms.push((judged.waited_ns + judged.lane_ns) as f64 / 1e6);
        seen.arrived.insert((judged.frame.source.as_str().into(), judged.frame.seq), judged.frame.arrived_ns);
    }
}

impl Handler for Watch {
    fn name(&self) -> &str {
        "watch"
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        let now_ns = self.clock.monotonic_ns();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.handled.push(((alert.source.as_str().into(), alert.seq), now_ns));
        Box::pin(async { Ok(()) })
    }
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}
