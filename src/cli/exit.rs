//! Exit codes and printing.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use dsengine::error::Error;
use dsengine::types::lines;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success.
    Fine,
    /// It ran, and something failed.
    Failed,
    /// It could not start: usage or configuration error.
    Usage,
    /// Interrupted by a signal.
    Interrupted,
}

impl Exit {
    /// The numeric exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Interrupted => 130,
        }
    }
}

impl Exit {
    /// The exit of a command that has already printed its error.
    pub(crate) fn of(done: Result<(), Self>) -> Self {
        done.err().unwrap_or(Self::Fine)
    }

    /// Ends the process immediately, without the exit handlers of loaded libraries: other threads may still be loading
    /// plugins, and GLib aborts when its handlers run before that is done. Does not flush: another thread may hold
    /// standard output's lock while it waits for a reader that has stopped reading.
    pub(crate) fn now(self) -> ! {
        signal_hook::low_level::exit(self.code().into())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Prints an error of a running command.
pub(crate) fn failed(error: &Error) -> Exit {
    eprintln!("error: {error}");
    Exit::Failed
}

/// Prints an error that prevents a start.
pub(crate) fn refused(error: &Error) -> Exit {
    eprintln!("error: {error}");
    Exit::Usage
}

/// The implementation of `println!`: a failed write ends the command as failed. Escapes control characters, so that
/// foreign text cannot control the terminal.
pub(crate) fn print(line: fmt::Arguments<'_>) {
    if let Err(error) = io::stdout().write_all(lines(&line.to_string()).as_bytes()) {
        unprinted(&error);
    }
}

/// The implementation of `eprintln!`: a failed write is ignored.
pub(crate) fn print_error(line: fmt::Arguments<'_>) {
    let _ = io::stderr().write_all(lines(&line.to_string()).as_bytes());
}

/// Handles a failed write to standard output. A closed pipe is not an error; anything else is.
pub(crate) fn unprinted(error: &io::Error) {
    if error.kind() != io::ErrorKind::BrokenPipe {
        eprintln!("error: standard output cannot be written: {error}");
        Exit::Failed.now();
    }
}
