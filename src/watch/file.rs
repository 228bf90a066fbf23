//! One watched path: what was sent of it, and what is under way.

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

/// After a file was closed or renamed, this long must be quiet.
pub(super) const SETTLE: Duration = Duration::from_millis(20);
/// After a change without an event, this long: nothing tells whether its writer is done.
const UNKNOWN_SETTLE: Duration = Duration::from_millis(500);
/// A writer that has been silent for this long is looked for among the processes: its close may have come without an
/// event. While it is found, its close is waited for.
const SILENT_WRITER: Duration = Duration::from_secs(5);

pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) steps: Steps,
    pub(super) pending: Option<Pending>,
    sent: [u8; 32],
    stamp: Option<Stamp>,
    /// It has not been looked at yet.
    new: bool,
    /// It was there, and that it is not any more was said.
    gone: bool,
}

/// A change under way: what the file looked like at its last sign of life, and until when it has to stay so.
///
/// An event speaks for what was seen when it came. What looks different at the end of its quiet time was written to
/// since, by a writer whose own events are still on their way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) until_ns: u64,
    stamp: Option<Stamp>,
    /// What is written to and was not closed yet, by name: the file, or files of the folder.
    open: BTreeSet<OsString>,
    /// The last event said that its writer is done.
    closed: bool,
}

impl Pending {
    fn new(stamp: Option<Stamp>, quiet: Duration, now_ns: u64) -> Self {
        Self::with_open(stamp, BTreeSet::new(), quiet, now_ns)
    }

    /// Empty or gone is what a file is in the middle of some saves: that takes the longer time.
    fn with_open(stamp: Option<Stamp>, open: BTreeSet<OsString>, quiet: Duration, now_ns: u64) -> Self {
        let quiet = match &stamp {
            _ if !open.is_empty() => SILENT_WRITER,
            Some(stamp) if stamp.size > 0 => quiet,
            _ => UNKNOWN_SETTLE.max(quiet),
        };
        Self { stamp, open, closed: false, until_ns: now_ns + quiet.as_nanos() as u64 }
    }
}

/// What an event says about a writer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// It has the file open.
    Opened,
    /// It is done.
    Closed,
    /// Nothing.
    Unknown,
}

impl File {
    pub(super) fn new(path: PathBuf, loaded: &[u8]) -> Self {
        let steps = Steps::of(&path);
        Self { path, steps, pending: None, sent: disk::hash(loaded), stamp: None, new: true, gone: false }
    }

    /// Starts its quiet time anew where the event is about it; tells whether it is.
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

    /// Events were lost: what is written to is not known any more.
    pub(super) fn on_loss(&mut self, now_ns: u64) {
        self.pending = Some(Pending::new(stamp(&self.path).ok(), UNKNOWN_SETTLE, now_ns));
    }

    /// The change to send, once things have settled.
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
            // The first look at a file: its content is compared with what is in use.
            None if new && stamp.is_some_and(|s| s.size > 0) && !self.is_written() => {}
            // A change without an event, or not the one that the event spoke of.
            _ => {
                self.wait(stamp, UNKNOWN_SETTLE, now_ns);
                return None;
            }
        }
        let Some(stamp) = stamp else {
            // Gone, and not for the moment that a save takes.
            self.pending = None;
            let said = self.gone || self.stamp.is_none();
            return (!said).then(|| Changed { path: self.path.clone(), bytes: None });
        };
        let bytes = match disk::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), "a changed file cannot be read: {error}");
                (self.stamp, self.pending) = (Some(stamp), None);
                return None;
            }
        };
        // Written to between the look and the reading: what was read may be half of it.
        let after = disk::stamp(&self.path).ok();
        if after != Some(stamp) {
            self.wait(after, UNKNOWN_SETTLE, now_ns);
            return None;
        }
        (self.stamp, self.pending) = (Some(stamp), None);
        let same = disk::hash(&bytes) == self.sent && !self.gone;
        (!same).then(|| Changed { path: self.path.clone(), bytes: Some(bytes.into()) })
    }

    /// Waits on, for the writers that are known as well.
    fn wait(&mut self, stamp: Option<Stamp>, quiet: Duration, now_ns: u64) {
        let open = self.pending.take().map(|pending| pending.open).unwrap_or_default();
        self.pending = Some(Pending::with_open(stamp, open, quiet, now_ns));
    }

    /// Whether a writer that has not closed is still there. Where no event spoke of one, it may have come before the
    /// watch stood.
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

    /// The change was taken.
    pub(super) fn sent(&mut self, bytes: Option<&Arc<[u8]>>) {
        match bytes {
            Some(bytes) => (self.sent, self.gone) = (disk::hash(bytes), false),
            None => (self.stamp, self.gone) = (None, true),
        }
    }

    /// The receiver is busy: look again soon, and send what stands there then.
    pub(super) fn again(&mut self, now_ns: u64) {
        self.pending = Some(Pending::new(stamp(&self.path).ok(), SETTLE, now_ns));
    }
}

/// Whether the writer of a file has it open, by what happened to it.
fn writer(kind: EventKind, path: &Path) -> Writer {
    match kind {
        EventKind::Modify(ModifyKind::Data(_)) => Writer::Opened,
        // A link is made, not opened: nobody will close it.
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
