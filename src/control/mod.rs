//! The configuration of a running engine: what it is made of, edits of it, and how they reach the engine.
//!
//! `edit` is what may be asked, `lay` makes entries of the overlay of it, `current` loads the files with those on top,
//! and [`Control`] hands the plan to the engine, which takes all of it or nothing. What an edit changes lives until the
//! restart, or in a file of its own (`store`) beside the state; a later edit of the files wins over it. Every edit
//! leaves a line in the `audit`.

mod audit;
mod current;
mod edit;
mod fingerprint;
mod lay;
mod outcome;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value as Json, json};

pub use edit::{Edit, Who};
pub use outcome::{Audit, Outcome, Problem, Refusal, RefusalKind, SourceEntry};
use store::overlay_file;
pub use store::{load_saved, state_dir};

use crate::config::diff::{Diff, hold_back};
use crate::config::{Loaded, Overlay, Plan, Request, Warning};
use crate::engine::{Applied, EngineApi as _, Handle};
use crate::error::Error;
use crate::types::Clock;
use audit::Trail;
use current::{Current, Next};

/// Who wants to hear of plans that have taken effect.
type Listeners = Vec<Box<dyn Fn(&Plan) + Send + Sync>>;

/// Notes in the engine's health, by what they are about.
const FILES: &str = "configuration";
const RESTART: &str = "restart";
const PLUGINS: &str = "plugins";

/// See the module.
pub struct Control {
    handle: Handle,
    /// Where saved edits are written.
    file: Option<PathBuf>,
    current: ArcSwap<Current>,
    /// Held over a whole edit: each sees the former's outcome.
    turn: Mutex<Listeners>,
    refused: Mutex<Refused>,
    edits: AtomicU64,
    trail: Trail,
}

/// Files that were refused.
#[derive(Default)]
struct Refused {
    /// Why.
    problem: Option<String>,
    /// The scripts that they name: once those change, they may be taken.
    scripts: Vec<PathBuf>,
}

impl Control {
    /// The configuration of an engine that runs `loaded`, which `request` gave; the request's overlay is what was saved
    /// earlier. Edits are saved in the folder `state`.
    pub fn start(
        handle: Handle,
        request: Request,
        loaded: Loaded,
        state: Option<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let file = state.and_then(|state| overlay_file(&state, &request));
        let saved = request.overlay.clone();
        handle.set_note(PLUGINS, left_out_text(&loaded));
        let current = Current { request, loaded, saved, waits: Vec::new() };
        let current = ArcSwap::from_pointee(current);
        let (turn, refused, edits) = (Mutex::default(), Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { handle, file, current, turn, refused, edits, trail: Trail::new(clock) })
    }

    /// The engine.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Calls `listener` with each plan that has taken effect, for what lives outside the engine: logs, the HTTP side.
    /// It may ask nothing of the control: the next edit waits for it.
    pub fn on_change(&self, listener: impl Fn(&Plan) + Send + Sync + 'static) {
        self.turn().push(Box::new(listener));
    }

    /// What is in effect: `{config, hash, overlay, saved, waits_for_restart, problem}`, secrets masked; `overlay` lists
    /// the paths that edits have set, `saved` those of them that are kept over a restart.
    pub fn config(&self) -> Json {
        let current = self.current.load();
        let paths = |overlay: &Overlay| overlay.entries.keys().cloned().collect::<Vec<_>>();
        json!({
            "config": current.loaded.effective,
            "hash": current.loaded.plan.hash,
            "overlay": paths(&current.request.overlay),
            "saved": paths(&current.saved),
            "waits_for_restart": current.waits,
            "problem": self.problem(),
        })
    }

    /// Every configured source, those that are switched off included.
    pub fn sources(&self) -> Vec<SourceEntry> {
        self.current.load().sources(self.handle.status().sources)
    }

