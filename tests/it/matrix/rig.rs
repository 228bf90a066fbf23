//! What a cell works with: its camera, the proxy before it, and the engine that watches them all.

use std::time::Duration;

use serde_json::{Value, json};

use super::events::Events;
use super::table::{Cell, Fault, Kind};
use crate::fault_proxy::{FaultProxy, Protocol};
use crate::harness::{Dsengine, Running, get, request, write};
use crate::sources::Camera;

/// The password of every camera, which nothing may show.
pub(super) const CANARY: &str = "c4nary-0f-the-matr1x";
/// The beginning of user and password as basic authorization writes them.
const CANARY_BASE64: &str = "dmlld2VyOmM0bmFyeS0w";
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// A camera, and the proxy before it.
pub(super) struct Peer {
    pub(super) camera: Camera,
    pub(super) proxy: FaultProxy,
    pub(super) args: Vec<String>,
    /// Whether the engine reaches the camera itself: a server that is not there refuses, where a proxy hangs up.
    direct: bool,
}

impl Peer {
    /// Starts the peer of a cell.
    pub(super) fn start(test: &str, cell: &Cell) -> Option<Self> {
        let transport = if cell.kind == Kind::RtspUdp { "udp" } else { "tcp" };
        let mut args = words(&["--fps", "10", "--key-frames", "10", "--transport", transport]);
        if cell.fault == Fault::Size {
            args.extend(words(&["--resize", "480x368", "--after", "60"]));
        }
        let camera = start(test, 0, &args, CANARY)?;
        let proxy = FaultProxy::start(Protocol::Rtsp, camera.port, 7);
        let of_server = [Fault::Kill, Fault::Freeze, Fault::Unauthorized, Fault::NotFound, Fault::Codec];
        Some(Self { camera, proxy, args, direct: of_server.contains(&cell.fault) })
    }

    /// The address with user and password.
    pub(super) fn uri(&self) -> String {
        let port = if self.direct { self.camera.port } else { self.proxy.port };
        format!("rtsp://viewer:{CANARY}@127.0.0.1:{port}/cam")
    }

    /// Kills the camera and starts one at the same port, with more arguments.
    pub(super) fn replace(&mut self, more: &[&str], password: &str) {
        self.camera.kill();
        self.renew(more, password);
    }

    /// Starts a camera in place of one that was killed.
    pub(super) fn renew(&mut self, more: &[&str], password: &str) {
        let args = [self.args.clone(), words(more)].concat();
        self.camera = start("matrix", self.camera.port, &args, password).expect("it was there before");
    }
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

fn start(test: &str, port: u16, args: &[String], password: &str) -> Option<Camera> {
    let user = ["--user", "viewer", "--password", password];
    let args: Vec<&str> = args.iter().map(String::as_str).chain(user).collect();
    Camera::start(test, port, &args)
}

/// A running engine, with its events.
pub(super) struct Engine {
    pub(super) run: Running,
    pub(super) page: String,
    pub(super) events: Events,
    dir: tempfile::TempDir,
}

impl Engine {
    /// Runs these sources (lines of YAML); `rest` is more of the configuration.
    pub(super) fn start(sources: &str, rest: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_with(dir, sources, rest, &[])
    }

    /// The same, with what already is in a folder, and with more arguments.
    pub(super) fn start_with(dir: tempfile::TempDir, sources: &str, rest: &str, args: &[&str]) -> Self {
        let config = format!(
            "monitoring: {{ prometheus: {{ port: 0 }} }}\nlogging: {{ filter_spam: false }}\n{rest}\nsources:\n{sources}"
        );
        write(dir.path(), "config.yaml", &config);
        let args = [&["run", "--config", "config.yaml"], args].concat();
        let mut run = Dsengine::new(args).cwd(dir.path()).start();
        let page = run.page();
        let events = Events::of(&page);
        Self { run, page, events, dir }
    }

    pub(super) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Everything that the engine shows, as text.
    pub(super) fn shown(&self) -> String {
        let paths = ["/metrics", "/health", "/api/v1/status", "/api/v1/sources", "/api/v1/config", "/api/v1/alerts"];
        paths.map(|path| get(&self.page, path).1).concat()
    }

    /// Ends it, and asserts that it showed no password meanwhile.
    #[track_caller]
    pub(super) fn end_without_a_secret(mut self) {
        let shown = self.shown();
        drop(self.events);
        self.run.signal("INT");
        let ended = self.run.end(Duration::from_secs(40));
        assert_eq!(ended.and_then(|status| status.code()), Some(0), "{}", self.run.seen.join("\n"));
        let all = self.run.seen.join("\n") + &shown;
        for shape in [CANARY, CANARY_BASE64] {
            let line = all.lines().find(|line| line.contains(shape));
            assert_eq!(line, None, "the password is shown");
        }
    }
}

/// A source as the API shows it.
pub(super) fn source(page: &str, id: &str) -> Value {
    let status: Value = serde_json::from_str(&get(page, "/api/v1/status").1).unwrap_or_default();
    status["sources"]
        .as_array()
        .and_then(|all| all.iter().find(|source| source["id"] == id))
        .cloned()
        .unwrap_or_default()
}

/// Edits a source's address.
pub(super) fn edit(page: &str, id: &str, uri: &str) -> Result<(), String> {
    answered(request("PATCH", page, &format!("/api/v1/sources/{id}"), &json!({ "uri": uri }).to_string()))
}

pub(super) fn restart(page: &str, id: &str) -> Result<(), String> {
    answered(request("POST", page, &format!("/api/v1/sources/{id}/restart"), ""))
}

fn answered((code, body): (u16, String)) -> Result<(), String> {
    if code == 200 { Ok(()) } else { Err(format!("{code}: {body}")) }
}
