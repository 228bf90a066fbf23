//! A file of lines that rotates by size without losing any; used by logs and the file handler.
//!
//! `name` is the newest; a rotation renames `name.1` to `name.2` and so on, then `name` to `name.1`. Names are numbers,
//! not times, so several rotations within a second stay apart. Files beyond `backups` are deleted. One writer per file
//! appends whole records; a partial write is truncated away. Data is synced to the medium on rotation and on close, not
//! per record: a crash of the process loses nothing, a power cut may lose what the system had not written yet.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A rotating file of lines.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    max_bytes: u64,
    backups: u32,
    file: File,
    bytes: u64,
}

impl RotatingFile {
    /// Opens `path` for appending, creating its folder if needed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(path: &Path, max_bytes: u64, backups: u32) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let (file, bytes) = Self::open_file(path)?;
        Ok(Self { path: path.to_owned(), max_bytes: max_bytes.max(1), backups, file, bytes })
    }

    fn open_file(path: &Path) -> io::Result<(File, u64)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = file.metadata()?.len();
        if bytes > 0 {
            // An earlier process may have died mid-line: start the next record on a new line.
            let mut last = [0];
            file.seek(SeekFrom::Start(bytes - 1))?;
            file.read_exact(&mut last)?;
            if last[0] != b'\n' {
                file.write_all(b"\n")?;
                bytes += 1;
            }
        }
        Ok((file, bytes))
    }

    /// Appends one record and a newline, rotating first if it would not fit.
    ///
    /// # Errors
    /// When writing fails; the file then ends with the previous record.
    pub fn append(&mut self, record: &[u8]) -> io::Result<()> {
        self.reopen_if_moved()?;
        let length = record.len() as u64 + 1;
        if self.bytes > 0 && self.bytes + length > self.max_bytes {
            self.rotate()?;
        }
        let mut line = Vec::with_capacity(record.len() + 1);
        line.extend_from_slice(record);
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // A full disk may have taken part of the record. Best effort: if this fails, the next open repairs the
            // file.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += length;
        Ok(())
    }

    /// Reopens the file if it was moved away (logrotate) or deleted.
    fn reopen_if_moved(&mut self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        let same = fs::metadata(&self.path).is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino()));
        if same {
            // It may have been truncated in place (logrotate's copytruncate).
            self.bytes = ours.len();
        } else {
            (self.file, self.bytes) = Self::open_file(&self.path)?;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if self.backups == 0 {
            self.file.set_len(0)?;
        } else {
            // Only up to the first free number: later files need not move.
            let free = (1..self.backups).find(|n| !self.numbered(*n).exists()).unwrap_or(self.backups);
            for number in (1..free).rev() {
                fs::rename(self.numbered(number), self.numbered(number + 1))?;
            }
            fs::rename(&self.path, self.numbered(1))?;
        }
        (self.file, self.bytes) = Self::open_file(&self.path)?;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

impl Drop for RotatingFile {
    fn drop(&mut self) {
        // An error cannot be reported any more.
        let _ = self.file.sync_data();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(folder: &Path) -> Vec<String> {
        let mut all: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .flat_map(|e| {
                let text = fs::read_to_string(e.unwrap().path()).unwrap();
                assert!(text.is_empty() || text.ends_with('\n'), "no torn record");
                text.lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn k_records_through_r_rotations_are_k_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let mut file = RotatingFile::open(&path, 200, 1_000).unwrap();
        let written: Vec<String> = (0..2_000).map(|i| format!("{{\"record\":{i:05}}}")).collect();
        for record in &written {
            file.append(record.as_bytes()).unwrap();
        }
        assert!(fs::read_dir(folder.path()).unwrap().count() > 150, "it rotated");
        assert!(fs::read_dir(folder.path()).unwrap().all(|e| e.unwrap().metadata().unwrap().len() <= 200));
        assert_eq!(records(folder.path()), written);
    }

    #[test]
    fn only_the_configured_number_of_files_is_kept_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let mut file = RotatingFile::open(&path, 4, 2).unwrap();
        for record in ["aaa", "bbb", "ccc", "ddd"] {
            file.append(record.as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((read("x.log"), read("x.log.1"), read("x.log.2")), ("ddd\n".into(), "ccc\n".into(), "bbb\n".into()));
        assert_eq!(records(folder.path()).len(), 3);
    }

    #[test]
    fn it_follows_the_name_when_the_file_is_moved_deleted_or_truncated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let mut file = RotatingFile::open(&path, 1_000, 2).unwrap();
        file.append(b"one").unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        file.append(b"two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        fs::remove_file(&path).unwrap();
        file.append(b"three").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        fs::write(&path, "").unwrap();
        file.append(b"four").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
    }

    #[test]
    fn a_torn_last_line_of_a_former_process_does_not_swallow_the_next_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        fs::write(&path, "whole\ntor").unwrap();
        RotatingFile::open(&path, 1_000, 2).unwrap().append(b"next").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\ntor\nnext\n");
    }
}
