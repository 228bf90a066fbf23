//! What a cell works with: its peer, and the engine that watches them all.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::events::Events;
use super::publisher::Publisher;
use super::served::Served;
use super::table::{Cell, Fault, Kind};
use crate::harness::{Dsengine, Running, get, request, write};

/// The password of every camera and the token of every publisher, which nothing may show.
pub(super) const CANARY: &str = "c4nary-0f-the-matr1x";
/// The beginning of user and password as basic authorization writes them.
const CANARY_BASE64: &str = "dmlld2VyOmM0bmFyeS0w";
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// What a source gets its pictures from, and what can happen to that.
pub(super) trait Peer: Send {
    /// The source with this id, as a line of YAML.
    fn source(&self, id: &str) -> String;

    /// The address with user and password.
    fn uri(&self) -> String {
        String::new()
    }

    /// The same at another host.
    fn address(&self, _host: &str) -> String {
        String::new()
    }

    /// Begins to send, where it connects to the engine: to the source with this id, on the engine with this page.
    fn meet(&mut self, _page: &str, _id: &str) {}

    /// Begins a fault.
    fn begin(&mut self, fault: Fault);

    /// Ends a fault; when it was over.
    fn end(&mut self, fault: Fault) -> Instant;
}

/// Starts the peer of a cell; `None` after saying that it cannot be had here.
pub(super) fn start(test: &str, cell: &Cell) -> Option<Box<dyn Peer>> {
    Some(match cell.kind {
        Kind::Whip => Box::new(Publisher::start()?),
        _ => Box::new(Served::start(test, cell)?),
    })
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
