//! The real program bound beyond loopback, in a network namespace of its own, asked from another address there.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsFd as _;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::admin::{Answer, answer, head, request};
use crate::harness::{Dsengine, Running, skip, write};

/// Where the engine listens, and where the tests come from.
const ENGINE: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 2);
/// Two addresses beyond loopback, on the one interface that every kernel has.
const SETUP: &str = "set -e; ip link set lo up; ip address add 10.98.0.1/24 dev lo; \
                     ip address add 10.98.0.2/24 dev lo; exec \"$@\"";

/// Enters the namespace of a process, for this thread and no other.
fn enter(pid: u32) {
    let namespace = File::open(format!("/proc/{pid}/ns/net")).unwrap();
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// A connection to the engine from the other address.
fn reach(port: u16) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from((PEER, 0))).unwrap();
    connect(&socket, &SocketAddr::V4(SocketAddrV4::new(ENGINE, port))).unwrap();
    let stream = TcpStream::from(socket);
    assert_eq!(stream.local_addr().unwrap().ip(), PEER);
    stream
}

/// Whether a namespace can be made here.
fn can_unshare() -> bool {
    let made = std::process::Command::new("unshare").args(["-n", "sh", "-c", SETUP, "sh", "true"]).status();
    made.is_ok_and(|status| status.success())
}

struct Engine {
    _run: Running,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Engine {
    /// Starts it with these keys under `monitoring`, and enters its namespace.
    fn start(monitoring: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "sources: [{{ id: gate, uri: 'test:size=64x64,fps=5' }}, {{ id: yard, uri: 'test:size=64x64,fps=5' }}]\n\
             monitoring:\n  listen: {ENGINE}\n  prometheus: {{ port: 0 }}\n{monitoring}"
        );
        write(dir.path(), "c.yaml", &config);
        let run = Dsengine::new(["run", "--config", "c.yaml", "--state", "state"]).cwd(dir.path());
        let run = ["VIEWER", "OPERATOR", "GUARD", "PUBLISHER"]
            .iter()
            .fold(run, |run, name| run.env(&format!("NS_{name}"), &secret(name)));
        let mut run = run.by("unshare", &["-n", "sh", "-c", SETUP, "sh"]).start();
        let page = run.page();
        enter(run.pid());
        let (host, port) = page.rsplit_once(':').unwrap();
        assert_eq!(host, ENGINE.to_string());
        let port = port.parse().unwrap();
        Self { _run: run, port, _dir: dir }
    }

    fn open(&self, method: &str, path: &str, token: Option<&str>) -> BufReader<TcpStream> {
        let host = format!("{ENGINE}:{}", self.port);
        let bearer = token.map(|token| format!("Bearer {}", secret(token)));
        let mut headers = vec![("Host", host.as_str())];
        headers.extend(bearer.iter().map(|bearer| ("Authorization", bearer.as_str())));
        request(reach(self.port), method, path, &headers, "")
    }

    fn ask(&self, method: &str, path: &str, token: Option<&str>) -> Answer {
        answer(self.open(method, path, token))
    }

    /// The status of an answer that may have no end.
    fn status(&self, method: &str, path: &str, token: Option<&str>) -> u16 {
        head(&mut self.open(method, path, token))[9..12].parse().unwrap()
    }
}

fn secret(name: &str) -> String {
    format!("{}-0123456789abcdef0123456789abcdef", name.to_lowercase())
}

const TOKENS: &str = "  tokens:
    - { name: viewer, token: '${env:NS_VIEWER}', scopes: [read] }
    - { name: operator, token: '${env:NS_OPERATOR}', scopes: [read, control] }
    - { name: guard, token: '${env:NS_GUARD}', scopes: [read, control], sources: [gate] }
    - { name: publisher, token: '${env:NS_PUBLISHER}', scopes: [publish] }
";

