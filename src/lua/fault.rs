//! Converts VM errors to messages: one line, prefixed with the location in the script.

use crate::guest::{Fault, FaultKind, Limits, Overrun, TimeLimits};
use crate::types::one_line;

/// Maximum length of a fault's message.
const LINE_BYTES_MAX: usize = 1000;
/// The separator between a message and its traceback.
const TRACEBACK: &str = "\nstack traceback:";

/// The error's first line, without tracebacks and wrappers.
pub(super) fn line(error: &mlua::Error) -> String {
    let text = match error {
        mlua::Error::CallbackError { cause, .. } => return line(cause),
        mlua::Error::WithContext { cause, .. } => return line(cause),
        mlua::Error::RuntimeError(message) | mlua::Error::MemoryError(message) => message.clone(),
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let text = text.split(TRACEBACK).next().unwrap_or_default().trim();
    let text = text.lines().next().unwrap_or_default();
    // An error raised in our own Luau code: its location does not help the author.
    let text = match text.strip_prefix("dsengine:").and_then(|rest| rest.split_once(": ")) {
        Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => text,
    };
    // A script's error may have megabytes.
    let text = &text[..text.floor_char_boundary(LINE_BYTES_MAX)];
    // `error({})`: the VM shows the object's address, which is meaningless and differs between runs.
    match text.split_once(": 0x") {
        Some((kind @ ("table" | "function" | "userdata" | "thread" | "buffer"), _)) => {
            format!("a {kind} was raised as the error, not a text")
        }
        _ => one_line(text).into_owned(),
    }
}

/// The script's location at which it called our own Luau code, or a host function, that raised the error.
fn caller(error: &mlua::Error) -> Option<&str> {
    let traceback = match error {
        mlua::Error::WithContext { cause, .. } => return caller(cause),
        mlua::Error::CallbackError { traceback, .. } => traceback,
        mlua::Error::RuntimeError(message) if message.starts_with("dsengine:") => message.split_once(TRACEBACK)?.1,
        _ => return None,
    };
    // Lines like `scripts/x.lua:12: in function 'detect'`, innermost first.
    let places = traceback.lines().filter_map(|line| line.trim_start().split_once(": in ")).map(|(place, _)| place);
    places.filter(|place| !place.starts_with("dsengine:")).find(|place| is_place(place))
}

/// Whether the text looks like `file.lua:12`.
fn is_place(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(_, line)| !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit()))
}

fn out_of_memory(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::MemoryError(_) => true,
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => out_of_memory(cause),
        // An error that a script's `pcall` caught and raised again.
        mlua::Error::RuntimeError(message) => message.contains("not enough memory"),
        _ => false,
    }
}

/// The fault of a failed call. `overrun` and its location come first: a script may have caught that error and raised
/// another.
pub(super) fn of(
    error: &mlua::Error,
    overrun: Option<(Overrun, Option<String>)>,
    file: &str,
    time: TimeLimits,
    limits: &Limits,
) -> Fault {
    if let Some((overrun, place)) = overrun {
        let place = place.unwrap_or_else(|| file.to_owned());
        let message = match overrun {
            Overrun::Cpu => format!("{place}: stopped after {} ms of CPU time", time.hard_cpu.as_millis()),
            Overrun::Wall => format!("{place}: stopped after {} ms", time.wall.as_millis()),
        };
        return Fault { kind: FaultKind::Time, message };
    }
    if out_of_memory(error) {
        let message = format!("{file}: wants more than {} MiB of memory", limits.memory_bytes >> 20);
        return Fault { kind: FaultKind::Memory, message };
    }
    let text = line(error);
    // An error raised without a location (level 0, a table) gets the file's.
    let placed = text.split(": ").next().is_some_and(is_place);
    let message = if placed { text } else { format!("{}: {text}", caller(error).unwrap_or(file)) };
    Fault { kind: FaultKind::Error, message }
}

/// `scripts/x.lua:12` of the innermost function of the script itself.
pub(super) fn script_line(lua: &mlua::Lua) -> Option<String> {
    (0..64).find_map(|level| {
        lua.inspect_stack(level, |function| {
            let source = function.source();
            let file = source.short_src.as_deref().filter(|s| *s != "dsengine" && *s != "[C]");
            file.zip(function.current_line()).map(|(file, line)| format!("{file}:{line}"))
        })
        .flatten()
    })
}
