//! Reloading while `run` runs: of what is saved, and of everything on SIGHUP. On a thread of its own, because a component
//! may take a minute to compile, which neither a signal nor the end of the sources waits for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, never, select_biased, tick};
use dsengine::engine::{Handle, SystemClock};
use dsengine::watch::{Changed, Watcher};

/// How often it is looked whether a reload, whoever asked for it, has brought other files to watch.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The thread. It ends after the reload under way.
pub(crate) struct Reloader {
    end: Option<Sender<()>>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Reloader {
    /// Watches the scripts in use; `hangups` asks to reload all of them.
    pub(crate) fn start(engine: Handle, hangups: Receiver<()>) -> Self {
        let (end, asked) = bounded(0);
        let (over, ended) = bounded::<()>(0);
        let run = move || {
            run(&engine, hangups, &asked);
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

fn run(engine: &Handle, mut hangups: Receiver<()>, end: &Receiver<()>) {
    let watcher = watcher(engine);
    let mut changes = watcher.as_ref().map_or_else(never, |w| w.changes().clone());
    let look = tick(LOOK_EVERY);
    let (mut watched, mut seen) = (BTreeSet::new(), None);
    loop {
        if let Some(watcher) = &watcher
            && seen.replace(engine.reloads()) != Some(engine.reloads())
        {
            watch_anew(engine, watcher, &mut watched);
        }
        select_biased! {
            recv(end) -> _ => return,
            recv(hangups) -> asked => match asked {
                Ok(()) => reload_all(engine, end),
                Err(_) => hangups = never(),
            },
            recv(changes) -> change => match change {
                Ok(Changed { path, bytes: Some(bytes) }) => reload(engine, &path, &bytes),
                Ok(Changed { path, bytes: None }) => engine.gone(&path),
                Err(_) => changes = never(),
            },
            recv(look) -> _ => {}
        }
    }
}

/// Watches the scripts in use; without it they run, and edits take effect after a restart.
fn watcher(engine: &Handle) -> Option<Watcher> {
    if engine.modules().is_empty() {
        return None;
    }
    Watcher::start(Arc::new(SystemClock::new()))
        .inspect_err(|error| tracing::error!(%error, "scripts are not watched; edits take effect after a restart"))
        .ok()
}

/// Watches what a reload, whoever asked for it, has brought, and no more what it has taken out of use.
fn watch_anew(engine: &Handle, watcher: &Watcher, watched: &mut BTreeSet<PathBuf>) {
    let files = engine.files();
    for (path, loaded) in files.iter().filter(|(path, _)| !watched.contains(*path)) {
        watcher.add(path, loaded.as_deref().unwrap_or_default());
    }
    for path in watched.iter().filter(|path| !files.contains_key(*path)) {
        watcher.remove(path);
    }
    *watched = files.into_keys().collect();
}

fn reload(engine: &Handle, path: &Path, bytes: &[u8]) {
    let script = path.display();
    if !engine.files().contains_key(path) {
        tracing::info!(%script, "an edit of a file that nothing runs any more: another was promoted to its place");
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

/// SIGHUP: every script and component is read and reloaded.
fn reload_all(engine: &Handle, end: &Receiver<()>) {
    let modules = engine.modules();
    let read = modules.len();
    for path in modules {
        if end.try_recv() == Err(TryRecvError::Disconnected) {
            return;
        }
        match std::fs::read(&path) {
            Ok(bytes) => reload(engine, &path, &bytes),
            Err(error) => tracing::error!(script = %path.display(), "not reloaded: cannot be read: {error}"),
        }
    }
    tracing::info!("SIGHUP: {read} scripts read again; the configuration is read at the start only");
}
