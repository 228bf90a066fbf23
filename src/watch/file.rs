//! The state of one watched path: last content sent, and pending change.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind};

use super::Changed;
use super::disk::{self, Stamp, Steps, stamp};
use super::writers;

/// Quiet time after a file was closed or renamed.
pub(super) const SETTLE: Duration = Duration::from_millis(20);
/// Quiet time after a change without an event: its writer may not be done.
const UNKNOWN_SETTLE: Duration = Duration::from_millis(500);
/// After this much silence the processes are searched for the writer, whose close event may have been lost. While one
/// is found, its close is awaited.
const SILENT_WRITER: Duration = Duration::from_secs(5);

pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) steps: Steps,
    pub(super) pending: Option<Pending>,
    sent: [u8; 32],
    stamp: Option<Stamp>,
    /// Not checked yet.
    new: bool,
    /// The file was there, and its removal was sent.
    gone: bool,
}

/// A pending change: the file's stamp at the last event, and how long it must stay unchanged.
///
/// An event vouches for the stamp taken when it arrived. A different stamp at the end of the quiet time means that the
/// file was written again, and that those events are still under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) until_ns: u64,
    stamp: Option<Stamp>,
    /// Names of files written to and not closed yet: the file itself, or files in the folder.
    open: BTreeSet<OsString>,
    /// The last event reported that the writer is done.
    closed: bool,
}

impl Pending {
    fn new(stamp: Option<Stamp>, quiet: Duration, now_ns: u64) -> Self {
        Self::with_open(stamp, BTreeSet::new(), quiet, now_ns)
    }

    /// Some saves leave a file empty or missing for a moment, which takes the longer quiet time.
    fn with_open(stamp: Option<Stamp>, open: BTreeSet<OsString>, quiet: Duration, now_ns: u64) -> Self {
        let quiet = match &stamp {
            _ if !open.is_empty() => SILENT_WRITER,
            Some(stamp) if stamp.size > 0 => quiet,
            _ => UNKNOWN_SETTLE.max(quiet),
        };
        Self { stamp, open, closed: false, until_ns: now_ns + quiet.as_nanos() as u64 }
    }
}

/// What an event reveals about a file's writer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// It has opened the file.
    Opened,
    /// It is done with the file.
    Closed,
    /// Nothing is known.
    Unknown,
}

impl File {
    pub(super) fn new(path: PathBuf, loaded: &[u8]) -> Self {
        let steps = Steps::of(&path);
        Self { path, steps, pending: None, sent: disk::hash(loaded), stamp: None, new: true, gone: false }
    }

