//! A file of lines that rotates by size and loses none: logs and the file handler write through it.
//!
//! `name` is the newest; a rotation renames `name.1` to `name.2` and so on, then `name` to `name.1`. Names are numbers,
//! not times, so any number of rotations within a second keeps every file apart. What falls off the end after
//! `backups` files is deleted: that bound is the user's. Records are written whole by one writer per file; a write
//! that the disk breaks off is cut away again. Data is synced to the medium when a file is rotated away and when it
//! is closed, not per record: a crash of the process loses nothing, a power cut may lose what the system still held.

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
    /// Opens `path` for appending and makes its folder if need be.
    ///
    /// # Errors
    /// What the system says when the file cannot be written.
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
            // A former process may have died in the middle of a line: the next record starts on its own.
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

    /// Appends one record and its line end, rotating first if it would not fit.
    ///
    /// # Errors
    /// What the system says; the file then ends with the former record.
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
            // A full disk may have taken half of it. Best effort: on failure the next open mends it.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += length;
        Ok(())
    }

    /// Follows the name when somebody else moved the file away (logrotate) or deleted it.
    fn reopen_if_moved(&mut self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        let same = fs::metadata(&self.path).is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino()));
        if same {
            // Truncated in place (logrotate's copytruncate): count from what is there.
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
            // Only up to the first free number: the rest need not move.
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
        // Nobody is left to tell.
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