    /// The files and folders to be watched: those that the configuration was read from, and the scripts of one that was
    /// refused.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = self.current.load().loaded.files.clone();
        files.extend(self.refused().scripts.iter().cloned());
        files.sort();
        files.dedup();
        files
    }

    /// How many edits there were, taken or not: what [`Control::files`] gives changes with this number only.
    pub fn edits(&self) -> u64 {
        self.edits.load(Ordering::Relaxed)
    }

    /// Judges a whole configuration, YAML or JSON, as if it were the file; changes nothing.
    ///
    /// # Errors
    /// Every problem, with its place.
    pub fn validate(&self, document: &str) -> Result<Vec<Warning>, Refusal> {
        let current = self.current.load();
        let document = Some(document.to_owned());
        let request = Request { document, overlay: Overlay::default(), ..current.request.clone() };
        current::load(&request).map(|loaded| loaded.warnings)
    }

    /// What an edit would do.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn diff(&self, edit: &Edit) -> Result<Outcome, Refusal> {
        let turn = self.turn();
        let current = self.current.load_full();
        if let Edit::RestartSource(id) = edit {
            current.edited(edit, false)?;
            return Ok(Outcome { changes: vec![restarted(id)], ..outcome(&current) });
        }
        let next = current.edited(edit, false)?;
        needs_restart(&current, &next.current)?;
        drop(turn);
        let changes = Diff::between(&held(&current, &current), &held(&current, &next.current)).describe();
        Ok(Outcome { changes, ..outcome(&next.current) })
    }

    /// Carries an edit out: all of it, or nothing. Blocks until the engine has swapped.
    ///
    /// # Errors
    /// Why it was refused; everything is as it was, except with [`RefusalKind::NotSaved`] where the disk fails last.
    pub fn apply(&self, edit: Edit, save: bool, who: &Who) -> Result<Outcome, Refusal> {
        let turn = self.turn();
        let outcome = self.carry_out(&edit, save, &turn);
        self.edits.fetch_add(1, Ordering::Relaxed);
        self.trail.note(who, audit::describe(&edit, save), &outcome);
        outcome
    }

    fn carry_out(&self, edit: &Edit, save: bool, turn: &Listeners) -> Result<Outcome, Refusal> {
        let current = self.current.load_full();
        if save {
            self.check_file()?;
        }
        if let Edit::RestartSource(id) = edit {
            current.edited(edit, false)?;
            self.handle.restart_source(id).map_err(|error| self.by_engine(&error, &current))?;
            return Ok(Outcome { changes: vec![restarted(id)], ..outcome(&current) });
        }
        let next = current.edited(edit, save)?;
        needs_restart(&current, &next.current)?;
        let mut outcome = self.take(&current, next, turn)?;
        if save {
            self.write()?;
            outcome.saved = true;
        }
        Ok(outcome)
    }

    /// Adds a line to the audit for what was changed elsewhere: a plugin that was reloaded, a shadow promoted.
    pub fn record(&self, who: &Who, what: String, outcome: &Result<Outcome, Refusal>) {
        self.trail.note(who, what, outcome);
    }

    /// Reads the files again, as after an edit of them or on SIGHUP. What needs a restart stays, and is named.
    ///
    /// # Errors
    /// Why they cannot be taken; everything is as it was.
    pub fn reread(&self, who: &Who) -> Result<Outcome, Refusal> {
        let read = self.reread_unless(who, &|_| false);
        read.unwrap_or_else(|| Err(Refusal::invalid("the files are being written").hint("ask again")))
    }

    /// The same; `None`, and nothing has happened, where a file was written meanwhile or `is_written` says that one of
    /// them still is.
    pub fn reread_unless(
        &self,
        who: &Who,
        is_written: &dyn Fn(&[PathBuf]) -> bool,
    ) -> Option<Result<Outcome, Refusal>> {
        let turn = self.turn();
        let current = self.current.load_full();
        let before = current.stamps();
        let mut scripts = Vec::new();
        let read = current.reread(&mut scripts);
        if current.stamps() != before || is_written(&current.loaded.files) {
            return None;
        }
        let outcome = read.and_then(|next| self.take(&current, next, &turn));
        match &outcome {
            Ok(outcome) => {
                *self.refused() = Refused::default();
                self.handle.set_note(FILES, None);
                if !outcome.dropped_overlay.is_empty() {
                    let paths = outcome.dropped_overlay.join(", ");
                    tracing::warn!(%paths, "the files now say otherwise: earlier edits are dropped");
                }
                self.write_saved(&current);
            }
            Err(refusal) => self.refuse(refusal, scripts),
        }
        self.edits.fetch_add(1, Ordering::Relaxed);
        let changed = outcome.as_ref().map_or(true, |done| done.changes.len() + done.dropped_overlay.len() > 0);
        if changed {
            self.trail.note(who, "read the files again".to_owned(), &outcome);
        }
        Some(outcome)
    }

    /// What the health says of the configuration: why the files are not in effect, or what waits for a restart.
    pub fn problem(&self) -> Option<String> {
        let waits = waits_text(&self.current.load().waits);
        self.refused().problem.clone().or(waits)
    }

    /// The last edits that were asked for, newest first.
    pub fn audit(&self) -> Vec<Audit> {
        self.trail.lines()
    }

    /// Says why the files are not in effect, once.
    fn refuse(&self, refusal: &Refusal, scripts: Vec<PathBuf>) {
        let problem = format!("the configuration's files are not what runs: {}", refusal.first_line());
        let before = std::mem::replace(&mut *self.refused(), Refused { problem: Some(problem.clone()), scripts });
        if before.problem.as_ref() != Some(&problem) {
            tracing::error!("{problem}");
        }
        self.handle.set_note(FILES, Some(problem));
    }

    /// Lets the engine take a configuration; what needs a restart is held back.
    fn take(&self, current: &Current, next: Next, listeners: &Listeners) -> Result<Outcome, Refusal> {
        let Next { current: mut next, dropped } = next;
        let mut done = Outcome { dropped_overlay: dropped, ..Outcome::default() };
        if next.loaded.plan == current.loaded.plan {
            next.waits.clone_from(&current.waits);
        } else {
            let applied = self.apply_what_runs(&mut next)?;
            (done.changes, next.waits) = (applied.changes, applied.waits_for_restart);
            self.handle.set_note(RESTART, waits_text(&next.waits));
        }
        self.handle.set_note(PLUGINS, left_out_text(&next.loaded));
        for warning in next.loaded.warnings.iter().filter(|warning| !current.loaded.warnings.contains(warning)) {
            tracing::warn!("{warning}");
        }
        done.waits_for_restart.clone_from(&next.waits);
        done.hash.clone_from(&next.loaded.plan.hash);
        listeners.iter().for_each(|listener| listener(&next.loaded.plan));
        self.current.store(Arc::new(next));
        Ok(done)
    }

    /// Lets the engine take a plan; a plugin of the folder that cannot run is left out, so that the rest can.
    fn apply_what_runs(&self, next: &mut Current) -> Result<Applied, Refusal> {
        loop {
            let error = match self.handle.apply(next.loaded.plan.clone()) {
                Ok(applied) => return Ok(applied),
                Err(error) => error,
            };
            match next.loaded.leave_out(&error) {
                Some(told) => tracing::error!("{told}"),
                None => return Err(self.by_engine(&error, next)),
            }
        }
    }

    /// Why an edit cannot be saved, before it is carried out.
    fn check_file(&self) -> Result<(), Refusal> {
        let Some(file) = &self.file else {
            return Err(Refusal::new(RefusalKind::NotSaved, "there is nowhere to save edits")
                .hint("start the engine with --config, and with --state where no folder of the user is known"));
        };
        let folder = file.parent().unwrap_or(file);
        let made = std::fs::create_dir_all(folder)
            .and_then(|()| rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).map_err(Into::into));
        made.map_err(|error| {
            let message = format!("edits cannot be saved in {}: {error}", folder.display());
            Refusal::new(RefusalKind::NotSaved, message).hint("name another folder with --state or DSENGINE_STATE")
        })
    }

    fn write(&self) -> Result<(), Refusal> {
        let Some(file) = &self.file else { return self.check_file() };
        let current = self.current.load();
        store::write(file, &current.saved, &current.loaded.file_tree).map_err(|error| Refusal {
            message: format!("it took effect until the restart, and could not be saved: {}", error.message()),
            ..Refusal::of(RefusalKind::NotSaved, &error, None)
        })
    }

    /// Writes what is kept after the files were edited: what they say now, and without what gave way to them.
    fn write_saved(&self, before: &Current) {
        let after = self.current.load();
        let same = after.saved == before.saved && after.loaded.file_tree == before.loaded.file_tree;
        if same || (after.saved.is_empty() && before.saved.is_empty()) {
            return;
        }
        if let Err(refusal) = self.write() {
            tracing::error!("dropped edits may come back with the restart: {refusal}");
        }
    }

    fn by_engine(&self, error: &Error, next: &Current) -> Refusal {
        // What no file says, but an edit, has a path instead of a line.
        let place = error.part().map(|part| match next.loaded.place(part) {
            Some(place) if place.contains(':') => place,
            Some(origin) => format!("{origin} {part}"),
            None => part.to_owned(),
        });
        Refusal::of(RefusalKind::Engine, error, place)
    }

    fn turn(&self) -> MutexGuard<'_, Listeners> {
        self.turn.lock()
    }

    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock()
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("handle", &self.handle).field("file", &self.file).finish_non_exhaustive()
    }
}