/// Runs on a thread of its own: it does not come back from the namespace.
fn alone(test: &str, body: impl FnOnce() + Send + 'static) {
    if !can_unshare() {
        return skip(test, "no network namespace can be made here (it takes root and unshare)");
    }
    if let Err(panic) = std::thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn beyond_loopback_probes_and_scrapes_are_answered_and_the_rest_asks_for_a_token() {
    alone("beyond_loopback_probes_and_scrapes_are_answered_and_the_rest_asks_for_a_token", || {
        let engine = Engine::start(&format!("{TOKENS}  public: [probes, metrics]\n"));
        for path in ["/livez", "/readyz", "/health", "/healthz", "/metrics"] {
            let status = engine.status("GET", path, None);
            assert!(status == 200 || status == 503 && path != "/livez", "{path}: {status}");
        }
        let document = engine.ask("GET", "/api/v1/openapi.json", Some("VIEWER")).json();
        let mut asked = 0;
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, call) in methods.as_object().unwrap() {
                asked += usize::from(follows_the_table(&engine, &method.to_uppercase(), path, call));
            }
        }
        assert!(asked >= 20, "{asked} calls");
        for path in ["/live/gate?limit=0", "/api/v1/sources/gate"] {
            let statuses = ["VIEWER", "GUARD"].map(|token| engine.status("GET", path, Some(token)));
            assert_eq!(statuses, [200, 200], "{path}");
        }
        for path in ["/live/yard?limit=0", "/api/v1/sources/yard"] {
            let statuses = ["VIEWER", "GUARD"].map(|token| engine.status("GET", path, Some(token)));
            assert_eq!(statuses, [200, 403], "{path}");
        }
        assert_eq!(engine.status("GET", "/", None), 200, "the page, which holds no data");
    });
}

/// Asks for one call as the OpenAPI text says that it may be asked for; `false` where it asks for nothing.
fn follows_the_table(engine: &Engine, method: &str, path: &str, call: &Value) -> bool {
    // No evidence is kept of this source.
    let is_missing = ["{id}", "{name}", "{session}", "/evidence."].iter().any(|part| path.contains(part));
    let path =
        path.replace("{source}", "gate").replace("{name}", "x").replace("{id}", "018b").replace("{session}", "018b");
    let path = path.replace("/api/v1/explain", "/api/v1/explain?source=gate");
    let lacking = match (call["x-scope"].as_str().unwrap(), &call["x-public"]) {
        ("none", _) | (_, Value::String(_)) => return false,
        ("read", _) => "PUBLISHER",
        ("control" | "publish", _) => "VIEWER",
        (other, _) => panic!("{other}"),
    };
    assert_eq!(engine.status(method, &path, None), 401, "{method} {path} without a token");
    let refused = engine.ask(method, &path, Some(lacking));
    assert_eq!(refused.status, 403, "{method} {path} as {lacking}");
    assert!(refused.json()["message"].as_str().unwrap().contains("has no scope"), "{}", refused.body);
    if call["x-whole"] == true {
        assert_eq!(engine.status(method, &path, Some("GUARD")), 403, "{method} {path} for one source");
    }
    if call["x-scope"] == "read" {
        let status = engine.status(method, &path, Some("VIEWER"));
        // An offer is a POST with a body, which is not sent here.
        let is_offer = method == "POST" && status == 415;
        let is_well = status < 400 || is_missing && status == 404 || is_offer;
        assert!(is_well && call["responses"].get(status.to_string()).is_some(), "{method} {path}: {status}");
    }
    true
}

#[test]
fn what_is_not_made_public_asks_for_a_token_beyond_loopback() {
    alone("what_is_not_made_public_asks_for_a_token_beyond_loopback", || {
        let engine = Engine::start(&format!("{TOKENS}  public: []\n"));
        for path in ["/livez", "/readyz", "/health", "/healthz", "/metrics"] {
            assert_eq!(engine.status("GET", path, None), 401, "{path}");
            assert!([200, 503].contains(&engine.status("GET", path, Some("VIEWER"))), "{path}");
        }
        let mut text = String::new();
        engine.open("GET", "/nothing", None).read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 401") && !text.contains("gate"), "{text}");
    });
}
