//! The gate before every output: hands each event to `hold`, and tells once in a while what was held back.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::hold::{Candidate, Hold, Rules, Told};
use crate::error::{Code, Error};
use crate::own::{Stop, Thread};
use crate::types::Clock;

/// How often it is looked whether something is to be told.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// The target of what the gate says itself.
const OWN: &str = "dsengine::log";
/// The target of who changed what, which is never held back.
const AUDIT: &str = "audit";

/// See the module.
pub(super) struct Gate {
    hold: Arc<Mutex<Hold>>,
    clock: Arc<dyn Clock>,
}

/// Tells what was held back, from time to time and when it is dropped.
pub(super) struct Telling {
    hold: Arc<Mutex<Hold>>,
    clock: Arc<dyn Clock>,
    _thread: Thread,
}

/// A gate, and who tells what it holds back.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn gate(rules: Rules, clock: Arc<dyn Clock>) -> Result<(Gate, Arc<Telling>), Error> {
    let hold = Arc::new(Mutex::new(Hold::new(rules)));
    let (held, time) = (Arc::clone(&hold), Arc::clone(&clock));
    let run = move |stop: Stop| {
        while stop.pause(POLL_EVERY) {
            tell(&held, &*time, false);
        }
    };
    let thread = Thread::start("log", run);
    let _thread = thread.map_err(|e| Error::new(Code::Io, format!("cannot start thread log: {e}")))?;
    let telling = Telling { hold: Arc::clone(&hold), clock: Arc::clone(&clock), _thread };
    Ok((Gate { hold, clock }, Arc::new(telling)))
}

fn tell(hold: &Mutex<Hold>, clock: &dyn Clock, all: bool) {
    // Not under the lock: what is said here passes the gate.
    let due = hold.lock().due(clock.monotonic_ns(), all);
    for Told { level, target, count, message } in due {
        match level {
            Level::ERROR => tracing::error!(target: OWN, of = target, count, "{message}"),
            Level::WARN => tracing::warn!(target: OWN, of = target, count, "{message}"),
            _ => tracing::info!(target: OWN, of = target, count, "{message}"),
        }
    }
}

impl Telling {
    pub(super) fn tell(&self, all: bool) {
        tell(&self.hold, &*self.clock, all);
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.tell(true);
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

/// A line's fields as text, its message first.
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
