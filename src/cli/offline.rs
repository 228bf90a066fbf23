//! Changes the alerts' database of a run that has ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dsengine::alert::{Entry, Journal as _};
use dsengine::engine::SystemClock;
use dsengine::error::{Code, Error};
use dsengine::sqlite::{Keep, SqliteJournal, StateLock};

/// A database that no engine uses, and that none starts to use meanwhile.
pub(super) struct Offline {
    file: PathBuf,
    _lock: StateLock,
}

impl Offline {
    /// Takes a database; `None` if an engine uses it.
    pub(super) fn take(database: &Path) -> Result<Option<Self>, Error> {
        match StateLock::take(database) {
            Ok(lock) => Ok(Some(Self { file: database.to_owned(), _lock: lock })),
            Err(_) if StateLock::is_held(database) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes entries, all or none.
    pub(super) fn write(&self, entries: &[Entry]) -> Result<(), Error> {
        // What is too old is forgotten by the next run.
        let keep = Keep { age: Duration::MAX, alerts: u64::MAX };
        let written = SqliteJournal::open(&self.file, keep, Arc::new(SystemClock::new()))
            .and_then(|mut journal| journal.write(entries));
        written.map_err(|why| Error::new(Code::Io, format!("the change cannot be saved: {why}")))
    }
}
