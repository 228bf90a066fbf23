//! One process at a time uses a configuration's database.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Code, Error};

/// Longest process id that is read.
const PID_BYTES: u64 = 20;

/// Held while a process uses a database. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the lock of `database`, in a file beside it, which then holds this process's id.
    ///
    /// # Errors
    /// [`Code::Io`] when another process holds it, which is named, or the file cannot be written.
    pub fn take(database: &Path) -> Result<Self, Error> {
        let mut name = database.as_os_str().to_owned();
        name.push(".lock");
        let path = Path::new(&name);
        let failed = |error: std::io::Error| Error::new(Code::Io, format!("{}: {error}", path.display()));
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file = options.map_err(failed)?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK {
                return Err(failed(error.into()));
            }
            let mut holder = String::new();
            // Only for the message.
            let _ = (&file).take(PID_BYTES).read_to_string(&mut holder);
            let holder =
                holder.trim().parse::<u32>().map_or("another process".to_owned(), |pid| format!("process {pid}"));
            return Err(Error::new(Code::Io, format!("{holder} runs this configuration already"))
                .hint("end it, give this one a folder of its own (--state), or set alerts.outbox.durability: memory"));
        }
        // A full disk does not take the id, which is only for the message.
        let _ = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
        let _ = writeln!(file, "{}", std::process::id());
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("alerts.db");
        let first = StateLock::take(&database).unwrap();
        let refused = StateLock::take(&database).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        StateLock::take(&database).unwrap();
    }
}
