//! The files: one folder per day of capture, `ALERT.jpg` and `ALERT.clean.jpg` in it. For this user's eyes only.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use crate::types::{AlertId, rfc3339};

/// Bytes that no picture reaches.
pub(super) const LARGEST: usize = 32 << 20;

/// Which picture of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// With boxes and zones, or what the rule itself made.
    Annotated,
    /// The frame as it was.
    Clean,
}

/// See the module.
pub(super) struct Files {
    folder: PathBuf,
    /// Of all pictures; kept by the one thread that writes.
    bytes: AtomicU64,
}

impl Which {
    /// Both.
    const ALL: [Self; 2] = [Self::Annotated, Self::Clean];
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, bytes: AtomicU64::new(0) }
    }

    /// The file of a picture; `None` for an id that no alert has, so that nothing else can be named.
    fn path(&self, id: &AlertId, which: Which) -> Option<PathBuf> {
        // One that was read from a journal may be any text.
        let id = AlertId::parse(id.as_str())?;
        let time = rfc3339(id.unix_ns() / 1_000_000);
        let kind = match which {
            Which::Annotated => "jpg",
            Which::Clean => "clean.jpg",
        };
        Some(self.folder.join(&time[..10]).join(format!("{id}.{kind}")))
    }

    /// Writes a picture beside its place and moves it there.
    pub(super) fn write(&self, id: &AlertId, which: Which, jpeg: &[u8]) -> io::Result<()> {
        let Some(path) = self.path(id, which) else { return Err(io::Error::other("its alert has no proper id")) };
        if let Some(day) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(day)?;
        }
        let part = path.with_extension("part");
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)
            .and_then(|mut file| file.write_all(jpeg))
            .and_then(|()| {
                let former = length(&path);
                fs::rename(&part, &path)?;
                self.bytes.fetch_add(jpeg.len() as u64, Ordering::Relaxed);
                self.subtract(former);
                Ok(())
            });
        written.inspect_err(|_| {
            // What is left of it takes room.
            let _ = fs::remove_file(&part);
        })
    }

    /// Gives a picture another id, with the file without boxes if there is one.
    ///
    /// # Errors
    /// When there is none any more, or it cannot be moved.
    pub(super) fn rename(&self, from: &AlertId, to: &AlertId) -> io::Result<()> {
        for which in Which::ALL {
            let paths = self.path(from, which).zip(self.path(to, which));
            let Some((from, to)) = paths else { return Err(io::Error::other("its alert has no proper id")) };
            if let Some(day) = to.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(day)?;
            }
            let former = length(&to);
            match fs::rename(&from, &to) {
                Ok(()) => self.subtract(former),
                Err(error) if which == Which::Clean && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes a picture. Returns how many files that were.
    pub(super) fn remove(&self, id: &AlertId) -> u64 {
        let paths = Which::ALL.into_iter().filter_map(|which| self.path(id, which));
        paths.map(|path| u64::from(self.remove_file(&path))).sum()
    }

    fn remove_file(&self, path: &Path) -> bool {
        let bytes = length(path);
        let is_removed = fs::remove_file(path).is_ok();
        if is_removed {
            self.subtract(bytes);
        }
        is_removed
    }

    /// A whole picture; `None` if there is none.
    pub(super) fn read(&self, id: &AlertId, which: Which) -> Option<Vec<u8>> {
        let file = fs::File::open(self.path(id, which)?).ok()?;
        let mut jpeg = Vec::new();
        file.take(LARGEST as u64).read_to_end(&mut jpeg).ok()?;
        // A file that a power cut left unwritten is none.
        (jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9])).then_some(jpeg)
    }

    /// Counts the bytes that are there, and removes what a former process did not finish.
    pub(super) fn measure(&self) {
        let mut bytes = 0;
        for path in list(&self.folder).iter().flat_map(|day| list(day)) {
            if path.extension().is_some_and(|extension| extension == "part") {
                let _ = fs::remove_file(&path);
            } else {
                bytes += length(&path);
            }
        }
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Removes the pictures that were written more than `keep` before `now_ns`. Returns how many.
    pub(super) fn expire(&self, keep: Duration, now_ns: u64) -> u64 {
        let Some(until) = (UNIX_EPOCH + Duration::from_nanos(now_ns)).checked_sub(keep) else { return 0 };
        self.remove_while(|path| match fs::metadata(path).and_then(|meta| meta.modified()) {
            Ok(written) if written < until => Step::Remove,
            _ => Step::Leave,
        })
    }

    /// Removes the oldest pictures until they have `most` bytes together; some more, so that not every picture removes
    /// one. Returns how many.
    pub(super) fn trim(&self, most: u64) -> u64 {
        if self.bytes.load(Ordering::Relaxed) <= most {
            return 0;
        }
        self.remove_while(
            |_| {
                if self.bytes.load(Ordering::Relaxed) > most / 10 * 9 { Step::Remove } else { Step::Stop }
            },
        )
    }

    /// Goes through the pictures, the oldest capture first, and removes empty days.
    fn remove_while(&self, step: impl Fn(&Path) -> Step) -> u64 {
        let mut removed = 0;
        'days: for day in list(&self.folder) {
            for path in list(&day) {
                match step(&path) {
                    Step::Leave => {}
                    Step::Stop => break 'days,
                    Step::Remove => removed += u64::from(self.remove_file(&path)),
                }
            }
            // Succeeds for an empty one only.
            let _ = fs::remove_dir(&day);
        }
        removed
    }

    fn subtract(&self, bytes: u64) {
        let left = self.bytes.load(Ordering::Relaxed).saturating_sub(bytes);
        self.bytes.store(left, Ordering::Relaxed);
    }
}

/// What to do with a picture.
enum Step {
    Remove,
    Leave,
    Stop,
}

/// The entries of a folder, by name.
fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}
