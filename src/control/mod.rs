//! The configuration of a running engine: its inputs, its edits, and how they reach the engine.
//!
//! `edit` defines the edits, `lay` converts them to overlay entries, `current` loads the files with these applied, and
//! [`Control`] passes the plan to the engine, which applies all of it or nothing. An edit lasts until the restart, or
//! is saved in a file (`store`) in the state folder; a later change of the files overrides it. The `audit` records
//! every edit.

mod audit;
mod command;
mod current;
mod edit;
mod fingerprint;
mod lay;
mod outcome;
mod profile;
mod reach;
mod silence;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value as Json, json};

pub use edit::{Edit, Rights, Who};
pub use outcome::{Audit, Outcome, Problem, Refusal, RefusalKind, SourceEntry};
use outcome::{left_out_text, waits_text};
use profile::ByHours;
pub use profile::ProfileBody;
use store::files;
pub use store::{alerts_file, configuration_file, create_state_dir, load_saved, pictures_dir, running, state_dir};

use crate::config::diff::{Diff, hold_back};
use crate::config::{Loaded, Overlay, Plan, Request, Warning};
use crate::engine::{Applied, EngineApi as _, Handle};
use crate::error::Error;
use crate::types::Clock;
use audit::Trail;
use current::{Current, Next};

/// Callbacks for plans that have taken effect.
type Listeners = Vec<Box<dyn Fn(&Plan) + Send + Sync>>;

/// The keys of its notes in the engine's health.
const FILES: &str = "configuration";
const RESTART: &str = "restart";
const PLUGINS: &str = "plugins";

/// See the module.
pub struct Control {
    handle: Handle,
    /// The files of saved edits, and of alerts, which may not exist.
    file: Option<PathBuf>,
    alerts: Option<PathBuf>,
    current: ArcSwap<Current>,
    /// Held during a whole edit, so that each edit sees the result of the previous one.
    turn: Mutex<Listeners>,
    refused: Mutex<Refused>,
    edits: AtomicU64,
    trail: Trail,
    hours: ByHours,
}

/// A refused version of the files.
#[derive(Default)]
struct Refused {
    /// The reason.
    problem: Option<String>,
    /// The scripts that they name: a change of those triggers another try.
    scripts: Vec<PathBuf>,
}

impl Control {
    /// Controls an engine that runs `loaded`, the result of `request`; the request's overlay has the saved edits. Edits
    /// are saved in the folder `state`.
    pub fn start(
        handle: Handle,
        request: Request,
        loaded: Loaded,
        state: Option<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let (file, alerts) = state.map(|state| files(&state, &request)).unwrap_or_default();
        let saved = request.overlay.clone();
        handle.set_note(PLUGINS, left_out_text(&loaded));
        let current = ArcSwap::from_pointee(Current { request, loaded, saved, waits: Vec::new() });
        let (turn, refused, edits) = (Mutex::default(), Mutex::default(), AtomicU64::new(0));
        let (hours, trail) = (ByHours::new(Arc::clone(&clock)), Trail::new(clock));
        let control = Arc::new(Self { handle, file, alerts, current, turn, refused, edits, trail, hours });
        control.show_switches();
        control
    }

    /// The engine.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Registers a callback for each plan that has taken effect, for parts outside the engine: logs, the HTTP server.
    /// It must not call the control: it runs while the edit lock is held.
    pub fn on_change(&self, listener: impl Fn(&Plan) + Send + Sync + 'static) {
        self.turn().push(Box::new(listener));
    }

    /// The effective configuration: `{config, hash, overlay, saved, waits_for_restart, no_effect, promoted,
    /// problem}`, secrets masked; `overlay` lists the paths that edits have set, `saved` those that survive a restart.
    pub fn config(&self) -> Json {
        let current = self.current.load();
        let paths = |overlay: &Overlay| overlay.entries.keys().cloned().collect::<Vec<_>>();
        json!({
            "config": current.loaded.effective,
            "hash": current.loaded.plan.hash,
            "overlay": paths(&current.request.overlay),
            "saved": paths(&current.saved),
            "waits_for_restart": current.waits,
            "no_effect": current.without_effect(),
            "promoted": current.promoted(&self.handle.plugins()),
            "problem": self.problem(),
        })
    }

    /// Every configured source, including disabled ones.
    pub fn sources(&self) -> Vec<SourceEntry> {
        self.current.load().sources(self.handle.status().sources)
    }

