//! Cameras that detect by themselves: 1,000 of them post ten frames a second each, with 20 tracked objects, and one Lua
//! rule judges all. The program runs in a process of its own; this one is the cameras.
//!
//! `detections_cpu` is the CPU time of the program per second, in cores, the median of five windows; `detections_judge`
//! the 99th percentile of the time in which a frame is judged, as its own histogram has it; `detections_lost` the
//! frames that were sent and not judged; `detections_memory` the most memory that it held; `detections_rate` the frames
//! a second that the cameras got rid of, which shows whether they kept up. `DSENGINE_BENCH_CAMERAS` sets another number
//! of cameras, and the goal of the CPU time follows it.
#![allow(clippy::print_stdout, reason = "a bench prints its result")]
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

mod report;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use report::{Figure, Goal};

const CAMERAS: usize = 1000;
const FPS: u64 = 10;
const OBJECTS: usize = 20;
/// Connections of the cameras: a gateway has few, and the listener takes 256.
const CONNECTIONS: usize = 8;
/// Seconds before the measured ones, and these: so many windows of so many seconds.
const WARM_UP_S: u64 = 3;
const WINDOWS: u64 = 5;
const WINDOW_S: u64 = 4;
/// The kernel's unit of CPU time in `/proc`, a part of a second.
const TICKS_S: f64 = 100.0;
/// Longest wait for the program.
const WAIT_MAX: Duration = Duration::from_secs(60);

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<(), Box<dyn Error>> {
    measure().map_err(|error| error.to_string().into())
}

fn measure() -> Fallible<()> {
    let cameras = std::env::var("DSENGINE_BENCH_CAMERAS").map_or(Ok(CAMERAS), |text| text.parse())?;
    let folder = report::folder().map_err(|error| error.to_string())?;
    let mut program = Program::start(&folder, cameras)?;
    let page = program.page.clone();
    let page = page.as_str();
    let began = Instant::now();
    let share = cameras.div_ceil(CONNECTIONS);
    let ids: Vec<usize> = (0..cameras).collect();
    let (sent, mut cores) = std::thread::scope(|scope| {
        let gateways: Vec<_> =
            ids.chunks(share).map(|own| scope.spawn(move || gateway(page, own, cameras, began))).collect();
        let at = |seconds: u64| {
            until(began + Duration::from_secs(seconds));
            program.cpu_s()
        };
        let (mut cores, mut before_s) = (Vec::new(), at(WARM_UP_S)?);
        for window in 1..=WINDOWS {
            let now_s = at(WARM_UP_S + window * WINDOW_S)?;
            cores.push((now_s - before_s) / WINDOW_S as f64);
            before_s = now_s;
        }
        let sent = gateways.into_iter().map(|gateway| gateway.join().map_err(|_| "a camera panicked")?);
        Ok::<_, Box<dyn Error + Send + Sync>>((sent.sum::<Fallible<u64>>()?, cores))
    })?;
    let took_s = began.elapsed().as_secs_f64();
    let metrics = program.settled(sent)?;
    let judged = sum(&metrics, "dsengine_frames_total");
    println!("{cameras} cameras, {sent} frames in {took_s:.1} s, {judged} judged, {} dropped", dropped(&metrics));
    let mib = program.peak_mib()?;
    program.stop()?;
    let write = |name, ours, unit, goal| {
        let figure = Figure { name, ours, unit, runs: WINDOWS as usize, beside: None, goal: Some(goal) };
        figure.write().map_err(|error| error.to_string())
    };
    let scale = cameras as f64 / CAMERAS as f64;
    write("detections_rate", sent as f64 / took_s, "frames/s", Goal::AtLeast(0.97 * (cameras as u64 * FPS) as f64))?;
    write("detections_cpu", report::median(&mut cores), "cores", Goal::AtMost(1.2 * scale))?;
    write("detections_judge", judge_p99_ms(&metrics), "ms p99", Goal::AtMost(20.0))?;
    write("detections_lost", sent as f64 - judged, "frames", Goal::AtMost(0.0))?;
    write("detections_memory", mib, "MiB", Goal::AtMost(2048.0))?;
    Ok(())
}

