//! `dsengine test`: runs a plugin's tests, YAML cases in its folder, without an engine, a camera or a network.
//!
//! A case has frames (or alerts) as input and verdicts (or requests) as output, on frame time and with scripted
//! answers. `find` finds plugins and cases, `case` loads a case, `play` and `deliver` run it, `actual` holds the results,
//! `compare` compares them with the expectations, `golden` writes them as the expectations.

mod actual;
mod case;
mod compare;
mod deliver;
mod find;
mod golden;
mod play;
mod report;
mod script;
mod stage;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::select;
use dsengine::config::LogPlan;
use dsengine::engine::SystemClock;
use dsengine::error::Error;
use dsengine::types::count;
use dsengine::watch::Watcher;

use super::exit::{Exit, failed};
use super::input;
use super::signals::Stop;
use case::Case;
use find::Plugin;
use report::{Report, Verdict};

/// The format of a case, for `--help`.
const CASE: &str = "\
A case, tests/NAME.yaml:
  name: two are a crowd               what is printed of it
  config: { zone: gate, most: 2 }     the plugin's settings
  zones: { gate: [[0, 0], [0.5, 0], [0.5, 1]] }
  frames: street.jsonl                a recording (dsengine record) beside it, or frames as
    - { seq: 0, pts_ns: 0, detections: [{ label: person, confidence: 0.9, bbox: [x, y, w, h], track_id: 1 }] }
  start: 2026-11-28T22:00:00Z         when the frame of time 0 is captured
  timezone: Europe/Vienna             the zone of its local times; of a recording, its own
  reload_at: 20                       reload it before this frame, or a list of frames
  limits, grants, class, source       as in the configuration; grants default to all that plugin.toml asks for, and
                                      have no secrets: grants: { http: [x.example], secrets: { CHAT: made-up } }
  alert: { message: hello }           for a handler, instead of frames; alerts: for several
  http: [{ url: https://x.example/y, status: 200, body: ok }]    the answers it gets, in order
  expect:                             only what is listed is compared; a file name takes everything from there
    alerts: [{ seq: 3, rule: crowd, level: high, key: gate, message: text, detections: [0, 2] }]
    kept, added, edits: { 3: [...] }  by frame
    faults: [{ seq: 4, kind: time, contains: words }]
    state: { key: value }             what the engine holds for it at the end
    requests: [{ method: POST, url: ..., body: { text: hello } }]
    outcome: delivered                skipped, retry, failed
    refused: words                    it does not load, and says this";

#[derive(clap::Args)]
#[command(after_long_help = CASE)]
pub(crate) struct Args {
    /// Plugins, folders of plugins, or single cases
    ///
    /// A plugin is a folder with plugin.toml; its cases are tests/*.yaml. A folder without one is searched for them.
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    paths: Vec<PathBuf>,
    /// Write what came into the expectations of the cases, to be looked over like any other change; not where the plugin
    /// failed, unless the case expects that (faults: [{}])
    #[arg(long)]
    update: bool,
    /// Run again whenever a plugin, a case or a recording is saved, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Print the results as JSON
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Print what the plugins log
    #[arg(long, short)]
    verbose: bool,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Exit {
    let mut _log = None;
    if args.verbose {
        let plan = LogPlan {
            level: "debug".to_owned(),
            json: false,
            color: false,
            file: None,
            file_max_bytes: 0,
            file_backups: 0,
            console: true,
            figures: false,
            stream_port: None,
            hold_repeats: false,
            per_minute: u32::MAX,
        };
        match input::log(&plan, false) {
            Ok(log) => _log = Some(log),
            Err(error) => return failed(&error),
        }
    }
    if args.watch {
        return watch(args, stop);
    }
    once(args).0
}

/// The files that affect a run, with their contents before the run.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Runs everything once. Also returns the files that affect it.
fn once(args: &Args) -> (Exit, Files) {
    let mut files = Files::new();
    let find::Found { plugins, broken } = match find::plugins(&args.paths) {
        Ok(found) => found,
        Err(error) => return (refused_all(&[error]), files),
    };
    note(&mut files, broken.iter().map(|(manifest, _)| manifest.clone()).collect());
    let mut problems: Vec<Error> = broken.into_iter().map(|(_, error)| error).collect();
    let mut cases: Vec<(&Plugin, Case)> = Vec::new();
    for plugin in &plugins {
        note(&mut files, plugin.files());
        note(&mut files, plugin.cases.clone());
        if let Some(problem) = plugin.problem() {
            problems.push(problem);
            continue;
        }
        if let Some(stale) = plugin.stale() {
            eprintln!("warning: {stale}");
        }
        for path in &plugin.cases {
            match Case::read(path) {
                Ok(case) => {
                    note(&mut files, case.files());
                    cases.push((plugin, case));
                }
                Err(error) => problems.push(error),
            }
        }
    }
    if cases.is_empty() && !problems.is_empty() {
        return (refused_all(&problems), files);
    }
    let mut report = Report::new(args.json);
    for (plugin, case) in &cases {
        let verdict = match judge(plugin, case, args.update) {
            Ok(verdict) => verdict,
            Err(error) => Verdict::broken(&error),
        };
        report.add(plugin, case, verdict);
    }
    let exit = report.end();
    (if problems.is_empty() { exit } else { refused_all(&problems) }, files)
}

/// Adds files; reads the contents of new ones.
fn note(files: &mut Files, paths: Vec<PathBuf>) {
    for path in paths {
        // An unreadable file is the run's problem; becoming readable is a change.
        files.entry(path).or_insert_with_key(|path| dsengine::text::bytes(path).unwrap_or_default());
    }
}

/// Runs one case and compares, or writes the results.
fn judge(plugin: &Plugin, case: &Case, update: bool) -> Result<Verdict, Error> {
    let handler = plugin.is_handler(case)?;
    let actual = match if handler { deliver::run(plugin, case) } else { play::run(plugin, case) } {
        Ok(actual) => actual,
        Err(error) => {
            // The case may expect the refusal.
            return Ok(match &case.script.expect_refusal() {
                Some(text) if error.to_string().contains(*text) => Verdict::passed(),
                _ => Verdict::broken(&error),
            });
        }
    };
    if update {
        let unfit = golden::unfit(case, &actual, handler);
        if !unfit.is_empty() {
            return Ok(Verdict::not_updated(&unfit));
        }
        return golden::write(case, &actual, handler).map(Verdict::updated);
    }
    compare::compare(case, &actual).map(Verdict::of)
}

/// Settings from a plugin's first case, for inspecting it without a configuration.
pub(crate) struct Sample {
    /// The case's file.
    pub(crate) file: String,
    /// The plugin's settings.
    pub(crate) config: serde_json::Value,
    /// The table that contains a script's functions.
    pub(crate) class: Option<String>,
    /// The source's zones.
    pub(crate) zones: Vec<dsengine::types::Zone>,
}

/// The first case of the plugin whose module is `module`.
pub(crate) fn sample(module: &Path) -> Option<Sample> {
    let find::Found { plugins, .. } = find::plugins(&[module.to_owned()]).ok()?;
    let plugin = plugins.first().filter(|p| p.entry.canonicalize().ok() == module.canonicalize().ok())?;
    let case = Case::read(plugin.cases.first()?).ok()?;
    let (config, class) = (case.script.config.clone(), case.script.class.clone());
    Some(Sample { file: case.shown(), config, class, zones: case.zones().ok()? })
}

fn refused_all(problems: &[Error]) -> Exit {
    for problem in problems {
        eprintln!("error: {problem}");
    }
    Exit::Usage
}

/// Runs everything, then again after each save.
fn watch(args: &Args, stop: &Stop) -> Exit {
    let watcher = match Watcher::start(Arc::new(SystemClock::new())) {
        Ok(watcher) => watcher,
        Err(error) => return failed(&error),
    };
    stop.graceful();
    let mut watched = Files::new();
    loop {
        let (_, files) = once(args);
        for (path, content) in files.iter().filter(|(path, _)| !watched.contains_key(*path)) {
            watcher.add(path, content);
        }
        for path in watched.keys().filter(|path| !files.contains_key(*path)) {
            watcher.remove(path);
        }
        watched = files;
        eprintln!("watching {}; Ctrl-C ends", count(watched.len(), "file"));
        select! {
            recv(watcher.changes()) -> change => match change {
                // The next run also reads files that were saved at the same time.
                Ok(_) => while watcher.changes().try_recv().is_ok() {},
                Err(_) => return Exit::Failed,
            },
            recv(stop.channel()) -> _ => return Exit::Fine,
        }
    }
}
