//! Watches files to trigger reloads.
//!
//! The *folders* are watched, because editors replace files and configuration mounts flip symlinks. An event only
//! triggers a check; a [`Changed`] is sent when, after the quiet time, the bytes differ from the last ones sent. So a
//! burst of saves yields the last content, however it was saved. A file is not read between the event of a write and
//! that of its writer's close. A poll every second covers file systems without events (network mounts, some
//! containers).
//!
//! A watched path may be a folder: its content is then its listing, one line per file with its stamp.

mod disk;
mod file;
mod writers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::error::{Code, Error};
use crate::types::Clock;
use disk::Steps;
use file::{File, SETTLE};

/// Polling interval without events.
const POLL: Duration = Duration::from_secs(1);
/// Capacity of the message queue; on overflow every file is checked.
const EVENTS_MAX: usize = 256;
/// Capacity of the change queue; a file that changes again while it is full is sent once, with its last content.
const CHANGES_MAX: usize = 16;

/// A file whose content changed or that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The path as passed to [`Watcher::add`].
    pub path: PathBuf,
    /// The whole new content; `None` if the file was removed.
    pub bytes: Option<Arc<[u8]>>,
}

/// Whether a process has any of these files open for writing, as far as this user can see.
pub fn is_written(files: &[PathBuf]) -> bool {
    writers::is_open(files)
}

/// Watches files on its own thread. Dropping it stops the thread.
#[derive(Debug)]
pub struct Watcher {
    changes: Receiver<Changed>,
    sender: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Event(notify::Result<notify::Event>),
    Add(Box<File>),
    Remove(PathBuf),
    Stop,
}

impl Watcher {
    /// Starts a watcher without files.
    ///
    /// # Errors
    /// [`Code::Io`] when no thread can be started.
    pub fn start(clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let (sender, receiver) = bounded(EVENTS_MAX);
        let (changes, received) = bounded(CHANGES_MAX);
        let events = sender.clone();
        let lost = Arc::new(AtomicBool::new(false));
        let no_room = Arc::clone(&lost);
        let notifier = notify::recommended_watcher(move |event| {
            if events.try_send(Message::Event(event)).is_err() {
                no_room.store(true, Ordering::Relaxed);
            }
        });
        let notifier = notifier
            .inspect_err(|error| tracing::warn!("no file events here, looking every second instead: {error}"))
            .ok();
        let watch_loop =
            WatchLoop { files: Vec::new(), folders: BTreeSet::new(), notifier, changes, clock, lost, due_ns: None };
        let thread = thread::Builder::new()
            .name("watch".into())
            .spawn(move || watch_loop.run(&receiver))
            .map_err(|error| Error::new(Code::Io, format!("the file watcher cannot start: {error}")))?;
        Ok(Self { changes: received, sender, thread: Some(thread) })
    }

    /// Watches a file whose content in use is `loaded`: any difference is a change, even one made meanwhile. A folder
    /// has no content in use, so existing files are a change, too.
    pub fn add(&self, path: &Path, loaded: &[u8]) {
        self.send(Message::Add(Box::new(File::new(path.to_owned(), loaded))));
    }

    /// Stops watching a file.
    pub fn remove(&self, path: &Path) {
        self.send(Message::Remove(path.to_owned()));
    }

    /// Receives changes.
    pub fn changes(&self) -> &Receiver<Changed> {
        &self.changes
    }

    fn send(&self, message: Message) {
        // Blocks while the queue is full, for milliseconds at most; fails only if the thread has died.
        if self.sender.send(message).is_err() {
            tracing::error!("the file watcher has died; edits go unnoticed");
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Fails only if the thread has died already.
        let _ = self.sender.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// State of the watcher's thread.
struct WatchLoop {
    files: Vec<File>,
    folders: BTreeSet<PathBuf>,
    notifier: Option<RecommendedWatcher>,
    changes: Sender<Changed>,
    clock: Arc<dyn Clock>,
    /// The event queue overflowed.
    lost: Arc<AtomicBool>,
    /// When to check all files, after an event that concerned none of them.
    due_ns: Option<u64>,
}

impl WatchLoop {
    fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            // First process queued events, which are older.
            if receiver.is_empty() && self.lost.swap(false, Ordering::Relaxed) {
                self.on_loss();
            }
            let due = self.files.iter().filter_map(|f| Some(f.pending.as_ref()?.until_ns)).chain(self.due_ns).min();
            let now = self.clock.monotonic_ns();
            let wait = due.map_or(POLL, |due| Duration::from_nanos(due.saturating_sub(now)).min(POLL));
            match receiver.recv_timeout(wait) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Message::Add(file)) => {
                    self.files.retain(|f| f.path != file.path);
                    self.files.push(*file);
                    self.look();
                }
                Ok(Message::Remove(path)) => self.files.retain(|f| f.path != path),
                Ok(Message::Event(event)) => self.on_event(&event),
                Err(RecvTimeoutError::Timeout) => self.look(),
            }
        }
    }

    /// Schedules a check. An event on a watched name restarts that file's quiet time; any other event in its folder (a
    /// symlink flip, another file) only ensures that a check comes, so that a busy neighbour cannot delay it.
    fn on_event(&mut self, event: &notify::Result<notify::Event>) {
        let Some(event) = event.as_ref().ok().filter(|event| !event.need_rescan()) else { return self.on_loss() };
        if matches!(event.kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write)) {
            // Our own reads cause these events.
            return;
        }
        let now = self.clock.monotonic_ns();
        let mut ours = false;
        for file in &mut self.files {
            ours |= file.on_event(event, now);
        }
        if !ours {
            self.due_ns.get_or_insert(now + SETTLE.as_nanos() as u64);
        }
    }

    /// Events were lost: check everything.
    fn on_loss(&mut self) {
        let now = self.clock.monotonic_ns();
        self.files.iter_mut().for_each(|file| file.on_loss(now));
    }

    /// Checks every file that is due against the content last sent.
    fn look(&mut self) {
        self.due_ns = None;
        let now = self.clock.monotonic_ns();
        for file in &mut self.files {
            let Some(change) = file.look(now) else { continue };
            let bytes = change.bytes.clone();
            match self.changes.try_send(change) {
                Ok(()) => file.sent(bytes.as_ref()),
                Err(TrySendError::Full(_)) => file.again(now),
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
        self.watch_folders();
    }

    /// Updates the set of watched folders to those where a change could show.
    fn watch_folders(&mut self) {
        let Some(notifier) = &mut self.notifier else { return };
        let mut wanted = BTreeSet::new();
        for file in &mut self.files {
            file.steps = Steps::of(&file.path);
            wanted.extend(file.steps.folders.iter().cloned());
        }
        for gone in self.folders.difference(&wanted) {
            // A deleted folder is unwatched already.
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
            // A second check catches changes made between the check and the watch.
            self.due_ns.get_or_insert(self.clock.monotonic_ns() + SETTLE.as_nanos() as u64);
        }
    }
}
