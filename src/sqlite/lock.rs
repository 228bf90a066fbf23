//! One process at a time uses a configuration's database.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Code, Error};
use crate::own;

/// Longest text of a lock's file that is read: a path may have 4096 bytes.
const TEXT_BYTES: u64 = 5000;

/// Held while a process uses a database. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct StateLock {
    file: File,
}

impl StateLock {
    /// Takes the lock of `database`, in a file beside it, which then holds this process's id.
    ///
    /// # Errors
    /// [`Code::Io`] when another process holds it, which is named, or the file cannot be written.
    pub fn take(database: &Path) -> Result<Self, Error> {
        let path = beside(database);
        let failed = |error: std::io::Error| Error::new(Code::Io, format!("{}: {error}", path.display()));
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = options.map_err(failed)?;
        let mut holder = None;
        // A killed process holds the lock until its last thread has ended; `is_held` takes it for a moment.
        let locked = own::retry_while_ending(|| match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                holder = first_line(&path).and_then(|line| line.trim().parse::<u32>().ok());
                Err(holder.is_none_or(own::is_ending))
            }
            done => Ok(done),
        });
        match locked {
            Some(done) => done.map_err(|error| failed(error.into()))?,
            None => {
                let holder = holder.map_or("another process".to_owned(), |pid| format!("process {pid}"));
                return Err(Error::new(Code::Io, format!("{holder} runs this configuration already")).hint(
                    "end it, give this one a folder of its own (--state), or set alerts.outbox.durability: memory",
                ));
            }
        }
        // A full disk does not take the id, which is only for the message.
        let _ = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
        let _ = writeln!(file, "{}", std::process::id());
        Ok(Self { file })
    }

    /// Notes where this process answers, for [`StateLock::address`]. A full disk does not take it.
    pub fn note_address(&mut self, address: &str) {
        let _ = writeln!(self.file, "{address}");
    }

    /// Notes the absolute path of the configuration that this process runs, for [`StateLock::configuration`].
    pub fn note_configuration(&mut self, path: &Path) {
        if let Some(path) = path.to_str().filter(|path| !path.contains('\n')) {
            let _ = writeln!(self.file, "{path}");
        }
    }

    /// Whether a process uses `database`.
    pub fn is_held(database: &Path) -> bool {
        let Ok(file) = File::open(beside(database)) else { return false };
        // Shared: those that only look do not see each other.
        flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
    }

    /// Where the process that uses `database` answers, if it said so.
    pub fn address(database: &Path) -> Option<String> {
        noted(database, |line| !line.starts_with('/'))
    }

    /// The configuration that the process runs that uses `database`, if it said so.
    pub fn configuration(database: &Path) -> Option<PathBuf> {
        noted(database, |line| line.starts_with('/')).map(PathBuf::from)
    }
}

/// The lock's file.
fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// The first line after the process's id that `is_wanted`.
fn noted(database: &Path, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
    text(&beside(database))?.lines().skip(1).find(|line| is_wanted(line)).map(str::to_owned)
}

fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(TEXT_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

fn first_line(path: &Path) -> Option<String> {
    text(path)?.lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("alerts.db");
        let mut first = StateLock::take(&database).unwrap();
        let refused = StateLock::take(&database).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {} runs", std::process::id())), "{refused}");
        assert_eq!(StateLock::address(&database), None);
        assert!(StateLock::is_held(&database));
        first.note_address("http://127.0.0.1:8112/");
        let refused = StateLock::take(&database).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {} runs", std::process::id())), "{refused}");
        assert_eq!(StateLock::address(&database).as_deref(), Some("http://127.0.0.1:8112/"));
        drop(first);
        assert!(!StateLock::is_held(&database), "its address is still there");
        StateLock::take(&database).unwrap();
    }

    #[test]
    fn a_process_that_only_looks_at_the_lock_does_not_keep_another_from_taking_it() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("alerts.db");
        drop(StateLock::take(&database).unwrap());
        // The id of a process that has ended, as a former run leaves it.
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        std::fs::write(beside(&database), format!("{}\n", ended.id())).unwrap();
        let looks = File::open(beside(&database)).unwrap();
        flock(&looks, FlockOperation::NonBlockingLockShared).unwrap();
        let (started, start) = std::sync::mpsc::sync_channel(0);
        let taker = std::thread::spawn(move || {
            started.send(()).unwrap();
            StateLock::take(&database).map(drop)
        });
        start.recv().unwrap();
        drop(looks);
        taker.join().unwrap().unwrap();
    }
}
