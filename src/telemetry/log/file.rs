//! The log's file. Lines that cannot be written are counted, and reported on standard error and to the listener. Once
//! the file can be written again, a line in it says how many are missing.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::json;

use crate::telemetry::rotate::RotatingFile;
use crate::types::{Clock, count_are};

/// Least time between two messages on standard error, so that a file that fails now and then does not fill it.
const SAID_EVERY_NS: u64 = 60_000_000_000;

/// What the log's file has lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LostLines {
    /// Lines lost since the start.
    pub total: u64,
    /// Why the file takes no lines at the moment, as a sentence; `None` while it does.
    pub problem: Option<String>,
}

/// Called with what is lost, each time that has changed.
pub(super) type Listener = Box<dyn Fn(&LostLines) + Send + Sync>;

/// See the module.
pub(super) struct LogFile {
    json: bool,
    state: Mutex<State>,
    listener: OnceLock<Listener>,
}

struct State {
    file: RotatingFile,
    path: PathBuf,
    total: u64,
    /// Lines lost since the file last took one, and why.
    lost: u64,
    error: String,
    /// When a failure was last said on standard error, and whether its end is still to be said.
    said_ns: Option<u64>,
    is_said: bool,
    /// What the listener knows.
    known: LostLines,
}

impl LogFile {
    pub(super) fn new(file: RotatingFile, path: &Path, json: bool) -> Self {
        let state = State {
            file,
            path: path.to_owned(),
            total: 0,
            lost: 0,
            error: String::new(),
            said_ns: None,
            is_said: false,
            known: LostLines::default(),
        };
        Self { json, state: Mutex::new(state), listener: OnceLock::new() }
    }

    /// Sets the listener. Only the first call has an effect.
    pub(super) fn listen(&self, listener: Listener) {
        // A process log serves one engine.
        let _ = self.listener.set(listener);
    }

    /// Appends a record, or counts it as lost.
    pub(super) fn write(&self, record: &str, clock: &dyn Clock) {
        let mut state = self.state.lock();
        let written = state.catch_up(self.json, clock).and_then(|()| state.file.append(record.as_bytes()));
        if let Err(error) = written {
            state.lose(&error, clock.monotonic_ns());
        }
    }

    /// Tries a file that failed again, and tells the listener what has changed.
    pub(super) fn check(&self, clock: &dyn Clock) {
        let mut state = self.state.lock();
        // Nothing new is lost by it, and the next line says why.
        let _ = state.catch_up(self.json, clock);
        let Some(listener) = self.listener.get() else { return };
        let now = state.lost_lines();
        if state.known != now {
            state.known = now.clone();
            drop(state);
            listener(&now);
        }
    }
}

impl State {
    /// Tells in the file what is missing there, if anything is.
    fn catch_up(&mut self, json: bool, clock: &dyn Clock) -> io::Result<()> {
        if self.lost == 0 {
            return Ok(());
        }
        let message = format!(
            "{} missing here: the log file could not be written ({})",
            count_are(self.lost, "line"),
            self.error
        );
        let time = humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_nanos(clock.unix_ns()));
        let line = match json {
            true => json!({ "timestamp": time.to_string(), "level": "WARN", "message": message, "count": self.lost,
                            "target": "dsengine::log" })
            .to_string(),
            false => format!("{time}  WARN dsengine::log: {message}"),
        };
        self.file.append(line.as_bytes())?;
        if std::mem::take(&mut self.is_said) {
            self.say(&format!(
                "note: the log file {} is written again: {} missing",
                self.path.display(),
                count_are(self.lost, "line")
            ));
        }
        self.lost = 0;
        Ok(())
    }

    fn lose(&mut self, error: &io::Error, now_ns: u64) {
        (self.lost, self.total) = (self.lost + 1, self.total + 1);
        self.error = error.to_string();
        if self.said_ns.is_none_or(|said_ns| now_ns.saturating_sub(said_ns) >= SAID_EVERY_NS) {
            (self.said_ns, self.is_said) = (Some(now_ns), true);
            let path = self.path.display();
            self.say(&format!(
                "error: the log file {path} cannot be written ({error}): its lines are lost until it can; give the disk \
                 room, or set logging.log_file to another place and restart"
            ));
        }
    }

    fn lost_lines(&self) -> LostLines {
        let problem = (self.lost > 0).then(|| {
            let Self { path, error, lost, .. } = self;
            format!("the log file {} cannot be written ({error}), {} lost", path.display(), count_are(*lost, "line"))
        });
        LostLines { total: self.total, problem }
    }

    /// Writes to standard error, whether or not the log goes there.
    fn say(&self, text: &str) {
        // There is no other place for it.
        let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::types::TestClock;

    #[test]
    fn lines_that_the_file_does_not_take_are_counted_and_told_in_it_later() {
        for json in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x.log");
            let clock = TestClock::at(1_700_000_000_000_000_000);
            let log = LogFile::new(RotatingFile::open(&path, 1 << 20, 1).unwrap(), &path, json);
            let heard = Arc::<Mutex<Vec<LostLines>>>::default();
            let all = Arc::clone(&heard);
            log.listen(Box::new(move |lost| all.lock().push(lost.clone())));
            log.write("one", &clock);
            log.check(&clock);
            assert!(heard.lock().is_empty(), "nothing is lost");
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            log.write("two", &clock);
            log.write("three", &clock);
            log.check(&clock);
            log.check(&clock);
            let problem = heard.lock().last().cloned().unwrap().problem.unwrap();
            assert!(
                problem.contains("x.log cannot be written (") && problem.ends_with(", 2 lines are lost"),
                "{problem}"
            );
            fs::remove_dir(&path).unwrap();
            log.check(&clock);
            assert_eq!(heard.lock().last(), Some(&LostLines { total: 2, problem: None }));
            assert_eq!(heard.lock().len(), 2, "it is told once what has not changed");
            log.write("four", &clock);
            let text = fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!((lines.len(), lines[1]), (2, "four"), "{text}");
            assert!(lines[0].contains("2 lines are missing here: the log file could not be written ("), "{text}");
            let is_json = serde_json::from_str::<serde_json::Value>(lines[0]).is_ok_and(|line| line["count"] == 2);
            assert_eq!(is_json, json, "{text}");
        }
    }
}
