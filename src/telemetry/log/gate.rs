//! The filter before every output: passes each event to `hold`, and logs summaries of suppressed lines.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::file::LogFile;
use super::hold::{Candidate, Hold, Rules, Summary};
use crate::error::{Code, Error};
use crate::own::{Stop, Thread};
use crate::types::Clock;

/// How often due summaries are logged.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// The target of the gate's own lines.
const OWN: &str = "dsengine::log";
/// The target of audit records, which are never suppressed.
const AUDIT: &str = "audit";

/// A `tracing` layer that suppresses lines according to `hold`.
pub(super) struct Gate {
    hold: Arc<Mutex<Hold>>,
    clock: Arc<dyn Clock>,
}

/// Logs summaries of suppressed lines, periodically and when dropped.
pub(super) struct Reporter {
    hold: Arc<Mutex<Hold>>,
    clock: Arc<dyn Clock>,
    file: Option<Arc<LogFile>>,
    _thread: Thread,
}

/// Creates a gate and its reporter, which also looks after the log's file.
///
/// # Errors
/// When no thread can be started.
pub(super) fn gate(
    rules: Rules,
    clock: Arc<dyn Clock>,
    file: Option<Arc<LogFile>>,
) -> Result<(Gate, Arc<Reporter>), Error> {
    let hold = Arc::new(Mutex::new(Hold::new(rules)));
    let (held, time, written) = (Arc::clone(&hold), Arc::clone(&clock), file.clone());
    let run = move |stop: Stop| {
        while stop.pause(POLL_EVERY) {
            report(&held, &*time, Hold::due);
            written.iter().for_each(|file| file.check(&*time));
        }
    };
    let thread = Thread::start("log", run);
    let _thread = thread.map_err(|e| Error::new(Code::Io, format!("cannot start thread log: {e}")))?;
    let reporter = Reporter { hold: Arc::clone(&hold), clock: Arc::clone(&clock), file, _thread };
    Ok((Gate { hold, clock }, Arc::new(reporter)))
}

fn report(hold: &Mutex<Hold>, clock: &dyn Clock, take: fn(&mut Hold, u64) -> Vec<Summary>) {
    // Not under the lock: these lines pass the gate themselves.
    let taken = take(&mut hold.lock(), clock.monotonic_ns());
    for Summary { level, target, count, message } in taken {
        match level {
            Level::ERROR => tracing::error!(target: OWN, of = target, count, "{message}"),
            Level::WARN => tracing::warn!(target: OWN, of = target, count, "{message}"),
            _ => tracing::info!(target: OWN, of = target, count, "{message}"),
        }
    }
}

impl Reporter {
    /// Logs everything that is held, due or not.
    pub(super) fn finish(&self) {
        report(&self.hold, &*self.clock, Hold::drain);
        self.file.iter().for_each(|file| file.check(&*self.clock));
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.finish();
    }
}

impl<S: Subscriber> Layer<S> for Gate {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let (target, level) = (event.metadata().target(), *event.metadata().level());
        if level > Level::INFO || [OWN, AUDIT].contains(&target) {
            return true;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.hold.lock().passes(&Candidate { target, level, text: &text.0 }, self.clock.monotonic_ns())
    }
}

/// A line's fields as text, with the message first.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => {
                let rest = std::mem::take(&mut self.0);
                write!(self.0, "{value:?}{rest}")
            }
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
