//! How a command ends.

use std::process::ExitCode;

use dsengine::error::Error;

/// Exit codes, as a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Fine,
    /// It ran, and something failed.
    Failed,
    /// It could not start: usage or configuration.
    Usage,
    /// A second signal cut it short.
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
    /// Ends the process here and now, without the exit handlers of the libraries that are loaded: other threads may
    /// still be loading plugins, and GLib aborts when its handlers have run before that.
    pub(crate) fn now(self) -> ! {
        use std::io::Write as _;
        // Whoever reads standard output may be gone.
        let _ = std::io::stdout().flush();
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