fn outcome(current: &Current) -> Outcome {
    Outcome { waits_for_restart: current.waits.clone(), hash: current.loaded.plan.hash.clone(), ..Outcome::default() }
}

fn restarted(id: &str) -> String {
    format!("source {id} restarted")
}

/// A plan without what needs a restart, as the engine would run it.
fn held(current: &Current, next: &Current) -> Plan {
    let mut plan = next.loaded.plan.clone();
    hold_back(&current.loaded.plan, &mut plan);
    plan
}

/// Refuses an edit of what needs a restart, by name.
fn needs_restart(current: &Current, next: &Current) -> Result<(), Refusal> {
    let keys = hold_back(&current.loaded.plan, &mut next.loaded.plan.clone());
    if keys.is_empty() {
        return Ok(());
    }
    let message = format!("{} takes effect after a restart only", keys.join(", "));
    Err(Refusal::new(RefusalKind::NeedsRestart, message).hint("change it in the file and restart the engine"))
}

fn left_out_text(loaded: &Loaded) -> Option<String> {
    (!loaded.left_out.is_empty()).then(|| loaded.left_out.join("; "))
}

fn waits_text(waits: &[String]) -> Option<String> {
    (!waits.is_empty()).then(|| format!("waits for a restart: {}", waits.join(", ")))
}