/// Posts the frames of some cameras, each at its own time within the period; returns how many.
fn gateway(page: &str, cameras: &[usize], of: usize, began: Instant) -> Fallible<u64> {
    let mut stream = TcpStream::connect(page)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    let (mut body, mut request, mut answer) = (String::new(), Vec::<u8>::new(), vec![0_u8; 4096]);
    let period_ns = 1_000_000_000 / FPS;
    let mut sent = 0;
    for seq in 0..(WARM_UP_S + WINDOWS * WINDOW_S) * FPS {
        for (place, camera) in cameras.iter().enumerate() {
            let phase_ns = period_ns * place as u64 / cameras.len() as u64;
            until(began + Duration::from_nanos(seq * period_ns + phase_ns));
            line(&mut body, *camera as u64, seq)?;
            request.clear();
            write!(
                request,
                "POST /api/v1/sources/cam{camera}/detections HTTP/1.1\r\nHost: {page}\r\nContent-Type: \
                 application/x-ndjson\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )?;
            stream.write_all(&request)?;
            let text = read(&mut stream, &mut answer)?;
            if !text.contains("\"accepted\":1,") {
                return Err(format!("camera {camera} of {of}: {text}").into());
            }
            sent += 1;
        }
    }
    Ok(sent)
}

/// A frame's line: 20 objects with ids of their own, which go round.
fn line(out: &mut String, camera: u64, seq: u64) -> Fallible<()> {
    out.clear();
    write!(
        out,
        "{{\"seq\":{seq},\"pts_ns\":{},\"width\":1920,\"height\":1080,\"detections\":[",
        seq * 1_000_000_000 / FPS
    )?;
    for object in 0..OBJECTS as u64 {
        let turn = (camera * 31 + object * 17 + seq) as f64 / 100.0;
        let (x, y) = (0.45 + 0.4 * turn.cos(), 0.4 + 0.35 * (turn * 1.3).sin());
        let comma = if object == 0 { "" } else { "," };
        write!(
            out,
            "{comma}{{\"label\":\"person\",\"class_id\":0,\"confidence\":0.8125,\"bbox\":[{x:.5},{y:.5},0.05,0.12],\
             \"track_id\":{}}}",
            object + 1
        )?;
    }
    out.push_str("]}\n");
    Ok(())
}

/// An answer as text.
fn read<'a>(stream: &mut TcpStream, buffer: &'a mut [u8]) -> Fallible<&'a str> {
    let mut filled = 0;
    loop {
        let more = stream.read(&mut buffer[filled..])?;
        if more == 0 {
            return Err("the program closed the connection, or said more than it should".into());
        }
        filled += more;
        let text = std::str::from_utf8(&buffer[..filled])?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Ok(std::str::from_utf8(&buffer[..filled])?);
        }
    }
}

fn until(moment: Instant) {
    while let Some(left) = moment.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// The running program. Killed when dropped.
struct Program {
    child: Child,
    page: String,
}

impl Program {
    fn start(folder: &Path, cameras: usize) -> Fallible<Self> {
        let sources: Vec<String> =
            (0..cameras).map(|camera| format!("  - {{ id: cam{camera}, type: detections }}\n")).collect();
        let config = format!(
            "zones: {{ yard: [[0.1, 0.2], [0.6, 0.1], [0.8, 0.5], [0.6, 0.95], [0.1, 0.9]] }}\nsources:\n{}\
             detection: {{ strategies: [{{ name: intrusion, module: '{}', config: {{ zone: yard }} }}] }}\n\
             monitoring: {{ prometheus: {{ port: 0 }} }}\n\
             alerts: {{ handlers: [{{ name: file, config: {{ log_file: '{}' }} }}] }}\n",
            sources.concat(),
            Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/intrusion.lua").display(),
            folder.join("alerts.jsonl").display()
        );
        let file = folder.join("detections.yaml");
        fs::write(&file, config)?;
        let state = folder.join("detections-state");
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_dsengine"))
            .args(["run", "--config"])
            .arg(&file)
            .arg("--state")
            .arg(&state)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no output")?).lines();
        let page =
            lines.find_map(|line| Some(line.ok()?.strip_prefix("page: http://")?.trim_end_matches('/').to_owned()));
        // Output that nobody reads must not hold the program up.
        std::thread::spawn(move || lines.for_each(drop));
        let page = page.ok_or("the program has no page: run it with target/bench/detections.yaml")?;
        Ok(Self { child, page })
    }

    /// CPU time of all its threads.
    fn cpu_s(&self) -> Fallible<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).ok_or("/proc/PID/stat");
        Ok((ticks(11)? + ticks(12)?) / TICKS_S)
    }

    fn peak_mib(&self) -> Fallible<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("/proc/PID/status")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }

    /// The metrics once so many frames are judged, or dropped.
    fn settled(&self, frames: u64) -> Fallible<String> {
        let end = Instant::now() + WAIT_MAX;
        loop {
            let page = self.metrics()?;
            let done = sum(&page, "dsengine_frames_total") + dropped(&page);
            if done >= frames as f64 || Instant::now() > end {
                return Ok(page);
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }

    fn metrics(&self) -> Fallible<String> {
        let mut stream = TcpStream::connect(&self.page)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.page)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    fn stop(&mut self) -> Fallible<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the program ended with {status}").into()) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sum of a metric over its series.
fn sum(page: &str, name: &str) -> f64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix('{')?.rsplit(' ').next()?.parse::<f64>().ok();
    page.lines().filter_map(value).sum()
}

fn dropped(page: &str) -> f64 {
    sum(page, "dsengine_frames_dropped_total")
}

/// The 99th percentile of the judgement over all sources, straight within a bucket.
fn judge_p99_ms(page: &str) -> f64 {
    let mut buckets: BTreeMap<u64, f64> = BTreeMap::new();
    for line in page
        .lines()
        .filter(|line| line.starts_with("dsengine_frame_latency_seconds_bucket{") && line.contains("stage=\"judge\""))
    {
        let bound = line.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("+Inf");
        let bound_us = bound
            .parse::<f64>()
            .map_or(u64::MAX, |bound| if bound.is_finite() { (bound * 1e6) as u64 } else { u64::MAX });
        let count = line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        *buckets.entry(bound_us).or_default() += count;
    }
    let wanted = 0.99 * buckets.get(&u64::MAX).copied().unwrap_or(0.0);
    let (mut low_us, mut below) = (0.0, 0.0);
    for (bound_us, count) in buckets {
        if count >= wanted {
            let share = if count > below { (wanted - below) / (count - below) } else { 0.0 };
            return if bound_us == u64::MAX {
                f64::INFINITY
            } else {
                (low_us + share * (bound_us as f64 - low_us)) / 1e3
            };
        }
        (low_us, below) = (bound_us as f64, count);
    }
    f64::NAN
}
