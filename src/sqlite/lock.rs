//! One process at a time uses a configuration's database.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Code, Error};

/// Longest text of a lock's file that is read.
const TEXT_BYTES: u64 = 300;

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
            let _ = (&file).take(TEXT_BYTES).read_to_string(&mut holder);
            let holder = holder.lines().next().unwrap_or_default();
            let holder =
                holder.trim().parse::<u32>().map_or("another process".to_owned(), |pid| format!("process {pid}"));
            return Err(Error::new(Code::Io, format!("{holder} runs this configuration already"))
                .hint("end it, give this one a folder of its own (--state), or set alerts.outbox.durability: memory"));
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

    /// Where the process that uses `database` answers, if it said so.
    pub fn address(database: &Path) -> Option<String> {
        let mut name = database.as_os_str().to_owned();
        name.push(".lock");
        let mut text = String::new();
        File::open(Path::new(&name)).ok()?.take(TEXT_BYTES).read_to_string(&mut text).ok()?;
        text.lines().nth(1).map(str::to_owned)
    }
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
        first.note_address("http://127.0.0.1:8112/");
        let refused = StateLock::take(&database).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {} runs", std::process::id())), "{refused}");
        assert_eq!(StateLock::address(&database).as_deref(), Some("http://127.0.0.1:8112/"));
        drop(first);
        StateLock::take(&database).unwrap();
    }
}
