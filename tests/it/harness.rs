//! Starting the real binary and looking at it from outside.
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Most output lines kept waiting for a test to read them; more would mean a runaway.
const LINES_MAX: usize = 200_000;

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the shared test data, or a loud skip.
pub(crate) fn testdata(test: &str, name: &str) -> Option<PathBuf> {
    let base = std::env::var_os("DSENGINE_TESTDATA").map_or_else(|| root().join("../shared/testdata"), PathBuf::from);
    let path = base.join(name);
    if path.exists() {
        return Some(path);
    }
    skip(test, &format!("{name} is not in the test data"));
    None
}

/// Whether the long versions of tests are asked for, and what a quiet machine keeps (`./dev soak`).
pub(crate) fn soak() -> bool {
    std::env::var_os("DSENGINE_TEST_SOAK").is_some_and(|value| value == "1")
}

/// How long something may take that takes at most `quiet` where the machine has nothing else to do: that long in
/// `./dev soak`, and longer in `./dev test`, where others' work must not be told as the engine's.
pub(crate) fn bar(quiet: Duration) -> Duration {
    if soak() { quiet } else { BUSY * quiet }
}

/// How much longer things may take on a busy machine.
const BUSY: u32 = 6;

/// Says that a test did not run, and why; `./dev test` lists it.
pub(crate) fn skip(test: &str, reason: &str) {
    println!("SKIP {test}: {reason}");
}

/// A command about to be started.
pub(crate) struct Dsengine {
    command: Command,
}

/// What a command left behind.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Its exit code; a signal's death is none.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {:?}\n{}", self.status, self.stderr))
    }

    /// Asserts the exit code, showing everything when it differs.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The JSON that `--json` printed.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

impl Dsengine {
    /// The binary with these arguments, in the repository's root, without any `DSENGINE_…` of the caller.
    pub(crate) fn new<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(args: I) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dsengine"));
        command.args(args).current_dir(root()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars() {
            let is_ours = name.starts_with("DSENGINE_") || name.starts_with("PYDS_");
            if is_ours && name != "DSENGINE_TEST_MUTATE" {
                command.env_remove(name);
            }
        }
        command.env("NO_COLOR", "1");
        // Not the user's.
        command.env_remove("STATE_DIRECTORY").env("XDG_STATE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/state"));
        Self { command }
    }

    pub(crate) fn cwd(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it by another program, which gets the binary and its arguments after its own.
    pub(crate) fn by(mut self, program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).arg(self.command.get_program()).args(self.command.get_args());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(dir) = self.command.get_current_dir() {
            command.current_dir(dir);
        }
        self.command = command;
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Outcome {
        let output = self.command.output().unwrap();
        Outcome {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts it and goes on.
    pub(crate) fn start(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        let (sender, lines) = sync_channel(LINES_MAX);
        let out = read(0, child.stdout.take().unwrap(), sender.clone());
        let err = read(1, child.stderr.take().unwrap(), sender);
        Running { child, lines, seen: Vec::new(), outputs: Vec::new(), waited: [0; 2], readers: vec![out, err] }
    }
}

fn read(
    output: usize,
    pipe: impl Read + Send + 'static,
    sender: SyncSender<(usize, String)>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = sender.try_send((output, line));
        }
    })
}

/// A started command. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<(usize, String)>,
    pub(crate) seen: Vec<String>,
    /// Which output each seen line came from.
    outputs: Vec<usize>,
    /// For each output: how far into `seen` its lines have been waited for.
    waited: [usize; 2],
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line (of either output) that `wanted` accepts; panics with everything seen after `limit`. What comes
    /// before it on its own output is passed over. Two pipes have no order between them: the other output's lines stay.
    #[track_caller]
    pub(crate) fn wait_line(&mut self, limit: Duration, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + limit;
        let mut at = self.waited[0].min(self.waited[1]);
        loop {
            while let Some(line) = self.seen.get(at) {
                at += 1;
                let waited = &mut self.waited[self.outputs[at - 1]];
                if at > *waited && wanted(line) {
                    *waited = at;
                    return line.clone();
                }
            }
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.keep(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no such line; seen:\n{}", self.seen.join("\n"));
                }
            }
        }
    }

    fn keep(&mut self, (output, line): (usize, String)) {
        self.seen.push(line);
        self.outputs.push(output);
    }

    /// The address of the page it printed.
    #[track_caller]
    pub(crate) fn page(&mut self) -> String {
        let line = self.wait_line(Duration::from_secs(20), |l| l.starts_with("page: "));
        line.trim_start_matches("page: http://").trim_end_matches('/').to_owned()
    }

    /// Sends a signal by name (`INT`, `TERM`, `STOP` …).
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for the end; `None` when it is still there after `limit`.
    pub(crate) fn end(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                for reader in self.readers.drain(..) {
                    let _ = reader.join();
                }
                while let Ok(line) = self.lines.try_recv() {
                    self.keep(line);
                }
                return Some(status);
            }
            if Instant::now() >= until {
                return None;
            }
            // Output that nobody reads must not hold the process up.
            if let Ok(line) = self.lines.recv_timeout(Duration::from_millis(5)) {
                self.keep(line);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port at which nobody listens, and which nobody else gets while this lives: the near end of a connection.
pub(crate) struct ClosedPort {
    pub(crate) port: u16,
    // The far end goes first and keeps the wait after a close at its own port; this one is free at once.
    _far: TcpStream,
    _near: TcpStream,
}

impl ClosedPort {
    pub(crate) fn take() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        Self { port: near.local_addr().unwrap().port(), _far: far, _near: near }
    }
}

