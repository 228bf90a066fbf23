//! Prints alerts as lines on standard output, coloured only on a terminal.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::task;

use crate::alert::{BoxFuture, DeliveryError, Handler, Retry};
use crate::types::{Alert, Level, one_line};

/// Prints one line per alert.
#[derive(Debug)]
pub struct Console {
    name: Arc<str>,
    color: bool,
}

impl Console {
    /// Prints to this process's standard output, in colour if it is a terminal and `NO_COLOR` is not set.
    pub fn new(name: Arc<str>) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self { name, color: !no_color && io::stdout().is_terminal() }
    }
}

impl Handler for Console {
    fn name(&self) -> &str {
        &self.name
    }

    /// A write in progress cannot be cancelled.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        let line = line(alert, self.color);
        Box::pin(async move {
            // A paused terminal or a full pipe blocks: so not on a runtime thread, and not with std's lock on stdout,
            // which process exit would wait for.
            let written = task::spawn_blocking(move || {
                File::from(io::stdout().as_fd().try_clone_to_owned()?).write_all(line.as_bytes())
            });
            let error = match written.await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(error) => io::Error::other(error),
            };
            // A closed pipe never gets a reader again.
            let retry = if error.kind() == io::ErrorKind::BrokenPipe { Retry::Never } else { Retry::Later };
            Err(DeliveryError { message: format!("standard output: {error}"), retry })
        })
    }
}

/// `2026-01-01T00:00:00.000Z HIGH     gate loitering: person 7 stayed 12 s (+3 held back)`
pub(super) fn line(alert: &Alert, color: bool) -> String {
    let (on, off) = if color { (paint(alert.level), "\x1b[0m") } else { ("", "") };
    let level = alert.level.as_str().to_uppercase();
    let held_back = match alert.suppressed {
        0 => String::new(),
        n => format!(" (+{n} held back)"),
    };
    // Text from scripts must not start a new line or send terminal escapes.
    let text = format!("{}: {}", one_line(&alert.rule), one_line(&alert.message));
    format!("{} {on}{level:<8}{off} {} {text}{held_back}\n", alert.time, one_line(alert.source.as_str()))
}

fn paint(level: Level) -> &'static str {
    match level {
        Level::Low => "\x1b[36m",
        Level::Medium => "\x1b[33m",
        Level::High => "\x1b[31m",
        Level::Critical => "\x1b[1;97;41m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> Alert {
        Alert { suppressed: 3, ..Alert::sample("stayed\n\x1b[2Jlong") }
    }

    #[test]
    fn an_alert_is_one_line_without_control_characters() {
        assert_eq!(
            line(&alert(), false),
            "2026-01-01T00:00:00.000Z HIGH     gate loitering: stayed⏎ [2Jlong (+3 held back)\n"
        );
        let forged = Alert { rule: "x\n2026 CRITICAL\r\u{9b}2J".into(), ..alert() };
        assert!(line(&forged, false).contains(" gate x⏎2026 CRITICAL  2J: stayed⏎ "), "{}", line(&forged, false));
    }

    #[test]
    fn colour_is_around_the_level_only() {
        assert!(line(&alert(), true).contains(" \x1b[31mHIGH    \x1b[0m gate"));
        // The tests' output is not a terminal.
        assert!(!Console::new("c".into()).color || io::stdout().is_terminal());
    }
}
