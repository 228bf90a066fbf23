//! A camera that the engine connects to, by RTSP or HTTP, and the proxy before it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::rig::{CANARY, Peer};
use super::table::{Cell, Fault, Kind};
use crate::fault_proxy::{FaultProxy, Link, Passes, Protocol, Sdp};
use crate::harness::{root, skip};
use crate::sources::Camera;

const PYTHON: &str = "target/venv/bin/python";
const USER: &str = "viewer";
/// So often that some hit a request which is under way.
const RESETS: usize = 10;
/// Another size than that of the first pictures.
const SIZE: &str = "480x368";

/// A camera, and the proxy before it.
pub(super) struct Served {
    kind: Kind,
    camera: Camera,
    proxy: FaultProxy,
    args: Vec<String>,
    /// Whether the engine reaches the camera itself: a server that is not there refuses, where a proxy hangs up.
    direct: bool,
}

impl Served {
    /// Starts the peer of a cell.
    pub(super) fn start(test: &str, cell: &Cell) -> Option<Self> {
        let mut args = words(match cell.kind {
            Kind::RtspUdp => &["--fps", "10", "--key-frames", "10", "--transport", "udp"],
            Kind::RtspTcp => &["--fps", "10", "--key-frames", "10", "--transport", "tcp"],
            Kind::Http => &["--fps", "10", "--codec", "mjpeg"],
            Kind::Hls => &["--fps", "10", "--codec", "h264"],
            Kind::Whip => return None,
        });
        let is_rtsp = matches!(cell.kind, Kind::RtspUdp | Kind::RtspTcp);
        if is_rtsp && cell.fault == Fault::Size {
            args.extend(words(&["--resize", SIZE, "--after", "60"]));
        }
        let camera = start(test, cell.kind, 0, &args, CANARY)?;
        let protocol = if is_rtsp { Protocol::Rtsp } else { Protocol::Stream };
        let proxy = FaultProxy::start(protocol, camera.port, 7);
        let of_server = [Fault::Kill, Fault::Freeze, Fault::Unauthorized, Fault::NotFound, Fault::Codec];
        Some(Self { kind: cell.kind, camera, proxy, args, direct: of_server.contains(&cell.fault) })
    }

    /// Kills the camera and starts one at the same port, with more arguments.
    fn replace(&mut self, more: &[&str], password: &str) {
        self.camera.kill();
        self.renew(more, password);
    }

    /// Starts a camera in place of one that was killed.
    fn renew(&mut self, more: &[&str], password: &str) {
        let args = [self.args.clone(), words(more)].concat();
        self.camera = start("matrix", self.kind, self.camera.port, &args, password).expect("it was there before");
    }
}

impl Peer for Served {
    fn source(&self, id: &str) -> String {
        let keys = match self.kind {
            Kind::RtspUdp => "type: rtsp, parameters: { protocol: udp }, ",
            Kind::RtspTcp => "type: rtsp, parameters: { protocol: tcp }, ",
            _ => "",
        };
        format!("  - {{ id: {id}, {keys}uri: '{}' }}\n", self.uri())
    }

    fn uri(&self) -> String {
        let port = if self.direct { self.camera.port } else { self.proxy.port };
        self.address(&format!("127.0.0.1:{port}"))
    }

    fn address(&self, host: &str) -> String {
        match self.kind {
            Kind::Http => format!("http://{USER}:{CANARY}@{host}/cam"),
            Kind::Hls => format!("http://{USER}:{CANARY}@{host}/cam.m3u8"),
            _ => format!("rtsp://{USER}:{CANARY}@{host}/cam"),
        }
    }

    fn begin(&mut self, fault: Fault) {
        let proxy = &mut self.proxy;
        match fault {
            Fault::Kill | Fault::Codec => self.camera.kill(),
            Fault::Freeze => self.camera.signal(Signal::STOP),
            Fault::Reset if self.kind == Kind::Hls => reset_midway(proxy),
            Fault::Reset => proxy.reset(),
            Fault::Refuse => proxy.refuse(),
            Fault::Unauthorized => self.replace(&[], "another"),
            Fault::NotFound => self.replace(&["--path", "/elsewhere"], CANARY),
            Fault::WrongSdp => {
                proxy.describe(Sdp::Wrong);
                proxy.cut();
            }
            Fault::Size if matches!(self.kind, Kind::Http | Kind::Hls) => self.camera.tell(&format!("size {SIZE}")),
            Fault::Silence => proxy.set(Link::passing(Passes::Control)),
            Fault::Garbage => proxy.set(Link::passing(Passes::Garbage)),
            Fault::Drip => proxy.set(Link { bytes_per_s: Some(8), slice: Some(1), ..Link::PERFECT }),
            Fault::Loss(percent) => proxy.set(Link::losing(percent)),
            // An edit; and a camera that changes its size by itself.
            Fault::NoDns | Fault::Size => {}
        }
    }

    fn end(&mut self, fault: Fault) -> Instant {
        match fault {
            Fault::Kill => self.renew(&[], CANARY),
            Fault::Codec => {
                let codec = match self.kind {
                    Kind::Http => "h264",
                    Kind::Hls => "hevc",
                    _ => "vp8",
                };
                self.renew(&["--codec", codec, "--size", SIZE], CANARY);
            }
            Fault::Freeze => self.camera.signal(Signal::CONT),
            Fault::Unauthorized | Fault::NotFound => self.replace(&[], CANARY),
            Fault::Refuse => self.proxy.accept(),
            Fault::WrongSdp => self.proxy.describe(Sdp::AsItIs),
            Fault::Silence | Fault::Garbage | Fault::Drip | Fault::Loss(_) | Fault::Reset => {
                self.proxy.set(Link::PERFECT);
            }
            Fault::NoDns | Fault::Size => {}
        }
        Instant::now()
    }
}

/// Resets connections that are used for a moment only: again and again, while requests take their time.
fn reset_midway(proxy: &FaultProxy) {
    proxy.set(Link { latency: Duration::from_millis(100), ..Link::PERFECT });
    for _ in 0..RESETS {
        std::thread::park_timeout(Duration::from_millis(500));
        proxy.reset();
    }
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

fn start(test: &str, kind: Kind, port: u16, args: &[String], password: &str) -> Option<Camera> {
    let user = ["--user", USER, "--password", password];
    let args: Vec<&str> = args.iter().map(String::as_str).chain(user).collect();
    if matches!(kind, Kind::RtspUdp | Kind::RtspTcp) {
        return Camera::start(test, port, &args);
    }
    let mut look = Command::new(root().join(PYTHON));
    if !look.args(["-c", "import av"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        skip("matrix::web_camera", "PyAV is not installed in target/venv (./dev test does it)");
        return None;
    }
    let program = || {
        let mut command = Command::new(root().join(PYTHON));
        command.arg(root().join("tests/doubles/web_camera.py"));
        command
    };
    Some(Camera::of(program, port, &args))
}
