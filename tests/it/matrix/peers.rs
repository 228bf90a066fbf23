//! Cameras of other makers' code: VLC, ipycam, rtsp-rs. Each delivers, is killed, freezes, and comes back.

use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::events::Told;
use super::rig::{Engine, LIMIT};
use crate::harness::{bar, root, skip, soak, until, write};

const PYTHON: &str = "target/peers/bin/python";
/// Some of them bind every address and multicast: they run in a network of their own.
const NETWORK: &str = "ip link set lo up multicast on && ip route add 224.0.0.0/4 dev lo && exec \"$@\"";
const NOTICED: Duration = Duration::from_secs(3);
const BACK: Duration = Duration::from_secs(12);
const SEEN_LATER: Duration = Duration::from_millis(250);

/// A kind of camera: how it is started.
struct Maker {
    name: &'static str,
    port: u16,
    path: &'static str,
    protocol: &'static str,
    command: fn(&Path) -> Command,
}

const MAKERS: [Maker; 3] = [
    Maker { name: "vlc", port: 18_554, path: "x", protocol: "udp", command: vlc },
    Maker { name: "rtsp-rs", port: 18_555, path: "stream", protocol: "udp", command: rtsp_rs },
    Maker { name: "ipycam", port: 18_556, path: "main", protocol: "tcp", command: ipycam },
];

/// VLC refuses to run as root.
fn vlc(dir: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=nobody",
        "--regid=nogroup",
        "--clear-groups",
        "cvlc",
        "-I",
        "dummy",
        "--no-audio",
        "--loop",
    ]);
    command.arg(dir.join("clip.mp4")).args(["--sout", "#rtp{sdp=rtsp://127.0.0.1:18554/x}", "--sout-keep"]);
    command.env("HOME", dir);
    command
}

fn rtsp_rs(dir: &Path) -> Command {
    let mut command = Command::new(root().join(PYTHON));
    command.arg(root().join("tests/doubles/peers/rtsp_rs.py")).arg("18555").arg(dir.join("clip.mp4"));
    command
}

fn ipycam(dir: &Path) -> Command {
    let config = "{\"local_ip\":\"127.0.0.1\",\"onvif_port\":18080,\"rtsp_port\":18556,\"main_width\":640,\
                  \"main_height\":360,\"main_fps\":10,\"main_bitrate\":\"1M\",\"main_stream_name\":\"main\",\
                  \"sub_stream_name\":\"sub\",\"hw_accel\":\"cpu\"}";
    let config = write(dir, "camera.json", config);
    let mut command = Command::new(root().join(PYTHON));
    command.args(["-m", "ipycam", "--config"]).arg(config).arg("--source").arg(dir.join("clip.mp4"));
    command.args(["--hw", "cpu", "--no-timestamp"]);
    command
}

/// A camera's processes, in a group of their own.
struct Process(Child);

impl Process {
    fn start(maker: &Maker, dir: &Path) -> Self {
        let mut command = (maker.command)(dir);
        command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let process = Self(command.spawn().unwrap());
        until(&format!("{} listens", maker.name), || TcpStream::connect(("127.0.0.1", maker.port)).is_ok());
        process
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.0), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Why they cannot run here.
fn missing() -> Option<&'static str> {
    let is_root = rustix::process::geteuid().is_root();
    let has = |program: &str| Command::new("which").arg(program).output().is_ok_and(|out| out.status.success());
    match () {
        () if !is_root || !has("unshare") || !has("ip") => {
            Some("no network namespace can be made here (it takes root)")
        }
        () if !has("cvlc") || !has("setpriv") || !has("ffmpeg") => Some("vlc or ffmpeg is not installed"),
        () if !root().join(PYTHON).exists() => Some("ipycam and rtsp-rs are not in target/peers"),
        () => None,
    }
}

#[test]
fn cameras_of_other_makers_deliver_and_come_back() {
    const NAME: &str = "matrix::peers::cameras_of_other_makers_deliver_and_come_back";
    const ALONE: &str = "DSENGINE_TEST_ALONE";
    if !soak() {
        return;
    }
    if let Some(why) = missing() {
        return skip(NAME, &format!("{why} (./dev soak peers installs it)"));
    }
    if std::env::var_os(ALONE).is_none() {
        let mut command = Command::new("unshare");
        command.args(["-n", "sh", "-c", NETWORK, "sh"]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", NAME, "--nocapture", "--test-threads=1"]).env(ALONE, "1");
        assert!(command.status().unwrap().success());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Whoever runs as nobody reads it, too.
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let clip = dir.path().join("clip.mp4");
    let drawn = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=10:duration=60"])
        .args(["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-bf", "0"])
        .arg(&clip)
        .status();
    assert!(drawn.unwrap().success(), "ffmpeg makes a clip");
    for maker in &MAKERS {
        story(maker, dir.path());
    }
}

/// Frames, a freeze, its end, a kill, its end.
fn story(maker: &Maker, dir: &Path) {
    let mut camera = Some(Process::start(maker, dir));
    let Maker { name, port, path, protocol, .. } = maker;
    let sources =
        format!("  - {{ id: cam, uri: 'rtsp://127.0.0.1:{port}/{path}', parameters: {{ protocol: {protocol} }} }}\n");
    let engine = Engine::start(&sources, "");
    let begun = Instant::now();
    let (mut at, first) = engine.events.wait(0, LIMIT, Told::is_frame).unwrap_or_else(|| no(&engine, name, "frame"));
    let mut measured = format!("first frame after {:.2?}", first.at - begun);
    for fault in ["frozen", "killed"] {
        for _ in 0..30 {
            at = 1 + engine.events.wait(at, LIMIT, Told::is_frame).unwrap_or_else(|| no(&engine, name, "frame")).0;
        }
        let from = engine.events.len();
        match fault {
            "frozen" => camera.iter().for_each(|camera| camera.signal(Signal::STOP)),
            _ => camera = None,
        }
        let begun = Instant::now();
        let limit = bar(NOTICED) + SEEN_LATER + Duration::from_millis(500);
        let lost = engine.events.wait(from, limit, Told::is_loss);
        let (number, lost) = lost.unwrap_or_else(|| no(&engine, name, "word of its loss"));
        // What was on its way still comes.
        let frames = engine.events.of_source("cam", from);
        let last = frames.iter().filter(|told| told.is_frame() && told.at < lost.at).map(|told| told.at).max();
        let noticed = lost.at - last.unwrap_or(begun).max(begun);
        assert!(noticed <= bar(NOTICED) + SEEN_LATER, "{name} {fault}: noticed after {noticed:?}");
        match &camera {
            Some(camera) => camera.signal(Signal::CONT),
            None => camera = Some(Process::start(maker, dir)),
        }
        let over = Instant::now();
        let limit = bar(BACK) + SEEN_LATER;
        let (back, _) = engine.events.wait(number, limit, Told::is_running).unwrap_or_else(|| no(&engine, name, fault));
        let (number, frame) =
            engine.events.wait(back, limit, Told::is_frame).unwrap_or_else(|| no(&engine, name, fault));
        let back = frame.at.saturating_duration_since(over);
        assert!(back <= limit, "{name} {fault}: back after {back:?}");
        measured += &format!("; {fault}: noticed after {noticed:.2?}, back after {back:.2?}");
        at = number;
    }
    println!("matrix: {name}: {measured}");
}

fn no<T>(engine: &Engine, name: &str, what: &str) -> T {
    panic!("{name}: no {what}: {:?}\n{}", engine.events.states("cam", 0), engine.run.seen.join("\n"));
}
