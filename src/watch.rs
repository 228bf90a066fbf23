//! Watching files, so that an edit becomes a reload.
//!
//! The *folders* are watched, because editors replace files and configuration mounts flip symlinks; every event only
//! means "look again", and what is looked at is the content: a [`Changed`] is sent when, after things have settled,
//! the bytes differ from the last ones sent. So a burst of saves ends on its last content, whatever way it was saved
//! in. A look every second besides makes up for file systems without events (network mounts, some containers).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest as _, Sha256};

use crate::error::{Code, Error};
use crate::types::Clock;

/// After a file was closed or renamed, this long must be quiet.
const SETTLE: Duration = Duration::from_millis(20);
/// While a writer still has the file open, this long; some never close. Also after a change without an event, where
/// nothing tells whether its writer is done.
const OPEN_SETTLE: Duration = Duration::from_millis(500);
/// How often to look without an event.
const POLL: Duration = Duration::from_secs(1);
/// Events between two looks; more only mean the same: look.
const EVENTS_MAX: usize = 256;
/// Changes that wait for the receiver; a file that changes again meanwhile is sent once, with its last content.
const CHANGES_MAX: usize = 16;
/// Bigger files are not read.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A file whose content changed, or that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The path as it was given.
    pub path: PathBuf,
    /// The whole new content, read once; `None` where the file was there and is not any more.
    pub bytes: Option<Arc<[u8]>>,
}

/// Watches files on a thread of its own. Dropping it stops the thread.
#[derive(Debug)]
pub struct Watcher {
    changes: Receiver<Changed>,
    mail: Sender<Mail>,
    thread: Option<JoinHandle<()>>,
}

enum Mail {
    Event(notify::Result<notify::Event>),
    Add(PathBuf, [u8; 32]),
    Remove(PathBuf),
    Stop,
}

impl Watcher {
    /// A watcher of no file yet.
    ///
    /// # Errors
    /// [`Code::Io`] when the system gives no thread.
    pub fn start(clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let (mail, inbox) = bounded(EVENTS_MAX);
        let (changes, received) = bounded(CHANGES_MAX);
        let events = mail.clone();
        // A full inbox already means that a look is due.
        let notifier = notify::recommended_watcher(move |event| drop(events.try_send(Mail::Event(event))));
        let notifier = notifier
            .inspect_err(|error| tracing::warn!("no file events here, looking every second instead: {error}"))
            .ok();
        let eye = Eye { files: Vec::new(), folders: BTreeSet::new(), notifier, changes, clock, due_ns: None };
        let thread = thread::Builder::new()
            .name("watch".into())
            .spawn(move || eye.run(&inbox))
            .map_err(|error| Error::new(Code::Io, format!("the file watcher cannot start: {error}")))?;
        Ok(Self { changes: received, mail, thread: Some(thread) })
    }

    /// Watches a file of which `loaded` is in use: whatever differs from that is a change, even one made meanwhile.
    pub fn add(&self, path: &Path, loaded: &[u8]) {
        self.post(Mail::Add(path.to_owned(), hash(loaded)));
    }

    /// Watches a file no more.
    pub fn remove(&self, path: &Path) {
        self.post(Mail::Remove(path.to_owned()));
    }

    /// Where changes arrive.
    pub fn changes(&self) -> &Receiver<Changed> {
        &self.changes
    }

