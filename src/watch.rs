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
/// While a writer still has the file open, this long; some never close.
const OPEN_SETTLE: Duration = Duration::from_millis(500);
/// How often to look without an event.
const POLL: Duration = Duration::from_secs(1);
/// Events between two looks; more only mean the same: look.
const EVENTS_MAX: usize = 256;
/// Changes that wait for the receiver; a file that changes again meanwhile is sent once, with its last content.
const CHANGES_MAX: usize = 16;
/// Bigger files are not read.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A file whose content changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The path as it was given.
    pub path: PathBuf,
    /// The whole new content, read once.
    pub bytes: Arc<[u8]>,
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
    /// When to look, while something happened.
    due_ns: Option<u64>,
}

struct File {
    path: PathBuf,
    sent: [u8; 32],
    stamp: Option<Stamp>,
    /// What it looked like when it was put off as perhaps unfinished, and until when it has to stay so.
    doubted: Option<(Stamp, u64)>,
    /// Something happened to it since the last look.
    touched: bool,
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
            let wait = self
                .due_ns
                .map_or(POLL, |due| Duration::from_nanos(due.saturating_sub(self.clock.monotonic_ns())).min(POLL));
            match inbox.recv_timeout(wait) {
                Ok(Mail::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Mail::Add(path, sent)) => {
                    self.files.retain(|f| f.path != path);
                    self.files.push(File { path, sent, stamp: None, doubted: None, touched: true });
                    self.look();
                }
                Ok(Mail::Remove(path)) => self.files.retain(|f| f.path != path),
                Ok(Mail::Event(event)) => self.on_event(&event),
                Err(RecvTimeoutError::Timeout) if self.due_ns.is_none_or(|d| d <= self.clock.monotonic_ns()) => {
                    self.look();
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Plans a look. An event on a watched name starts the quiet time anew; anything else in the folder (a symlink
    /// flip, another file) only makes sure that a look comes, so that a busy neighbour cannot put it off for ever.
    fn on_event(&mut self, event: &notify::Result<notify::Event>) {
        let now = self.clock.monotonic_ns();
        let after = |quiet: Duration| now + quiet.as_nanos() as u64;
        let Ok(event) = event else {
            // The system lost events: look at everything.
            self.files.iter_mut().for_each(|f| f.touched = true);
            self.due_ns.get_or_insert(after(SETTLE));
            return;
        };
        if matches!(event.kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write)) {
            // Our own reading is one of these.
            return;
        }
        let mut ours = false;
        for file in &mut self.files {
            if event.paths.iter().any(|path| path.file_name() == file.path.file_name()) {
                file.touched = true;
                ours = true;
            }
        }
        let still_open = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)) | EventKind::Create(_));
        if ours {
            self.due_ns = Some(after(if still_open { OPEN_SETTLE } else { SETTLE }));
        } else {
            self.due_ns.get_or_insert(after(SETTLE));
        }
    }

    /// Compares every file's content with what was last sent.
    fn look(&mut self) {
        self.due_ns = None;
        let now = self.clock.monotonic_ns();
        let mut again: Option<u64> = None;
        for file in &mut self.files {
            let Ok(stamp) = stamp(&file.path) else {
                // Gone for now: a save in progress, or deleted. What runs goes on.
                file.stamp = None;
                continue;
            };
            if !file.touched && file.stamp == Some(stamp) {
                continue;
            }
            // A look may come, for a neighbour's sake, between a writer's truncation and its first byte, before the
            // event of either. What changed without an event, and what is empty, counts once it has stayed so.
            let unannounced = !file.touched && file.stamp.is_some();
            if unannounced || stamp.size == 0 {
                let quiet = if stamp.size == 0 { OPEN_SETTLE } else { SETTLE };
                let until = match file.doubted {
                    Some((doubted, until)) if doubted == stamp => until,
                    _ => now + quiet.as_nanos() as u64,
                };
                if now < until {
                    // An event meanwhile brings a look, not a verdict.
                    file.doubted = Some((stamp, until));
                    again = Some(again.map_or(until, |at| at.min(until)));
                    continue;
                }
            }
            let bytes = match read(&file.path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!(path = %file.path.display(), "a changed file cannot be read: {error}");
                    file.stamp = Some(stamp);
                    file.touched = false;
                    continue;
                }
            };
            let hash = hash(&bytes);
            if hash != file.sent {
                let change = Changed { path: file.path.clone(), bytes: bytes.into() };
                match self.changes.try_send(change) {
                    Ok(()) => file.sent = hash,
                    // The receiver is busy: look again soon, and send what stands there then.
                    Err(TrySendError::Full(_)) => {
                        self.due_ns = Some(self.clock.monotonic_ns() + SETTLE.as_nanos() as u64);
                        continue;
                    }
                    Err(TrySendError::Disconnected(_)) => return,
                }
            }
            file.stamp = Some(stamp);
            file.touched = false;
        }
        if let Some(until) = again {
            self.due_ns = Some(self.due_ns.map_or(until, |due| due.min(until)));
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
