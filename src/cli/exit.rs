//! How a command ends, and what it prints.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use dsengine::error::Error;
use dsengine::types::lines;

/// Exit codes, as a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Fine,
    /// It ran, and something failed.
    Failed,
    /// It could not start: usage or configuration.
    Usage,
    /// A signal cut it short.
    Interrupted,
}

impl Exit {
    /// The number the shell sees.
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
    /// How a command ends that says itself what went wrong.
    pub(crate) fn of(done: Result<(), Self>) -> Self {
        done.err().unwrap_or(Self::Fine)
    }

    /// Ends the process here and now, without the exit handlers of the libraries that are loaded: other threads may
    /// still be loading plugins, and GLib aborts when its handlers have run before that. Flushes nothing: another thread
    /// may hold standard output's lock, and wait for a reader that has stopped reading.
    pub(crate) fn now(self) -> ! {
        signal_hook::low_level::exit(self.code().into())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error while running.
pub(crate) fn failed(error: &Error) -> Exit {
    eprintln!("error: {error}");
    Exit::Failed
}

/// An error before anything ran.
pub(crate) fn refused(error: &Error) -> Exit {
    eprintln!("error: {error}");
    Exit::Usage
}

/// What `println!` does here: a line that cannot be written ends the command as failed. Whatever it holds of others'
/// texts steers no terminal.
pub(crate) fn print(line: fmt::Arguments<'_>) {
    if let Err(error) = io::stdout().write_all(lines(&line.to_string()).as_bytes()) {
        unprinted(&error);
    }
}

/// What `eprintln!` does here: there is nowhere to say that it failed.
pub(crate) fn print_error(line: fmt::Arguments<'_>) {
    let _ = io::stderr().write_all(lines(&line.to_string()).as_bytes());
}

/// Standard output could not be written. A reader that has gone away has seen enough; anything else is a failure.
pub(crate) fn unprinted(error: &io::Error) {
    if error.kind() != io::ErrorKind::BrokenPipe {
        eprintln!("error: standard output cannot be written: {error}");
        Exit::Failed.now();
    }
}
