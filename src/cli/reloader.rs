//! Reloading while `run` runs: of what is saved, configuration and scripts, and of everything on SIGHUP. On a thread of
//! its own, because a component may take a minute to compile, which neither a signal nor the end of the sources waits
//! for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, never, select_biased, tick};
use dsengine::control::{Control, Who};
use dsengine::engine::{EngineApi as _, Handle, SystemClock};
use dsengine::watch::{self, Changed, Watcher};

use super::memory;

/// How often it is looked whether a reload, whoever asked for it, has brought other files to watch.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// The thread. It ends after the reload under way.
pub(crate) struct Reloader {
    end: Option<Sender<()>>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Reloader {
    /// Watches the configuration's files and the scripts in use; `hangups` asks to reload all of them.
    pub(crate) fn start(control: Arc<Control>, hangups: Receiver<()>) -> Self {
        let (end, asked) = bounded(0);
        let (over, ended) = bounded::<()>(0);
        let run = move || {
            run(&control, hangups, &asked);
            drop(over);
        };
        let thread = std::thread::Builder::new()
            .name("reload".into())
            .spawn(run)
            .inspect_err(|error| tracing::error!(%error, "nothing is reloaded; edits take effect after a restart"));
        Self { end: Some(end), ended, thread: thread.ok() }
    }

    /// Asks it to end.
    pub(crate) fn end(&mut self) {
        self.end = None;
    }

    /// Waits for its end; returns whether it has come.
    pub(crate) fn ended(mut self, limit: Duration) -> bool {
        self.end();
        // Nothing is ever sent: the end of the channel is the sign.
        let over = self.ended.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected);
        if let Some(thread) = self.thread.take().filter(|_| over) {
            // A panic has been logged by the panic hook.
            let _ = thread.join();
        }
        over
    }
}

fn run(control: &Control, mut hangups: Receiver<()>, end: &Receiver<()>) {
    let engine = control.handle();
    let watcher = Watcher::start(Arc::new(SystemClock::new()))
        .inspect_err(|error| tracing::error!(%error, "nothing is watched; edits take effect on SIGHUP"))
        .ok();
    let mut changes = watcher.as_ref().map_or_else(never, |w| w.changes().clone());
    let (look, tidy) = (tick(POLL_EVERY), tick(memory::EVERY));
    let (mut tidy_left, mut reconnects) = (0, 0);
    let (mut watched, mut seen) = (Watched::default(), None);
    let mut due: Option<Who> = None;
    loop {
        let now = (engine.reloads(), control.edits());
        if seen.replace(now) != Some(now) {
            tidy_left = memory::TIMES;
            if let Some(watcher) = &watcher {
                watched.renew(control, watcher);
            }
        }
        select_biased! {
            recv(end) -> _ => return,
            recv(hangups) -> asked => match asked {
                Ok(()) => {
                    due = reread(control, Some(Who::new("SIGHUP", format!("process {}", std::process::id()))));
                    reload_all(control, end);
                }
                Err(_) => hangups = never(),
            },
            recv(changes) -> change => match change {
                Ok(change) => {
                    if watched.configuration.contains(&change.path) {
                        due = reread(control, Some(Who::new("file", change.path.display().to_string())));
                    }
                    watched.on_change(&change, control);
                }
                Err(_) => changes = never(),
            },
            recv(look) -> _ => due = reread(control, due.take()),
            recv(tidy) -> _ => {
                // A source that came back was built anew.
                let now = engine.status().sources.iter().map(|source| source.reconnects).sum::<u64>();
                if std::mem::replace(&mut reconnects, now) != now {
                    tidy_left = memory::TIMES;
                }
                if tidy_left > 0 {
                    tidy_left -= 1;
                    memory::give_back();
                }
            }
        }
    }
}

/// What is watched.
#[derive(Default)]
struct Watched {
    /// The configuration's files.
    configuration: BTreeSet<PathBuf>,
    /// Those that the engine's guests consist of.
    guests: BTreeSet<PathBuf>,
}

impl Watched {
    /// Watches the files that a reload or an edit added, and stops watching those that nothing uses any more.
    fn renew(&mut self, control: &Control, watcher: &Watcher) {
        let files = control.handle().files();
        let configuration: BTreeSet<PathBuf> = control.files().into_iter().collect();
        let is_watched = |path: &PathBuf| self.configuration.contains(path) || self.guests.contains(path);
        for (path, loaded) in files.iter().filter(|(path, _)| !is_watched(path)) {
            watcher.add(path, loaded.as_deref().unwrap_or_default());
        }
        // What was read of these is not known: they are read once more.
        for path in configuration.iter().filter(|path| !is_watched(path) && !files.contains_key(*path)) {
            watcher.add(path, b"");
        }
        let is_used = |path: &PathBuf| configuration.contains(path) || files.contains_key(path);
        for path in self.configuration.union(&self.guests).filter(|path| !is_used(path)) {
            watcher.remove(path);
        }
        (self.configuration, self.guests) = (configuration, files.into_keys().collect());
    }

    /// Reloads what consists of the file.
    fn on_change(&self, change: &Changed, control: &Control) {
        let Changed { path, bytes } = change;
        if self.guests.contains(path) {
            match bytes {
                Some(bytes) => reload(control.handle(), path, bytes),
                None => control.handle().gone(path),
            }
        }
    }
}

/// Reads the configuration's files again for somebody; gives them back where a file is being written, for later. A
/// refusal is in the log and in the health already.
fn reread(control: &Control, who: Option<Who>) -> Option<Who> {
    let who = who?;
    let Some(outcome) = control.reread_unless(&who, &watch::is_written) else { return Some(who) };
    let Ok(outcome) = outcome else { return None };
    if !outcome.changes.is_empty() {
        tracing::info!(changes = outcome.changes.join(", "), "the configuration has changed");
    }
    for key in outcome.waits_for_restart {
        tracing::warn!("waits for a restart: {key}");
    }
    None
}

fn reload(engine: &Handle, path: &Path, bytes: &[u8]) {
    let script = path.display();
    if !engine.files().contains_key(path) {
        tracing::info!(%script, "an edit of a file that nothing runs any more");
        return;
    }
    match engine.reload(path, bytes) {
        Ok(done) if done.changed => {
            let (generation, lanes, tried) = (done.generation, done.lanes, done.tried);
            tracing::info!(%script, generation, lanes, tried, "script reloaded");
        }
        Ok(_) => tracing::info!(%script, "the file is the running version again"),
        Err(error) => tracing::error!(%error, "script not reloaded; the running version goes on"),
    }
}

/// SIGHUP, after the configuration: every script and component is read and reloaded.
fn reload_all(control: &Control, end: &Receiver<()>) {
    let modules = control.handle().modules();
    let read = modules.len();
    for path in modules {
        if end.try_recv() == Err(TryRecvError::Disconnected) {
            return;
        }
        match std::fs::read(&path) {
            Ok(bytes) => reload(control.handle(), &path, &bytes),
            Err(error) => tracing::error!(script = %path.display(), "not reloaded: cannot be read: {error}"),
        }
    }
    tracing::info!("SIGHUP: the configuration and {read} scripts read again");
}