    fn post(&self, mail: Mail) {
        // Waits while the inbox is full, milliseconds at most; fails only if the thread has died.
        if self.mail.send(mail).is_err() {
            tracing::error!("the file watcher has died; edits go unnoticed");
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // A thread that has died already needs no message and has nothing to say.
        let _ = self.mail.send(Mail::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's own.
struct Eye {
    files: Vec<File>,
    folders: BTreeSet<PathBuf>,
    notifier: Option<RecommendedWatcher>,
    changes: Sender<Changed>,
    clock: Arc<dyn Clock>,
    /// When to look at all files, after something happened beside them.
    due_ns: Option<u64>,
}

struct File {
    path: PathBuf,
    sent: [u8; 32],
    stamp: Option<Stamp>,
    pending: Option<Pending>,
    /// It has not been looked at yet.
    new: bool,
    /// It was there, and that it is not any more was said.
    gone: bool,
}

/// A change under way: what the file looked like at its last sign of life, and until when it has to stay so.
///
/// An event speaks for what was seen when it came. What looks different at the end of its quiet time was written to
/// since, by a writer whose own events are still on their way.
#[derive(Debug, Clone, Copy)]
struct Pending {
    stamp: Option<Stamp>,
    until_ns: u64,
}

impl Pending {
    /// Empty or gone is what a file is in the middle of some saves: that takes the longer time.
    fn new(stamp: Option<Stamp>, quiet: Duration, now_ns: u64) -> Self {
        let quiet = if stamp.is_none_or(|s| s.size == 0) { OPEN_SETTLE } else { quiet };
        Self { stamp, until_ns: now_ns + quiet.as_nanos() as u64 }
    }
}

/// What a cheap look compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Eye {
    fn run(mut self, inbox: &Receiver<Mail>) {
        loop {
            let due = self.files.iter().filter_map(|f| Some(f.pending?.until_ns)).chain(self.due_ns).min();
            let now = self.clock.monotonic_ns();
            let wait = due.map_or(POLL, |due| Duration::from_nanos(due.saturating_sub(now)).min(POLL));
            match inbox.recv_timeout(wait) {
                Ok(Mail::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Mail::Add(path, sent)) => {
                    self.files.retain(|f| f.path != path);
                    self.files.push(File { path, sent, stamp: None, pending: None, new: true, gone: false });
                    self.look();
                }
                Ok(Mail::Remove(path)) => self.files.retain(|f| f.path != path),
                Ok(Mail::Event(event)) => self.on_event(&event),
                Err(RecvTimeoutError::Timeout) if due.is_none_or(|due| due <= self.clock.monotonic_ns()) => self.look(),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Plans a look. An event on a watched name starts that file's quiet time anew; anything else in the folder (a
    /// symlink flip, another file) only makes sure that a look comes, so that a busy neighbour cannot put it off.
    fn on_event(&mut self, event: &notify::Result<notify::Event>) {
        let now = self.clock.monotonic_ns();
        let Ok(event) = event else {
            // The system lost events: look at everything.
            for file in &mut self.files {
                file.pending = Some(Pending::new(stamp(&file.path).ok(), OPEN_SETTLE, now));
            }
            return;
        };
        if matches!(event.kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write)) {
            // Our own reading is one of these.
            return;
        }
        let still_open = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)) | EventKind::Create(_));
        let quiet = if still_open { OPEN_SETTLE } else { SETTLE };
        let mut ours = false;
        for file in &mut self.files {
            if event.paths.iter().any(|path| path.file_name() == file.path.file_name()) {
                file.pending = Some(Pending::new(stamp(&file.path).ok(), quiet, now));
                ours = true;
            }
        }
        if !ours {
            self.due_ns.get_or_insert(now + SETTLE.as_nanos() as u64);
        }
    }

    /// Compares every file that is due with what was last sent of it.
    fn look(&mut self) {
        self.due_ns = None;
        let now = self.clock.monotonic_ns();
        for file in &mut self.files {
            let stamp = stamp(&file.path).ok();
            let new = std::mem::take(&mut file.new);
            if file.pending.is_none() && file.stamp == stamp {
                continue;
            }
            match file.pending {
                Some(pending) if pending.stamp == stamp => {
                    if now < pending.until_ns {
                        continue;
                    }
                }
                // The first look at a file: its content is compared with what is in use.
                None if new && stamp.is_some_and(|s| s.size > 0) => {}
                // A change without an event, or not the one that the event spoke of.
                _ => {
                    file.pending = Some(Pending::new(stamp, OPEN_SETTLE, now));
                    continue;
                }
            }
            if stamp.is_none() {
                // Gone, and not for the moment that a save takes.
                let told = file.gone || file.stamp.is_none() || {
                    let change = Changed { path: file.path.clone(), bytes: None };
                    self.changes.try_send(change).is_ok()
                };
                file.pending = if told { None } else { Some(Pending::new(None, SETTLE, now)) };
                if told {
                    file.gone |= file.stamp.take().is_some();
                }
                continue;
            }
            let bytes = match read(&file.path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!(path = %file.path.display(), "a changed file cannot be read: {error}");
                    file.stamp = stamp;
                    file.pending = None;
                    continue;
                }
            };
            // Written to between the look and the reading: what was read may be half of it.
            let after = self::stamp(&file.path).ok();
            if after != stamp {
                file.pending = Some(Pending::new(after, OPEN_SETTLE, now));
                continue;
            }
            let hash = hash(&bytes);
            if hash != file.sent || file.gone {
                let change = Changed { path: file.path.clone(), bytes: Some(bytes.into()) };
                match self.changes.try_send(change) {
                    Ok(()) => (file.sent, file.gone) = (hash, false),
                    // The receiver is busy: look again soon, and send what stands there then.
                    Err(TrySendError::Full(_)) => {
                        file.pending = Some(Pending::new(stamp, SETTLE, now));
                        continue;
                    }
                    Err(TrySendError::Disconnected(_)) => return,
                }
            }
            file.stamp = stamp;
            file.pending = None;
        }
        self.watch_folders();
    }

    /// Keeps the watched folders those that a change could show in now.
    fn watch_folders(&mut self) {
        let Some(notifier) = &mut self.notifier else { return };
        let wanted: BTreeSet<PathBuf> = self.files.iter().flat_map(|f| folders_of(&f.path)).collect();
        for gone in self.folders.difference(&wanted) {
            // A folder that was deleted is unwatched already.
            let _ = notifier.unwatch(gone);
        }
        let mut watched: BTreeSet<PathBuf> = self.folders.intersection(&wanted).cloned().collect();
        for new in wanted.difference(&self.folders) {
            match notifier.watch(new, RecursiveMode::NonRecursive) {
                Ok(()) => drop(watched.insert(new.clone())),
                Err(error) => tracing::debug!(folder = %new.display(), "not watched, looked at every second: {error}"),
            }
        }
        let more = watched != self.folders;
        self.folders = watched;
        if more {
            // What changed between the look and the watch shows in a second one.
            self.due_ns.get_or_insert(self.clock.monotonic_ns() + SETTLE.as_nanos() as u64);
        }
    }
}

/// The folder of the path, and on the way along its symlinks the folder of each.
fn folders_of(path: &Path) -> BTreeSet<PathBuf> {
    /// More links in a row than the kernel follows.
    const LINKS_MAX: usize = 40;
    let mut folders = BTreeSet::new();
    let mut queue = vec![path.to_owned()];
    for _ in 0..LINKS_MAX {
        let Some(path) = queue.pop() else { break };
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        folders.insert(parent.to_owned());
        for step in path.ancestors().filter(|step| !step.as_os_str().is_empty()) {
            let Ok(target) = fs::read_link(step) else { continue };
            let folder = step.parent().unwrap_or(Path::new("."));
            folders.insert(if folder.as_os_str().is_empty() { ".".into() } else { folder.to_owned() });
            let rest = path.strip_prefix(step).unwrap_or(Path::new(""));
            let followed = folder.join(target);
            queue.push(if rest.as_os_str().is_empty() { followed } else { followed.join(rest) });
        }
    }
    folders
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(Stamp { device: meta.dev(), inode: meta.ino(), size: meta.size(), changed: (meta.ctime(), meta.ctime_nsec()) })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
