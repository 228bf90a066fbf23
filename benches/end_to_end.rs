//! A whole engine (a real clip from its file, yolox_nano, tracker, one Lua rule, alerts into a file; one worker)
//! against a bare loop of the same network: frames per second. The worker has one core, and so has the bare loop; all
//! else of the engine has the other. Turns are taken, and the ratio is the median over the pairs.
//!
//! `end_to_end` is wall time, ours / theirs; other work on the machine is in it. `end_to_end_cpu` is the CPU time per
//! frame of the worker and of the bare loop, theirs / ours; other work is not in it, and neither is waiting.
//!
//! Needs the test data (`DSENGINE_TESTDATA`) and libonnxruntime; skips without them.
#![allow(clippy::print_stdout, reason = "a bench prints its result")]

mod report;
mod setup;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use dsengine::config::Plan;
use dsengine::engine::{Engine, Judged, Observer};
use dsengine::infer::{Choice, Model, Runtime, Search, Worker};
use report::{Figure, Goal};
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Frames of a turn that are timed, after some that are not.
const FRAMES: u64 = 60;
const WARM_UP: u64 = 10;
const PAIRS: usize = 31;
/// Of `end_to_end`.
const GOAL: f64 = 0.97;
/// Longest wait for a turn of the engine.
const TURN_MAX: Duration = Duration::from_secs(120);

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let testdata = std::env::var_os("DSENGINE_TESTDATA").map_or_else(|| root.join("../shared/testdata"), PathBuf::from);
    let clip = testdata.join("clips/vtest-480x360.mp4");
    if !clip.is_file() {
        println!("SKIP end_to_end: no test data at {}", testdata.display());
        return Ok(());
    }
    let search = search(root);
    let runtime = match Runtime::open(Choice::OnnxRuntime, &search) {
        Ok((runtime, reason)) => {
            println!("{reason}");
            runtime
        }
        Err(error) => {
            println!("SKIP end_to_end: {}", error.message());
            return Ok(());
        }
    };
    let plan = setup::plan("end_to_end", &yaml(&testdata, &clip)?)?;
    let Some(cores) = cores()? else {
        println!("SKIP end_to_end: it takes two cores, one for the worker and one for the rest");
        return Ok(());
    };
    let mut bare = Model::load(&plan.models[0], &runtime)?.worker()?;
    pin(None, cores.rest)?;
    let (mut ours, mut theirs, mut ratios) = (vec![], vec![], vec![]);
    let (mut our_cpu, mut their_cpu) = (vec![], vec![]);
    for pair in 0..PAIRS {
        // Who goes first changes from pair to pair.
        let (engine, network) = if pair % 2 == 0 {
            let engine = engine_turn(&plan, &search, cores)?;
            (engine, bare_turn(&mut bare, cores)?)
        } else {
            let network = bare_turn(&mut bare, cores)?;
            (engine_turn(&plan, &search, cores)?, network)
        };
        println!("pair {pair}: engine {engine}, network alone {network}, load {}", load());
        ours.push(engine.fps);
        theirs.push(network.fps);
        ratios.push(engine.fps / network.fps);
        our_cpu.push(engine.cpu_us);
        their_cpu.push(network.cpu_us);
    }
    let (our_cpu, their_cpu) = (report::median(&mut our_cpu), report::median(&mut their_cpu));
    let (unit, beside) = ("us CPU of the worker per frame", Some((their_cpu, their_cpu / our_cpu)));
    Figure { name: "end_to_end_cpu", ours: our_cpu, unit, runs: PAIRS, beside, goal: None }.write()?;
    let (ours, theirs, ratio) = (report::median(&mut ours), report::median(&mut theirs), report::median(&mut ratios));
    let (unit, goal) = ("judged frames per second", Some(Goal::RatioAtLeast(GOAL)));
    Figure { name: "end_to_end", ours, unit, runs: PAIRS, beside: Some((theirs, ratio)), goal }.write()
}

/// Where libonnxruntime is; `./dev` puts it beside the program, which a bench is not.
fn search(root: &Path) -> Search {
    let mut search = Search::of_process(None);
    if search.variable.is_none() {
        let libraries = fs::read_dir(root.join("target/lib/dsengine")).into_iter().flatten();
        let libraries = libraries.filter_map(|entry| Some(entry.ok()?.path()));
        search.variable = libraries.filter(|path| path.to_string_lossy().contains("libonnxruntime.so")).max();
    }
    search
}

fn yaml(testdata: &Path, clip: &Path) -> Result<String, Box<dyn Error>> {
    let models = testdata.join("models").canonicalize()?;
    let (clip, alerts) = (clip.canonicalize()?, report::folder()?.join("alerts.jsonl"));
    Ok(format!(
        "thread_pool_size: 1\n\
         zones: {{ yard: [[0, 0.3], [1, 0.3], [1, 1], [0, 1]] }}\n\
         sources: [{{ id: yard, type: file, uri: '{}' }}]\n\
         detection:\n  confidence_threshold: 0.4\n  strategies:\n\
         \x20   - {{ name: yolox, model_path: '{}', labels_path: '{}' }}\n\
         \x20   - {{ name: intrusion, module: scripts/intrusion.lua, config: {{ zone: yard }} }}\n\
         alerts: {{ throttle_seconds: 1, handlers: [{{ name: file, config: {{ log_file: '{}' }} }}] }}\n",
        clip.display(),
        models.join("yolox_nano_416.onnx").display(),
        models.join("coco.names").display(),
        alerts.display()
    ))
}

