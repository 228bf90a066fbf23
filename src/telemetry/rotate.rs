//! A file of lines that rotates by size, and by time where that is set, without losing any; used by logs and the file
//! handler.
//!
//! `name` is the newest; a rotation renames `name.1` to `name.2` and so on, then `name` to `name.1`. Names are numbers,
//! not times, so several rotations within a second stay apart. Files beyond `backups` are deleted. One writer per file
//! appends whole records, each with one call; a partial write is truncated away. Data is synced to the medium on
//! rotation and on close, not per record: a crash of the process loses nothing, a power cut may lose what the system
//! had not written yet. Another program may move the file away at any time (logrotate): the next record begins a new
//! one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::types::Period;

/// A rotating file of lines.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    max_bytes: u64,
    backups: u32,
    /// The first line of every file, with its newline.
    header: Vec<u8>,
    /// After which the file rotates.
    period: Option<Period>,
    file: File,
    bytes: u64,
    /// When the last record was written, in seconds since 1970.
    written_s: u64,
}

/// An opened file, and its state before.
struct Opened {
    file: File,
    bytes: u64,
    written_s: u64,
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
        let Opened { file, bytes, written_s } = Self::open_file(path)?;
        let (path, max_bytes, header) = (path.to_owned(), max_bytes.max(1), Vec::new());
        Ok(Self { path, max_bytes, backups, header, period: None, file, bytes, written_s })
    }

    /// Begins every file with this line.
    #[must_use]
    pub fn with_header(mut self, line: &str) -> Self {
        self.header = format!("{line}\n").into_bytes();
        self
    }

    /// Also rotates before the first record of each period.
    #[must_use]
    pub fn every(mut self, period: Option<Period>) -> Self {
        self.period = period;
        self
    }

    fn open_file(path: &Path) -> io::Result<Opened> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let written_s = u64::try_from(found.mtime()).unwrap_or(0);
        let mut bytes = found.len();
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
        Ok(Opened { file, bytes, written_s })
    }

    /// Appends one record and a newline, rotating first if it would not fit.
    ///
    /// # Errors
    /// When writing fails; the file then ends with the previous record.
    pub fn append(&mut self, record: &[u8]) -> io::Result<()> {
        self.append_at(record, self.written_s)
    }

    /// As [`RotatingFile::append`], `now_s` seconds after 1970; also rotates if the previous record is of another
    /// period.
    ///
    /// # Errors
    /// As [`RotatingFile::append`].
    pub fn append_at(&mut self, record: &[u8], now_s: u64) -> io::Result<()> {
        self.reopen_if_moved()?;
        // Most records are of the second of the one before.
        let is_over = now_s > self.written_s
            && self.period.as_ref().is_some_and(|period| period.number(now_s) > period.number(self.written_s));
        if self.bytes > 0 && (is_over || self.bytes + record.len() as u64 + 1 > self.max_bytes) {
            self.rotate(self.backups)?;
        }
        let header = if self.bytes == 0 { self.header.as_slice() } else { &[] };
        let mut line = Vec::with_capacity(header.len() + record.len() + 1);
        line.extend_from_slice(header);
        line.extend_from_slice(record);
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // A full disk may have taken part of the record. Best effort: if this fails, the next open repairs the
            // file.
            if self.file.set_len(self.bytes).is_err() {
                let _ = self.file.write_all(b"\n");
            }
            return Err(error);
        }
        self.bytes += line.len() as u64;
        self.written_s = now_s;
        Ok(())
    }

    /// Moves what is in the file away, as a rotation does, and keeps it even where no rotated files are kept.
    ///
    /// # Errors
    /// When that fails.
    pub fn set_aside(&mut self) -> io::Result<()> {
        self.reopen_if_moved()?;
        if self.bytes > 0 { self.rotate(self.backups.max(1)) } else { Ok(()) }
    }

    /// Reopens the file if it was moved away (logrotate) or deleted.
    fn reopen_if_moved(&mut self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        let same = fs::metadata(&self.path).is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino()));
        if same {
            // It may have been truncated in place (logrotate's copytruncate).
            self.bytes = ours.len();
        } else {
            self.file.sync_data()?;
            self.open_again()?;
        }
        Ok(())
    }

    fn open_again(&mut self) -> io::Result<()> {
        Opened { file: self.file, bytes: self.bytes, written_s: self.written_s } = Self::open_file(&self.path)?;
        Ok(())
    }

    fn rotate(&mut self, keep: u32) -> io::Result<()> {
        self.file.sync_data()?;
        if keep == 0 {
            self.file.set_len(0)?;
        } else {
            // Only up to the first free number: later files need not move.
            let free = (1..keep).find(|n| !self.numbered(*n).exists()).unwrap_or(keep);
            for number in (1..free).rev() {
                rename(&self.numbered(number), &self.numbered(number + 1))?;
            }
            rename(&self.path, &self.numbered(1))?;
        }
        self.open_again()
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

/// Renames a file; without effect if another program has moved it away meanwhile.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
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
    use crate::types::TimeZone;

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
    fn a_file_rotates_before_the_first_record_of_each_period_and_by_size_within_it() {
        const DAY: u64 = 86_400;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        let written_at = |seconds: u64| {
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
        };
        let open = || RotatingFile::open(&path, 12, 9).unwrap().every(Some(Period::Day(TimeZone::utc())));
        let mut file = open();
        for (record, at) in [("a", 0), ("b", DAY - 1), ("c", DAY), ("d", 3 * DAY + 5), ("0123456789", 3 * DAY + 6)] {
            file.append_at(record.as_bytes(), at).unwrap();
        }
        let all = [read("x.log"), read("x.log.1"), read("x.log.2"), read("x.log.3"), read("x.log.4")];
        assert_eq!(all.map(Option::unwrap_or_default), ["0123456789\n", "d\n", "c\n", "a\nb\n", ""]);
        // A new process goes by the time of the last record, and a clock that is set back by a day sticks nowhere.
        drop(file);
        written_at(3 * DAY + 6);
        open().append_at(b"e", 4 * DAY - 1).unwrap();
        assert_eq!(read("x.log").unwrap(), "e\n", "by size");
        written_at(4 * DAY - 1);
        let mut file = open();
        file.append_at(b"f", 4 * DAY - 1).unwrap();
        assert_eq!(read("x.log").unwrap(), "e\nf\n", "the same day");
        file.append_at(b"g", 3 * DAY - 1).unwrap();
        file.append_at(b"h", 3 * DAY - 1).unwrap();
        assert_eq!(read("x.log").unwrap(), "e\nf\ng\nh\n", "a clock that was set back");
    }

    #[test]
    fn a_period_begins_with_the_hour_and_at_midnight_of_its_zone() {
        const HOUR: u64 = 3_600;
        // 2026-03-28 00:00 UTC; on the 29th clocks are set forward at 01:00 UTC, so that midnight comes at 22:00 UTC.
        let day = 1_774_656_000;
        let vienna = Period::Day(TimeZone::of("Europe/Vienna").unwrap());
        let begins = |period: &Period, at: u64| period.number(at) > period.number(at - 1);
        for (hour, is) in [(0, false), (22, false), (23, true), (24, false), (46, true), (47, false)] {
            assert_eq!(begins(&vienna, day + hour * HOUR), is, "{hour}");
        }
        let kolkata = Period::Hour(TimeZone::of("Asia/Kolkata").unwrap());
        assert!(begins(&kolkata, day + HOUR / 2) && !begins(&kolkata, day + HOUR));
        // A year's end, and an hour that comes twice.
        let utc = Period::Day(TimeZone::utc());
        assert!(begins(&utc, 1_798_761_600), "2027-01-01");
        let hour = Period::Hour(TimeZone::of("Europe/Vienna").unwrap());
        let back = 1_792_890_000;
        assert_eq!(hour.number(back - 1), hour.number(back), "2026-10-25 01:00 UTC");
    }

    #[test]
    fn every_file_begins_with_the_header_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        let open = || RotatingFile::open(&path, 12, 9).unwrap().with_header("a,b");
        let mut file = open();
        for record in ["1,2", "3,4", "5,6"] {
            file.append(record.as_bytes()).unwrap();
        }
        drop(file);
        let mut file = open();
        file.append(b"7,8").unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((read("x.csv"), read("x.csv.1")), ("a,b\n5,6\n7,8\n".to_owned(), "a,b\n1,2\n3,4\n".to_owned()));
        // Moved, truncated and set aside.
        fs::rename(&path, folder.path().join("moved")).unwrap();
        file.append(b"9,9").unwrap();
        assert_eq!(read("x.csv"), "a,b\n9,9\n");
        fs::write(&path, "").unwrap();
        file.append(b"0,0").unwrap();
        assert_eq!(read("x.csv"), "a,b\n0,0\n");
        let mut none = RotatingFile::open(&path, 12, 0).unwrap();
        none.set_aside().unwrap();
        none.set_aside().unwrap();
        assert_eq!((read("x.csv"), read("x.csv.1")), (String::new(), "a,b\n0,0\n".into()), "what is empty stays");
    }

    #[test]
    fn none_is_lost_or_torn_while_another_program_moves_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let mut file = RotatingFile::open(&path, 400, 1_000).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        let written: Vec<String> = (0..2_000).map(|i| format!("{{\"record\":{i:05}}}")).collect();
        let moves = std::thread::scope(|scope| {
            let mover = scope.spawn(|| {
                let mut moves = 0;
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let is_there = fs::metadata(&path).is_ok_and(|found| found.len() > 100);
                    let to = folder.path().join(format!("moved-{moves}"));
                    moves += u32::from(is_there && fs::rename(&path, to).is_ok());
                    std::thread::yield_now();
                }
                moves
            });
            for record in &written {
                file.append(record.as_bytes()).unwrap();
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            mover.join().unwrap()
        });
        assert_eq!(records(folder.path()), written, "{moves} moves");
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
