//! How far a command is, on one line of the terminal; nothing where standard error is none.

use std::io::{self, IsTerminal as _, Write as _};

/// The line. It is taken away when dropped.
pub(crate) struct Progress {
    shows: bool,
    line: String,
}

impl Progress {
    /// An empty line.
    pub(crate) fn start() -> Self {
        Self { shows: io::stderr().is_terminal(), line: String::new() }
    }

    /// Shows another text in the line, where it is another.
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

/// Writes the line anew. A terminal that is gone needs none.
fn write(line: &str) {
    let mut out = io::stderr().lock();
    let _ = write!(out, "\r\x1b[K{line}").and_then(|()| out.flush());
}
