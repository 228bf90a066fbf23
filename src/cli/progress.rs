//! A command's progress on one line of the terminal; nothing if standard error is not a terminal.

use std::io::{self, IsTerminal as _, Write as _};

/// The line; cleared on drop.
pub(crate) struct Progress {
    shows: bool,
    line: String,
}

impl Progress {
    /// An empty line.
    pub(crate) fn start() -> Self {
        Self { shows: io::stderr().is_terminal(), line: String::new() }
    }

    /// Updates the line if the text has changed.
    pub(crate) fn show(&mut self, line: String) {
        if self.shows && line != self.line {
            write(&line);
            self.line = line;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.show(String::new());
    }
}

/// Rewrites the line. Ignores a closed terminal.
fn write(line: &str) {
    let mut out = io::stderr().lock();
    let _ = write!(out, "\r\x1b[K{line}").and_then(|()| out.flush());
}