    /// Restarts the quiet time if the event concerns this file; returns whether it does.
    pub(super) fn on_event(&mut self, event: &Event, now_ns: u64) -> bool {
        let about: Vec<&Path> = event.paths.iter().map(PathBuf::as_path).filter(|path| self.is_about(path)).collect();
        if about.is_empty() {
            return false;
        }
        let mut open = self.pending.take().map(|pending| pending.open).unwrap_or_default();
        let mut is_done = false;
        for path in about {
            let Some(name) = path.file_name() else { continue };
            match writer(event.kind, path) {
                Writer::Opened => drop(open.insert(name.to_owned())),
                Writer::Closed => {
                    open.remove(name);
                    is_done = true;
                }
                Writer::Unknown => {}
            }
        }
        let written = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)) | EventKind::Create(_));
        let quiet = if written { UNKNOWN_SETTLE } else { SETTLE };
        let pending = Pending::with_open(stamp(&self.path).ok(), open, quiet, now_ns);
        self.pending = Some(Pending { closed: is_done && pending.open.is_empty(), ..pending });
        true
    }

    fn is_about(&self, event: &Path) -> bool {
        event.file_name().is_some_and(|name| self.steps.names.contains(name))
            || event.parent().is_some_and(|folder| self.steps.inside.contains(folder))
    }

    /// Events were lost, so the open writers are unknown.
    pub(super) fn on_loss(&mut self, now_ns: u64) {
        self.pending = Some(Pending::new(stamp(&self.path).ok(), UNKNOWN_SETTLE, now_ns));
    }

    /// Checks the file; returns the change to send once it has settled.
    pub(super) fn look(&mut self, now_ns: u64) -> Option<Changed> {
        let stamp = stamp(&self.path).ok();
        let new = std::mem::take(&mut self.new);
        if self.pending.is_none() && self.stamp == stamp {
            return None;
        }
        match &self.pending {
            Some(pending) if pending.stamp == stamp => {
                if now_ns < pending.until_ns {
                    return None;
                }
                if self.is_written() {
                    self.wait(stamp, SILENT_WRITER, now_ns);
                    return None;
                }
            }
            // The first check of a file: compare its content with the content in use.
            None if new && stamp.is_some_and(|s| s.size > 0) && !self.is_written() => {}
            // A change without an event, or after the event's stamp.
            _ => {
                self.wait(stamp, UNKNOWN_SETTLE, now_ns);
                return None;
            }
        }
        let Some(stamp) = stamp else {
            // Gone for longer than a save takes.
            self.pending = None;
            let reported = self.gone || self.stamp.is_none();
            return (!reported).then(|| Changed { path: self.path.clone(), bytes: None });
        };
        let bytes = match disk::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), "a changed file cannot be read: {error}");
                (self.stamp, self.pending) = (Some(stamp), None);
                return None;
            }
        };
        // The file changed while it was read: the content may be incomplete.
        let after = disk::stamp(&self.path).ok();
        if after != Some(stamp) {
            self.wait(after, UNKNOWN_SETTLE, now_ns);
            return None;
        }
        (self.stamp, self.pending) = (Some(stamp), None);
        let same = disk::hash(&bytes) == self.sent && !self.gone;
        (!same).then(|| Changed { path: self.path.clone(), bytes: Some(bytes.into()) })
    }

    /// Restarts the quiet time and keeps the known writers.
    fn wait(&mut self, stamp: Option<Stamp>, quiet: Duration, now_ns: u64) {
        let open = self.pending.take().map(|pending| pending.open).unwrap_or_default();
        self.pending = Some(Pending::with_open(stamp, open, quiet, now_ns));
    }

    /// Whether a writer still has the file open. Without a known writer all processes are searched, because one may
    /// have opened it before the watch began.
    fn is_written(&self) -> bool {
        let open = match &self.pending {
            Some(pending) if pending.closed => return false,
            Some(pending) => &pending.open,
            None => &BTreeSet::new(),
        };
        let of_folder = || disk::files_in(&self.path).unwrap_or_default();
        let files = if self.steps.inside.is_empty() { vec![self.path.clone()] } else { of_folder() };
        let is_meant = |path: &PathBuf| path.file_name().is_some_and(|name| open.contains(name));
        let known = !open.is_empty() && !self.steps.inside.is_empty();
        writers::is_open(&files.into_iter().filter(|path| !known || is_meant(path)).collect::<Vec<_>>())
    }

    /// The change was queued for the receiver.
    pub(super) fn sent(&mut self, bytes: Option<&Arc<[u8]>>) {
        match bytes {
            Some(bytes) => (self.sent, self.gone) = (disk::hash(bytes), false),
            None => (self.stamp, self.gone) = (None, true),
        }
    }

    /// The receiver's queue is full: check again soon, and send the content as of then.
    pub(super) fn again(&mut self, now_ns: u64) {
        self.pending = Some(Pending::new(stamp(&self.path).ok(), SETTLE, now_ns));
    }
}

/// What an event reveals about the writer of `path`.
fn writer(kind: EventKind, path: &Path) -> Writer {
    match kind {
        EventKind::Modify(ModifyKind::Data(_)) => Writer::Opened,
        // Links are created without being opened, so no close event follows.
        EventKind::Create(_) => match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_file() && meta.nlink() == 1 => Writer::Opened,
            _ => Writer::Unknown,
        },
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_))
        | EventKind::Remove(_) => Writer::Closed,
        _ => Writer::Unknown,
    }
}
