//! Converts runtime errors to messages: one line, with the location in the guest if known.

use wasmtime::{Trap, WasmBacktrace};

use crate::guest::{Fault, FaultKind, GuestContext, Overrun, TimeLimits};
use crate::telemetry::redact::redact;
use crate::types::one_line;

/// Maximum length of a fault's message.
const LINE_BYTES_MAX: usize = 1000;
/// The prefix of a panic message from a guest's standard library.
const PANICKED: &str = "panicked at ";
/// Marks the runtime's error for passing too much data at once.
const TOO_MUCH: &str = "hostcall";

/// The call exceeded its time limits; raised in the guest's interrupt.
#[derive(Debug, thiserror::Error)]
#[error("stopped by the time limit")]
pub(super) struct Stopped;

/// Everything known about a failed call.
pub(super) struct Failed<'a> {
    /// The context of the instance.
    pub(super) context: &'a GuestContext,
    /// The exported function.
    pub(super) export: &'a str,
    /// The runtime's error.
    pub(super) error: &'a wasmtime::Error,
    /// The time limit that it exceeded.
    pub(super) over: Option<Overrun>,
    /// The time limits of the call.
    pub(super) time: TimeLimits,
    /// Whether it was refused memory.
    pub(super) denied: bool,
    /// Its output on standard error.
    pub(super) stderr_text: String,
    /// Maximum bytes that may be passed at once.
    pub(super) handed_max: usize,
}

impl Failed<'_> {
    /// Builds the fault.
    pub(super) fn fault(&self) -> Fault {
        let place = self.place();
        let placed = |what: String| match &place {
            Some(place) => format!("{place}: {what}"),
            None => what,
        };
        let (kind, message) = if let Some(over) = self.over {
            (FaultKind::Time, placed(stopped(over, self.time)))
        } else if self.denied {
            let mib = self.context.limits.memory_bytes >> 20;
            (FaultKind::Memory, placed(format!("wants more than {mib} MiB of memory")))
        } else if let Some(panic) = panic(&self.stderr_text) {
            (FaultKind::Trap, panic)
        } else {
            match self.error.downcast_ref::<Trap>() {
                Some(Trap::StackOverflow) => {
                    let kib = super::engine::STACK_BYTES >> 10;
                    (FaultKind::Trap, placed(format!("needs more than {kib} KiB of stack; does it call itself?")))
                }
                Some(trap) => (FaultKind::Trap, placed(trapped(&trap.to_string()))),
                None => {
                    let cause = self.error.root_cause().to_string();
                    if cause.contains(TOO_MUCH) {
                        let mib = self.handed_max >> 20;
                        (FaultKind::Memory, placed(format!("hands over more than {mib} MiB at once")))
                    } else {
                        (FaultKind::Trap, placed(cause))
                    }
                }
            }
        };
        of(kind, self.context, self.export, &message)
    }

    /// `src/lib.rs:12`, the innermost line of the guest's own code, not a library's.
    fn place(&self) -> Option<String> {
        let trace = self.error.downcast_ref::<WasmBacktrace>()?;
        let symbols = trace.frames().iter().flat_map(|frame| frame.symbols());
        let lines = symbols.filter_map(|symbol| Some((symbol.file()?, symbol.line()?)));
        let own = |(file, _): &(&str, u32)| {
            !["/rustc/", "/.cargo/", "/library/", "wasi-libc"].iter().any(|lib| file.contains(lib))
        };
        lines.filter(own).map(|(file, line)| format!("{file}:{line}")).next()
    }
}

/// A fault of an export: one line, without secrets.
pub(super) fn of(kind: FaultKind, context: &GuestContext, export: &str, message: &str) -> Fault {
    let mut message = redact(message).trim().lines().next().unwrap_or_default().to_owned();
    // Before it is cut: the rest of a secret is not recognised.
    context.mask(&mut message);
    // A guest's message may have megabytes.
    message.truncate(message.floor_char_boundary(LINE_BYTES_MAX));
    Fault { kind, message: format!("{}:{export}: {}", context.plugin, one_line(&message)) }
}

fn stopped(over: Overrun, time: TimeLimits) -> String {
    match over {
        Overrun::Cpu => format!("stopped after {} ms of CPU time", time.hard_cpu.as_millis()),
        Overrun::Wall => format!("stopped after {} ms", time.wall.as_millis()),
    }
}

/// The runtime's message without its constant prefix.
fn trapped(text: &str) -> String {
    text.strip_prefix("wasm trap: ").unwrap_or(text).to_owned()
}

/// Location and message of a Rust guest's panic: `thread 'x' panicked at src/lib.rs:3:5:`, and the message on the next
/// line.
fn panic(stderr_text: &str) -> Option<String> {
    let (_, words) = stderr_text.split_once(PANICKED)?;
    let (place, rest) = words.split_once('\n').unwrap_or((words, ""));
    let place = place.trim_end_matches(':');
    let message = rest.lines().next().unwrap_or_default().trim();
    Some(if message.is_empty() { place.to_owned() } else { format!("{place}: {message}") })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::guest::{Limits, StateStore, Watchdog};

    fn context() -> GuestContext {
        let config = Arc::new(serde_json::json!({ "password": "C4n4ry" }));
        let (store, watchdog) = (StateStore::default(), Watchdog::start().unwrap());
        GuestContext::new("crowd", None, Limits::wasm(), &store, watchdog).with_config(config)
    }

    #[test]
    fn a_panic_is_reported_with_its_location() {
        let words = "\nthread '<unnamed>' (1) panicked at src/lib.rs:12:5:\nindex out of bounds\nnote: run with\n";
        assert_eq!(panic(words).unwrap(), "src/lib.rs:12:5: index out of bounds");
        assert_eq!(panic("thread 'main' panicked at src/lib.rs:3:1").unwrap(), "src/lib.rs:3:1");
        assert_eq!(panic("all is well"), None);
    }

    #[test]
    fn a_message_is_one_short_line() {
        let fault = of(FaultKind::Error, &context(), "judge", &format!("{}\nmore", "é".repeat(5000)));
        assert!(fault.message.starts_with("crowd:judge: é"));
        assert!(fault.message.len() <= LINE_BYTES_MAX + 20 && !fault.message.contains("more"));
    }

    #[test]
    fn a_secret_at_the_end_of_what_is_shown_is_masked_whole() {
        let message = format!("{}C4n4ry", "x".repeat(LINE_BYTES_MAX - 3));
        let fault = of(FaultKind::Verdict, &context(), "judge", &message);
        assert!(fault.message.ends_with("xxx***"), "{fault}");
    }
}
