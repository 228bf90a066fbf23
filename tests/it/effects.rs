//! Each configuration key at two values: the real program is started with both, and the difference is seen from
//! outside: in frames, files, requests, pages and `/proc`. The table in `src/config/keys/` names these tests.

mod alerts;
mod blackout;
mod delivery;
mod detection;
mod email;
mod evidence;
mod guests;
mod hours;
mod layers;
mod logging;
mod lost;
mod monitoring;
mod overload;
mod pictures;
mod policy;
mod push;
mod recovery;
mod serving;
mod sources;

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Dsengine, Outcome, Running, root, write};

/// The trace `steps.jsonl` as the one source `a`: a hundred frames, ten per second, a person (0.6) and a car (0.9).
const TRACE: &str = "sources: [{ id: a, uri: 'trace:steps.jsonl' }]\n";
/// A source that goes on until it is stopped.
const LIVE: &str = "sources: [{ id: a, uri: 'test:pattern=red,size=64x64,fps=30' }]\n";
/// The script that raises an alert for whatever it sees.
const ALARM: &str = "detection: { strategies: [{ name: alarm, module: alarm.lua }] }\n";
/// Longest wait for something that takes milliseconds.
const LIMIT: Duration = Duration::from_secs(20);

/// A folder with what the tests share, in which the program runs.
struct Bench {
    dir: tempfile::TempDir,
    configs: Cell<u32>,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap(), configs: Cell::new(0) };
        bench.write(
            "alarm.lua",
            "function detect(frame)\n  for i in frame:select{ zone = config.zone } do\n    frame:alert{ rule = 'seen', \
             key = frame:label(i), detections = { i }, message = 'seen' }\n  end\nend\n",
        );
        bench.write(
            "scene.yaml",
            "seed: 1\nduration_s: 2\nfps: 10\nwidth: 320\nheight: 240\n\
             camera: { height_m: 4, pitch_deg: 12, focal: 0.9 }\nnoise: 2\n\
             objects: [{ kind: person, speed_mps: 1.5, path: [[-4, 9], [4, 9]] }]\n",
        );
        let seen = |label: &str, class: u32, confidence: f64, bbox: [f64; 4]| json!({ "label": label, "class_id": class, "confidence": confidence, "bbox": bbox, "track_id": class + 1 });
        let mut trace =
            json!({ "format": 1, "dsengine": "0", "config_hash": "0", "start_unix_ns": 1_700_000_000_000_000_000_u64 })
                .to_string();
        for seq in 0..100_u64 {
            let detections = [seen("person", 0, 0.6, [0.1, 0.1, 0.2, 0.2]), seen("car", 1, 0.9, [0.7, 0.7, 0.1, 0.1])];
            let frame = json!({ "source": "a", "seq": seq, "pts_ns": seq * 100_000_000, "width": 64, "height": 64,
                "detections": detections });
            trace.push_str(&format!("\n{frame}"));
        }
        bench.write("steps.jsonl", &trace);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        write(self.dir.path(), name, text)
    }

    /// The program with a configuration of its own; `COMMAND --config FILE ARGS`.
    fn command(&self, command: &str, config: &str, args: &[&str]) -> Dsengine {
        self.configs.set(self.configs.get() + 1);
        let name = format!("config-{}.yaml", self.configs.get());
        self.write(&name, config);
        Dsengine::new([&[command, "--config", &name], args].concat()).cwd(self.dir.path())
    }

    /// Runs to the end.
    fn run(&self, config: &str) -> Outcome {
        self.command("run", config, &["--port", "0", "--json"]).run()
    }

    /// The summary of a run that went well.
    #[track_caller]
    fn summary(&self, config: &str) -> Value {
        let out = self.run(config);
        let summary = out.json();
        // Whoever runs it is told that a strategy failed.
        let faults = |strategy: &Value| strategy["faults"].as_u64().unwrap() > 0;
        out.expect(i32::from(summary["strategies"].as_array().unwrap().iter().any(faults)));
        summary
    }

    /// Starts a run on any free port.
    fn start(&self, config: &str) -> Running {
        self.command("run", config, &["--port", "0"]).start()
    }

    /// What `record` writes, without its first line.
    #[track_caller]
    fn record(&self, config: &str) -> Vec<Value> {
        self.command("record", config, &["-o", "recorded.jsonl"]).run().expect(0);
        self.lines("recorded.jsonl").split_off(1)
    }

    /// A file of JSON lines; none where there is no file.
    fn lines(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

/// A model of the tests' own: it detects red, green and blue.
fn model(name: &str) -> String {
    root().join(format!("tests/models/{name}.onnx")).display().to_string()
}

/// The labels of a recorded frame's detections.
fn labels(frame: &Value) -> Vec<&str> {
    frame["detections"].as_array().unwrap().iter().map(|d| d["label"].as_str().unwrap()).collect()
}

/// Asks until there is an answer, while the program runs.
#[track_caller]
fn poll<T>(run: &mut Running, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        let ended = run.end(Duration::from_millis(20));
        assert!(ended.is_none() && Instant::now() < until, "{ended:?}:\n{}", run.seen.join("\n"));
    }
}