    /// The files and folders to watch: those that the configuration was read from, and the scripts of a refused one.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = self.current.load().loaded.files.clone();
        files.extend(self.refused().scripts.iter().cloned());
        files.sort();
        files.dedup();
        files
    }

    /// The number of edits, successful or not: the result of [`Control::files`] changes only with this number.
    pub fn edits(&self) -> u64 {
        self.edits.load(Ordering::Relaxed)
    }

    /// Validates a whole configuration, YAML or JSON, as if it were the file; changes nothing.
    ///
    /// # Errors
    /// Every problem, with its location.
    pub fn validate(&self, document: &str, who: &Who) -> Result<Vec<Warning>, Refusal> {
        let current = self.current.load();
        current.check_document(document, who.rights)?;
        let document = Some(document.to_owned());
        let request = Request { document, overlay: Overlay::default(), ..current.request.clone() };
        current::load(&request).map(|loaded| loaded.warnings)
    }

    /// The result that an edit would have.
    ///
    /// # Errors
    /// When it would be refused.
    pub fn diff(&self, edit: &Edit, who: &Who) -> Result<Outcome, Refusal> {
        let turn = self.turn();
        let current = self.current.load_full();
        if let Edit::RestartSource(id) = edit {
            current.check_restart(id, who.rights)?;
            return Ok(Outcome { changes: vec![restarted(id)], ..outcome(&current) });
        }
        let next = current.edited(edit, false, who.rights)?;
        needs_restart(&current, &next.current)?;
        drop(turn);
        let changes = Diff::between(&held(&current, &current), &held(&current, &next.current)).describe();
        Ok(Outcome { changes, ..outcome(&next.current) })
    }

    /// Applies an edit, all of it or nothing. Blocks until the engine has swapped.
    ///
    /// # Errors
    /// When it was refused; nothing has changed then, except with [`RefusalKind::NotSaved`] if the disk fails last.
    pub fn apply(&self, edit: Edit, save: bool, who: &Who) -> Result<Outcome, Refusal> {
        let turn = self.turn();
        let outcome = self.carry_out(&edit, save, who, &turn);
        self.edits.fetch_add(1, Ordering::Relaxed);
        self.trail.note(who, audit::describe(&edit, save), &outcome);
        outcome
    }

    fn carry_out(&self, edit: &Edit, save: bool, who: &Who, turn: &Listeners) -> Result<Outcome, Refusal> {
        let current = self.current.load_full();
        if save {
            self.check_file()?;
        }
        if let Edit::RestartSource(id) = edit {
            current.check_restart(id, who.rights)?;
            self.handle.restart_source(id).map_err(|error| self.by_engine(&error, &current))?;
            return Ok(Outcome { changes: vec![restarted(id)], ..outcome(&current) });
        }
        let next = current.edited(edit, save, who.rights)?;
        needs_restart(&current, &next.current)?;
        let mut outcome = self.take(&current, next, turn)?;
        if save {
            self.write()?;
            self.note_switch(edit);
            outcome.saved = true;
        }
        Ok(outcome)
    }

    /// Adds changes made elsewhere to the audit: a plugin reload, a shadow promotion.
    pub fn record(&self, who: &Who, what: String, outcome: &Result<Outcome, Refusal>) {
        self.trail.note(who, what, outcome);
    }

    /// Reads the files again, after a change of them or on SIGHUP. Settings that need a restart keep their value, and
    /// are listed.
    ///
    /// # Errors
    /// When they are rejected; nothing has changed then.
    pub fn reread(&self, who: &Who) -> Result<Outcome, Refusal> {
        let read = self.reread_unless(who, &|_| false);
        read.unwrap_or_else(|| Err(Refusal::invalid("the files are being written").hint("ask again")))
    }

    /// As [`Control::reread`]; `None`, without an effect, if a file was written meanwhile or `is_written` reports that
    /// one of them still is.
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

    /// The configuration's problem for the health: why the files are not in effect, or which settings need a restart.
    pub fn problem(&self) -> Option<String> {
        let waits = waits_text(&self.current.load().waits);
        self.refused().problem.clone().or(waits)
    }

    /// The last requested edits, newest first.
    pub fn audit(&self) -> Vec<Audit> {
        self.trail.lines()
    }

    /// Reports, once, why the files are not in effect.
    fn refuse(&self, refusal: &Refusal, scripts: Vec<PathBuf>) {
        let problem = format!("the configuration's files are not what runs: {}", refusal.line_with_hint());
        let before = std::mem::replace(&mut *self.refused(), Refused { problem: Some(problem.clone()), scripts });
        if before.problem.as_ref() != Some(&problem) {
            tracing::error!("{problem}");
        }
        self.handle.set_note(FILES, Some(problem));
    }

    /// Applies a configuration to the engine; settings that need a restart are held back.
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
        self.show_switches();
        Ok(done)
    }

    /// Applies a plan to the engine; leaves out plugins of the folder that cannot run.
    fn apply_what_runs(&self, next: &mut Current) -> Result<Applied, Refusal> {
        loop {
            let error = match self.handle.apply(next.loaded.plan.clone()) {
                Ok(applied) => return Ok(applied),
                Err(error) => error,
            };
            match next.loaded.leave_out(&error) {
                Some(message) => tracing::error!("{message}"),
                None => return Err(self.by_engine(&error, next)),
            }
        }
    }

    /// Checks, before an edit is applied, that it can be saved.
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

    /// Writes the saved edits after a change of the files: without the dropped ones, and with the new fingerprint.
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
        // A part that an edit set has a path instead of a line.
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

/// The plan without changes that need a restart, as the engine would run it.
fn held(current: &Current, next: &Current) -> Plan {
    let mut plan = next.loaded.plan.clone();
    hold_back(&current.loaded.plan, &mut plan);
    plan
}

/// Refuses an edit of settings that need a restart, and names them.
fn needs_restart(current: &Current, next: &Current) -> Result<(), Refusal> {
    let keys = hold_back(&current.loaded.plan, &mut next.loaded.plan.clone());
    if keys.is_empty() {
        return Ok(());
    }
    let message = format!("{} takes effect after a restart only", keys.join(", "));
    Err(Refusal::new(RefusalKind::NeedsRestart, message).hint("change it in the file and restart the engine"))
}
