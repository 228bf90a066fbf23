//! An engine that runs `config.yaml` of a folder of its own, with its state beside it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Dsengine, Outcome, Running, get, request, write};

/// Longest wait for what takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// The engine, its folder and the address of its page. The configuration has to ask for port 0.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) run: Running,
    pub(crate) page: String,
}

impl Site {
    pub(crate) fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "config.yaml", config);
        Self::of(dir)
    }

    /// Of a folder that has its configuration.
    pub(crate) fn of(dir: TempDir) -> Self {
        let command = Self::command(dir.path(), &[]);
        Self::by(dir, command)
    }

    /// Of the engine that this command starts.
    pub(crate) fn by(dir: TempDir, command: Dsengine) -> Self {
        let mut run = command.start();
        let page = run.page();
        Self { dir, run, page }
    }

    /// The command that runs the folder's configuration, with more arguments.
    pub(crate) fn command(dir: &Path, args: &[&str]) -> Dsengine {
        let state = dir.join("state").display().to_string();
        let args = [&["run", "--config", "config.yaml", "--state", &state], args].concat();
        Dsengine::new(args).cwd(dir)
    }

    /// Ends it and starts it again.
    #[track_caller]
    pub(crate) fn restart(mut self) -> Self {
        self.run.signal("INT");
        assert_eq!(self.run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", self.run.seen.join("\n"));
        Self::of(self.dir)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn save(&self, config: &str) {
        write(self.folder(), "config.yaml", config);
    }

    /// A command that asks the engine.
    pub(crate) fn ask(&self, args: &[&str]) -> Outcome {
        Dsengine::new([args, &["--at", &self.page]].concat()).cwd(self.folder()).run()
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(&get(&self.page, path).1).unwrap()
    }

    /// The status and the answer to a request with a body of JSON; null for an answer that is none.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, body) = request("POST", &self.page, path, &body.to_string());
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// The ids of the sources that run.
    pub(crate) fn sources(&self) -> Vec<String> {
        let status = self.json("/api/v1/status");
        let sources = status["sources"].as_array().unwrap().iter();
        let mut ids: Vec<String> = sources.map(|source| source["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    pub(crate) fn problems(&self) -> String {
        let problems = self.json("/api/v1/status")["problems"].clone();
        problems.as_array().unwrap().iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Waits until it is so; returns how long that took.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Duration {
        let from = Instant::now();
        while !is_so(self) {
            let ended = self.run.end(Duration::from_millis(10));
            assert!(ended.is_none(), "it ended before {what}:\n{}", self.run.seen.join("\n"));
            assert!(from.elapsed() < LIMIT, "never {what}: {}\n{}", self.problems(), self.run.seen.join("\n"));
        }
        from.elapsed()
    }

    /// Waits until these sources run; returns how long that took.
    #[track_caller]
    pub(crate) fn until_sources(&mut self, ids: &[&str]) -> Duration {
        self.until(&format!("{ids:?}"), |site| site.sources() == ids)
    }
}
