//! Reloading while `run` runs: configuration and scripts when they are saved, and everything on SIGHUP. On its own
//! thread, because compiling a component may take a minute, which neither a signal nor the end of the sources may wait
//! for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, never, select_biased, tick};
use dsengine::control::{Control, Who};
use dsengine::engine::{EngineApi as _, Handle, SystemClock};
use dsengine::infer::OnDisk;
use dsengine::types::count;
use dsengine::watch::{self, Changed, Watcher};

use super::memory;

/// Poll interval for changes of the set of watched files.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// How often the files of models are looked at. One is loaded when it has not changed between two looks.
const MODELS_EVERY: Duration = Duration::from_secs(1);

/// Interval of looks at the hours in which profiles apply.
const HOURS_EVERY: Duration = Duration::from_secs(1);

/// The thread. It ends after the reload in progress.
pub(crate) struct Reloader {
    end: Option<Sender<()>>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Reloader {
    /// Watches the configuration's files and the scripts in use; each message on `hangups` reloads all of them.
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

    /// Tells it to end.
    pub(crate) fn end(&mut self) {
        self.end = None;
    }

    /// Waits for its end; returns whether it has ended.
    pub(crate) fn ended(mut self, limit: Duration) -> bool {
        self.end();
        // Nothing is ever sent: the channel disconnects.
        let over = self.ended.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected);
        if let Some(thread) = self.thread.take().filter(|_| over) {
            // The panic hook has logged a panic.
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
    let (look_at_models, hours) = (tick(MODELS_EVERY), tick(HOURS_EVERY));
    let mut models = StaleModels::default();
    control.keep_hours();
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
                    models.try_again();
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
            recv(look_at_models) -> _ => models.look(engine),
            recv(hours) -> _ => control.keep_hours(),
            recv(tidy) -> _ => {
                // A source that reconnected was rebuilt.
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

/// The watched files.
#[derive(Default)]
struct Watched {
    /// The configuration's files.
    configuration: BTreeSet<PathBuf>,
    /// The files of the engine's guests.
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
        // Their loaded contents are not known, so they are read again.
        for path in configuration.iter().filter(|path| !is_watched(path) && !files.contains_key(*path)) {
            watcher.add(path, b"");
        }
        let is_used = |path: &PathBuf| configuration.contains(path) || files.contains_key(path);
        for path in self.configuration.union(&self.guests).filter(|path| !is_used(path)) {
            watcher.remove(path);
        }
        (self.configuration, self.guests) = (configuration, files.into_keys().collect());
    }

    /// Reloads what uses the file.
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

/// The models whose files have changed since they were loaded.
#[derive(Default)]
struct StaleModels {
    /// As they were at the last look.
    seen: BTreeMap<String, OnDisk>,
    /// As they were when they could not be loaded.
    refused: BTreeMap<String, OnDisk>,
    /// Why not.
    reasons: BTreeMap<String, String>,
}

impl StaleModels {
    /// Loads those that were refused again, once nothing writes them any more.
    fn try_again(&mut self) {
        self.refused = BTreeMap::new();
    }

    /// Loads models whose files have changed, once nothing writes them any more.
    fn look(&mut self, engine: &Handle) {
        let stale = engine.stale_models();
        let is_settled = std::mem::replace(&mut self.seen, stale.clone()) == stale;
        let files: Vec<PathBuf> = stale.values().flat_map(OnDisk::files).collect();
        if is_settled && stale != self.refused && !watch::is_written(&files) {
            self.reload(engine);
        }
    }

    /// Loads each by itself: a broken one keeps no other back.
    fn reload(&mut self, engine: &Handle) {
        let (mut refused, mut reasons) = (BTreeMap::new(), Vec::new());
        for (name, files) in engine.stale_models() {
            if self.refused.get(&name) == Some(&files) {
                reasons.extend(self.reasons.get(&name).cloned().map(|reason| (name.clone(), reason)));
                refused.insert(name, files);
                continue;
            }
            match engine.reload_models(vec![name.clone()]) {
                Ok(done) => tracing::info!(changes = done.changes.join(", "), "models loaded again"),
                Err(error) => {
                    tracing::error!(%error, "a changed model is not loaded; the loaded one goes on");
                    reasons.push((name.clone(), error.to_string()));
                    refused.insert(name, files);
                }
            }
        }
        let told: Vec<&str> = reasons.iter().map(|(_, reason)| reason.as_str()).collect();
        let note = (!told.is_empty()).then(|| format!("changed models are not loaded: {}", told.join("; ")));
        (self.refused, self.reasons) = (refused, reasons.into_iter().collect());
        engine.set_note("models", note);
    }
}

/// Reads the configuration's files again; returns `who` for a retry if a file is being written. A refusal is already in
/// the log and in the health.
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

/// Handles SIGHUP after the configuration: reads and reloads every script and component.
fn reload_all(control: &Control, end: &Receiver<()>) {
    let modules = control.handle().modules();
    let read = modules.len();
    for path in modules {
        if end.try_recv() == Err(TryRecvError::Disconnected) {
            return;
        }
        match dsengine::text::bytes(&path) {
            Ok(bytes) => reload(control.handle(), &path, &bytes),
            Err(error) => tracing::error!(script = %path.display(), "not reloaded: cannot be read: {error}"),
        }
    }
    tracing::info!("SIGHUP: the configuration and {} read again", count(read, "script"));
}