#[derive(Clone, Copy)]
struct Cores {
    worker: usize,
    rest: usize,
}

/// Two cores that this process may use.
fn cores() -> Result<Option<Cores>, Box<dyn Error>> {
    let set = sched_getaffinity(None)?;
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu));
    Ok(allowed.next().zip(allowed.next()).map(|(rest, worker)| Cores { worker, rest }))
}

fn pin(thread: Option<Pid>, core: usize) -> Result<(), Box<dyn Error>> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(thread, &set)?)
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// What a turn came to.
struct Turn {
    fps: f64,
    /// Per frame: CPU time of the thread that infers, and how long it was ready while other work had its core.
    cpu_us: f64,
    ready_us: f64,
}

impl Turn {
    fn new(from: Moment, to: Moment) -> Self {
        let frames = FRAMES as f64;
        Self {
            fps: frames / (to.wall_s - from.wall_s),
            cpu_us: (to.cpu_us - from.cpu_us) / frames,
            ready_us: (to.ready_us - from.ready_us) / frames,
        }
    }
}

impl std::fmt::Display for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { fps, cpu_us, ready_us } = self;
        let asleep_us = 1e6 / fps - cpu_us - ready_us;
        write!(f, "{fps:.2} fps ({cpu_us:.0} us CPU, {ready_us:.0} ready, {asleep_us:.0} asleep)")
    }
}

/// Clocks of a thread.
#[derive(Debug, Clone, Copy, Default)]
struct Moment {
    wall_s: f64,
    cpu_us: f64,
    ready_us: f64,
}

impl Moment {
    /// Now, of one of this process's threads.
    fn of(thread: Pid) -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let path = format!("/proc/self/task/{}/schedstat", thread.as_raw_nonzero());
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut us = text.split(' ').map(|ns| ns.trim().parse::<f64>().map_or(f64::NAN, |ns| ns / 1e3));
        let (cpu_us, ready_us) = (us.next().unwrap_or(f64::NAN), us.next().unwrap_or(f64::NAN));
        Self { wall_s: now.tv_sec as f64 + now.tv_nsec as f64 / 1e9, cpu_us, ready_us }
    }
}

fn bare_turn(worker: &mut Worker, cores: Cores) -> Result<Turn, Box<dyn Error>> {
    pin(None, cores.worker)?;
    for _ in 0..WARM_UP {
        worker.run_network()?;
    }
    let from = Moment::of(rustix::thread::gettid());
    for _ in 0..FRAMES {
        worker.run_network()?;
    }
    let turn = Turn::new(from, Moment::of(rustix::thread::gettid()));
    pin(None, cores.rest)?;
    Ok(turn)
}

/// Times the judged frames of one engine.
#[derive(Default)]
struct Stopwatch {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default, Clone)]
struct Seen {
    frames: u64,
    worker: Option<Pid>,
    /// The worker's clocks at the first timed frame and at the last.
    from: Moment,
    to: Option<Moment>,
    detections: usize,
}

impl Observer for Stopwatch {
    fn judged(&self, judged: &Judged<'_>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.frames += 1;
        seen.detections += judged.frame.detections.len();
        let Some(worker) = seen.worker else { return };
        if seen.frames == WARM_UP {
            seen.from = Moment::of(worker);
        } else if seen.frames == WARM_UP + FRAMES {
            seen.to = Some(Moment::of(worker));
            self.changed.notify_all();
        }
    }
}

fn engine_turn(plan: &Plan, search: &Search, cores: Cores) -> Result<Turn, Box<dyn Error>> {
    let watch = Arc::new(Stopwatch::default());
    let observer = Arc::clone(&watch) as Arc<dyn Observer>;
    let engine =
        Engine::builder(plan.clone()).search(search.clone()).runtime(Choice::OnnxRuntime).observer(observer).start()?;
    let worker = named("infer-0").ok_or("the engine has no worker thread")?;
    pin(Some(worker), cores.worker)?;
    let seen = {
        let mut seen = watch.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.worker = Some(worker);
        if seen.frames >= WARM_UP {
            return Err("the worker was pinned too late".into());
        }
        let waited = watch.changed.wait_timeout_while(seen, TURN_MAX, |seen| seen.to.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    };
    let summary = engine.drain(Duration::from_secs(5));
    let source = &summary.sources[0];
    let to = seen.to.ok_or("the engine did not judge enough frames")?;
    if seen.detections == 0 || source.alerts == 0 || !source.dropped.is_empty() {
        return Err(format!("that was no honest turn: {source:?}").into());
    }
    Ok(Turn::new(seen.from, to))
}

/// The thread of this process that is called so.
fn named(name: &str) -> Option<Pid> {
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    let found = tasks
        .filter_map(Result::ok)
        .find(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name))?;
    Pid::from_raw(found.file_name().to_str()?.parse().ok()?)
}