/// The shortest of up to three tries; the first under `enough` seconds is taken. A busy machine makes anything take long
/// once, what takes long by itself does so every time.
fn shortest(enough: f64, mut seconds: impl FnMut() -> f64) -> f64 {
    let mut shortest = f64::MAX;
    for _ in 0..3 {
        shortest = seconds().min(shortest);
        if shortest < enough {
            break;
        }
    }
    shortest
}

/// Ends a run by Ctrl-C.
#[track_caller]
fn stop(mut run: Running) -> Vec<String> {
    run.signal("INT");
    let ended = run.end(LIMIT).and_then(|status| status.code());
    assert_eq!(ended, Some(0), "{}", run.seen.join("\n"));
    std::mem::take(&mut run.seen)
}

/// What a receiver does with a request.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// Answers with this status, in HTTP or RTSP.
    Status(u16),
    /// Takes it and says nothing.
    Silence,
}

/// One connection to a receiver.
#[derive(Clone)]
pub(crate) struct Hit {
    at: Instant,
    pub(crate) request: String,
    /// How long the other side held on, where nothing was answered.
    held: Option<Duration>,
}

/// A server on the loopback address that keeps what it gets.
pub(crate) struct Receiver {
    pub(crate) address: String,
    hits: Arc<Mutex<Vec<Hit>>>,
    closed: Arc<AtomicBool>,
}

/// How late a busy machine may notice a request.
const NOTICED_LATE: Duration = Duration::from_millis(300);

impl Receiver {
    pub(crate) fn new(answer: Answer) -> Self {
        Self::at("127.0.0.1:0", answer)
    }

    fn at(address: &str, answer: Answer) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (hits, closed): (Arc<Mutex<Vec<Hit>>>, Arc<AtomicBool>) = Default::default();
        let (log, over) = (Arc::clone(&hits), Arc::clone(&closed));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (log, at) = (Arc::clone(&log), Instant::now());
                std::thread::spawn(move || serve(stream, at, answer, &log));
            }
        });
        Self { address, hits, closed }
    }

    pub(crate) fn hits(&self) -> Vec<Hit> {
        self.hits.lock().unwrap().clone()
    }

    fn times(&self) -> Vec<Instant> {
        let mut at: Vec<Instant> = self.hits().iter().map(|hit| hit.at).collect();
        at.sort();
        at
    }

    /// Times between requests.
    fn gaps(&self) -> Vec<Duration> {
        self.times().windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Times between requests, at most: one that is noticed late makes the next seem early.
    fn longest_gaps(&self) -> Vec<Duration> {
        self.gaps().into_iter().map(|gap| gap + NOTICED_LATE).collect()
    }

    /// The time from the first request to the one so many gaps later, at most. The requests between do not matter to it,
    /// however late they are noticed.
    fn longest(&self, gaps: usize) -> f64 {
        let times = self.times();
        (times[gaps] - times[0] + NOTICED_LATE).as_secs_f64()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(stream: TcpStream, at: Instant, answer: Answer, log: &Mutex<Vec<Hit>>) {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            break;
        }
    }
    let length = request.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let _ = reader.read_exact(&mut body);
    request.push_str(&String::from_utf8_lossy(&body));
    let index = {
        let mut log = log.lock().unwrap();
        log.push(Hit { at, request: request.clone(), held: None });
        log.len() - 1
    };
    match answer {
        Answer::Status(status) => {
            let number = request.lines().find(|line| line.starts_with("CSeq: "));
            let head = match number {
                Some(number) => format!("RTSP/1.0 {status} x\r\n{number}\r\n\r\n"),
                None => format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            };
            let _ = reader.get_mut().write_all(head.as_bytes());
        }
        Answer::Silence => {
            let _ = reader.read_to_end(&mut Vec::new());
            log.lock().unwrap()[index].held = Some(at.elapsed());
        }
    }
}

/// The names of a process's threads.
fn threads(pid: u32) -> Vec<(String, PathBuf)> {
    let tasks = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")).unwrap();
    tasks
        .flatten()
        .filter_map(|task| {
            Some((std::fs::read_to_string(task.path().join("comm")).ok()?.trim().to_owned(), task.path()))
        })
        .collect()
}

/// The number of its inference workers.
fn workers(pid: u32) -> usize {
    threads(pid).iter().filter(|(name, _)| name.starts_with("infer-")).count()
}

/// The cores that a task may run on, as the system writes them.
fn cores(task: &Path) -> String {
    let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
    line.unwrap_or_default().trim().to_owned()
}
