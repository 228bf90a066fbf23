//! What evidence costs: the CPU time of a process that analyses a small stream and keeps a large one, 1280x720 at 25
//! frames and 4 Mbit a second, less that of one that only analyses the small one. All threads; turns taken. The cameras
//! are processes of their own (`tests/doubles/rtsp_server.rs`).
//!
//! `evidence` is the difference in percent of a core. Beside it, in the same turns, what GStreamer alone takes to
//! receive and parse the large stream and to drop it; the ratio is ours to that. Needs the double and an H.264 encoder
//! (`cargo build --release --example rtsp_server`); skips without them.
#![allow(clippy::print_stdout, reason = "a bench prints its result")]

mod report;

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use dsengine::backend::{Backend, Flow, Sink, SourceEvent};
use dsengine::config::{Camera, EvidencePlan, Input, RetryPlan, SourcePlan};
use dsengine::engine::SystemClock;
use dsengine::gst::GstBackend;
use dsengine::types::{SourceId, Unmasked};
use gstreamer as gst;
use gstreamer::prelude::*;
use report::{Figure, Goal};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_secs(15);
/// What is not measured: the start of both streams.
const WARM_UP: Duration = Duration::from_secs(4);
const GOAL_PERCENT: f64 = 1.0;

/// Takes frames and does nothing with them.
struct Nobody;

impl Sink for Nobody {
    fn frame(&self, _: Unmasked) -> Flow {
        Flow::Continue
    }

    fn event(&self, _: &SourceId, _: SourceEvent) {}
}

/// A camera in a process of its own.
struct Double {
    process: Child,
    uri: String,
}

impl Double {
    fn start(args: &[&str]) -> Result<Option<Self>, Box<dyn Error>> {
        let program = std::env::current_exe()?;
        let program = program.parent().and_then(|deps| deps.parent()).map(|root| root.join("examples/rtsp_server"));
        let Some(program) = program.filter(|program| program.exists()) else { return Ok(None) };
        let mut command = Command::new(program);
        let mut process = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        Ok(Some(Self { process, uri: format!("rtsp://127.0.0.1:{}/cam", line.trim()) }))
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        // It is gone already if this fails.
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let small = ["--size", "160x120", "--fps", "5", "--key-frames", "5"];
    let large = ["--size", "1280x720", "--fps", "25", "--key-frames", "50", "--pattern", "snow", "--bitrate", "4000"];
    let (Some(small), Some(large)) = (Double::start(&small)?, Double::start(&large)?) else {
        println!("SKIP evidence: examples/rtsp_server is not built");
        return Ok(());
    };
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let first = round % 2 == 0;
        let one = turn(&small.uri, first.then_some(&*large.uri))?;
        let alone = alone(&large.uri)?;
        let other = turn(&small.uri, (!first).then_some(&*large.uri))?;
        let (kept, bare) = if first { (one, other) } else { (other, one) };
        println!("round {round}: {kept:.2} with evidence, {bare:.2} without; GStreamer alone {alone:.2}");
        ours.push(kept - bare);
        theirs.push(alone);
        ratios.push((kept - bare) / alone);
    }
    let [ours, theirs, ratio] = [&mut ours, &mut theirs, &mut ratios].map(|values| report::median(values));
    let (unit, goal) = ("percent of a core for a stream of 4 Mbit/s", Some(Goal::AtMost(GOAL_PERCENT)));
    Figure { name: "evidence", ours, unit, runs: ROUNDS, beside: Some((theirs, ratio)), goal }.write()
}

/// Percent of a core that GStreamer takes to receive and parse a stream and to drop it.
fn alone(uri: &str) -> Result<f64, Box<dyn Error>> {
    let elements = "protocols=tcp latency=200 ! rtph264depay ! h264parse ! fakesink sync=false";
    let pipeline = gst::parse::launch(&format!("rtspsrc location={uri} {elements}"))?;
    pipeline.set_state(gst::State::Playing)?;
    let percent = percent_of_a_core();
    pipeline.set_state(gst::State::Null)?;
    Ok(percent)
}

/// Percent of a core that this process takes in a turn that begins now.
fn percent_of_a_core() -> f64 {
    pause(WARM_UP);
    let before = cpu_ns();
    pause(TURN);
    (cpu_ns() - before) as f64 / TURN.as_nanos() as f64 * 100.0
}

/// Percent of a core that a process takes which analyses one stream, and keeps another.
fn turn(small: &str, large: Option<&str>) -> Result<f64, Box<dyn Error>> {
    let camera = |uri: &str| Camera::read(uri).map(Box::new).map_err(|(what, _)| what);
    let (second, id) = (Duration::from_secs(1), "cam");
    let retry = RetryPlan {
        max_retries: 5,
        base: second,
        cap: second,
        exponential: true,
        first_frame: 10 * second,
        gap: 5 * second,
    };
    let evidence = large.map(camera).transpose()?.map(|large| EvidencePlan::new(Some(large)));
    let plan = SourcePlan { evidence, ..SourcePlan::new(id, Input::Rtsp(camera(small)?), retry) };
    let mut backend = GstBackend::new(Arc::new(SystemClock::new()))?;
    backend.add_source(&plan, Arc::new(Nobody))?;
    let percent = percent_of_a_core();
    if let Some(kept) = backend.evidence(&id.into()) {
        let status = kept.status();
        let mbit = status.bytes as f64 * 8.0 / 1e6 / status.seconds.max(1e-9);
        println!("  kept: {:.1} s, {:.1} MB, {mbit:.2} Mbit/s", status.seconds, status.bytes as f64 / 1e6);
        if status.seconds < 5.0 {
            return Err("the large stream is not kept".into());
        }
    }
    backend.stop(3 * second);
    Ok(percent)
}

/// Waits; nobody sends.
fn pause(time: Duration) {
    let (sender, receiver) = sync_channel::<()>(0);
    assert_eq!(receiver.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    drop(sender);
}

fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