/// Sends a signal to any process.
pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
}

/// Resident memory of a process in KiB.
pub(crate) fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// An HTTP GET on loopback: status and body.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    request("GET", address, path, "")
}

/// An HTTP POST without a body on loopback: status and body.
pub(crate) fn post(address: &str, path: &str) -> (u16, String) {
    request("POST", address, path, "")
}

/// An HTTP request on loopback, with a body of JSON where there is one: status and body.
pub(crate) fn request(method: &str, address: &str, path: &str, body: &str) -> (u16, String) {
    use std::io::Write as _;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{kind}");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// The value of a sample on a metrics page: the first line that starts with `series`.
pub(crate) fn sample(page: &str, series: &str) -> Option<f64> {
    page.lines().find(|l| l.starts_with(series)).and_then(|l| l.rsplit(' ').next()).and_then(|v| v.parse().ok())
}

/// The value at `share` (0..1) of the sorted values.
pub(crate) fn quantile(values: &mut [u64], share: f64) -> u64 {
    values.sort_unstable();
    let at = ((values.len() as f64 - 1.0) * share).round() as usize;
    values[at]
}

pub(crate) fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// The shipped street as a scene of so many seconds, with so many frames in each (it has 15).
pub(crate) fn street(seconds: u64, fps: u64) -> String {
    let street = std::fs::read_to_string(root().join("scenes/street.yaml")).unwrap();
    street.replace("duration_s: 20", &format!("duration_s: {seconds}")).replace("fps: 15", &format!("fps: {fps}"))
}

/// A folder with `config.yaml`, each frame of whose source is an alert; `alerts` are more keys of the alerts, `rest` of
/// the whole.
pub(crate) fn alarming(uri: &str, alerts: &str, rest: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "always.lua",
        "function detect(frame) frame:alert{ rule = 'always', key = tostring(frame.seq), message = 'x' } end",
    );
    let config = format!(
        "sources: [{{ id: cam, uri: '{uri}' }}]\ndetection: {{ strategies: [{{ name: always, module: always.lua }}] }}\n\
         alerts: {{ min_confidence: 0, throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0, {alerts} }}\n\
         monitoring: {{ prometheus: {{ port: 0 }} }}\n{rest}\n"
    );
    write(dir.path(), "config.yaml", &config);
    dir
}

/// Waits for what takes milliseconds.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Writes `scene.yaml`: somebody walks by, for longer than a test takes.
pub(crate) fn write_scene(dir: &Path, fps: u64) {
    let text = format!(
        "seed: 1\nduration_s: 3000\nfps: {fps}\nwidth: 320\nheight: 240\n\
         camera: {{ height_m: 4, pitch_deg: 12, focal: 0.9 }}\nnoise: 2\n\
         objects: [{{ kind: person, speed_mps: 1.5, path: [[-4, 9], [4, 9]] }}]\n"
    );
    write(dir, "scene.yaml", &text);
}

/// Writes `t.jsonl`: a trace of the source `a`, with frames on which there is nothing, ten a second.
pub(crate) fn write_trace(dir: &Path, frames: u64) {
    let head = "{\"format\":1,\"dsengine\":\"0\",\"config_hash\":\"0\",\"start_unix_ns\":1700000000000000000}\n";
    let frame = |n: u64| {
        let pts_ns = n * 100_000_000;
        format!("{{\"source\":\"a\",\"seq\":{n},\"pts_ns\":{pts_ns},\"width\":64,\"height\":64,\"detections\":[]}}\n")
    };
    write(dir, "t.jsonl", &(0..frames).map(frame).fold(head.to_owned(), |text, frame| text + &frame));
}

#[test]
fn a_line_of_one_output_is_there_after_a_wait_for_one_of_the_other() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo told >&2; echo first; echo second; echo first; exec sleep 20"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = Dsengine { command }.start();
    let limit = Duration::from_secs(20);
    run.wait_line(limit, |line| line == "second");
    // What came before it on its own output is passed over, what was collected meanwhile is not.
    assert!(run.end(Duration::from_millis(50)).is_none());
    run.wait_line(limit, |line| line == "told");
    run.wait_line(limit, |line| line == "first");
    assert_eq!(run.waited.into_iter().max(), Some(4), "{:?}", run.seen);
}
