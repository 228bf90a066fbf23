//! `dsengine replay`: runs the same strategies and policy over a trace, on frame time, as fast as possible.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dsengine::alert::records::Records;
use dsengine::alert::{Entry, Journal, JournalError, Pending};
use dsengine::backend::trace::Reader;
use dsengine::config::{Input as SourceInput, Loaded, Plan, SourcePlan, StrategyKind};
use dsengine::engine::{Builder, Engine, Observer, SourceSummary, Summary};
use dsengine::types::{Alert, SourceId, count};
use parking_lot::Mutex;

use super::exit::{Exit, refused};
use super::input::{self, Input};
use super::signals::Stop;
use super::summary::faults;
use super::why;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The trace to play
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// The configuration whose rules and policy judge it
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Number of inference workers (a trace needs none; the alerts are the same whatever it says)
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Print how the alert with this id was decided on, or `all` that were raised, those held back too
    #[arg(long, value_name = "ID")]
    explain: Option<String>,
}

/// Warnings about sources, models and handlers of the configuration, which a trace does not need.
const UNUSED: &[&str] = &[
    "no-model",
    "engine-without-tensorrt",
    "webhook-without-url",
    "email-without-address",
    "mqtt-without-url",
    "handler-not-built",
];

/// Collects the alerts. Lanes finish in any order, so they are sorted before printing.
#[derive(Default)]
struct Alerts(Mutex<Vec<Alert>>);

impl Observer for Alerts {
    fn alert(&self, alert: &Alert) {
        self.0.lock().push(alert.clone());
    }
}

/// The problem if both the trace and the configuration name sources and have none in common.
fn unrelated_sources(recorded: &[SourceId], configured: &[SourcePlan]) -> Option<String> {
    let share = recorded.iter().any(|id| configured.iter().any(|source| source.id == *id));
    if share || recorded.is_empty() || configured.is_empty() {
        return None;
    }
    let listed = |ids: Vec<&str>| ids.join(", ");
    let recorded = listed(recorded.iter().map(SourceId::as_str).collect());
    let configured = listed(configured.iter().map(|source| source.id.as_str()).collect());
    Some(format!("the trace is of source {recorded}; the configuration has {configured}"))
}

/// The configuration in the zone in which the trace was recorded, unless it names one itself: the rules then see the
/// same local time again.
fn in_recorded_zone(loaded: Loaded, input: &Input, trace: &Path) -> Result<Loaded, Exit> {
    let recorded = Reader::open(trace).map_err(|error| refused(&error))?.header().timezone.clone();
    match recorded {
        Some(zone) if loaded.effective.get("timezone").is_none() => input.load(vec![("timezone".to_owned(), zone)]),
        _ => Ok(loaded),
    }
}

/// The plan of a replay: the rules and the policy of the configuration, over the trace. Prints problems.
fn prepared(args: &Args) -> Result<Plan, Exit> {
    let input = Input { config: args.config.clone(), ..Input::default() };
    let as_source = Input { source: Some(format!("trace:{}", args.trace.display())), ..input.clone() };
    let loaded = input.load(Vec::new())?;
    let fallback = as_source.load(Vec::new())?.plan.sources;
    let names = Reader::sources(&args.trace).map_err(|error| refused(&error))?;
    let mut loaded = in_recorded_zone(loaded, &input, &args.trace)?;
    let plan = &mut loaded.plan;
    if let Some(problem) = unrelated_sources(&names, &plan.sources) {
        eprintln!("error: {}: {problem}", args.trace.display());
        eprintln!(
            "  hint: record it with the same configuration, or give the source its name: rules would judge without its zones"
        );
        return Err(Exit::Failed);
    }
    // A source of the config with a recorded one's name provides its zones; others get the top-level ones.
    let templates: Vec<SourcePlan> = std::mem::take(&mut plan.sources).into_iter().chain(fallback).collect();
    plan.sources = names
        .into_iter()
        .filter_map(|id| {
            let template = templates.iter().find(|s| s.id == id).or(templates.last())?;
            let input = SourceInput::Trace(args.trace.clone());
            // The trace is played once and at full speed, so its own times are the order, whatever the source's pace was.
            Some(SourcePlan { id, input, every: 1, fps: None, realtime: false, repeat: false, ..template.clone() })
        })
        .collect();
    plan.models.clear();
    plan.strategies.retain(|s| s.kind != StrategyKind::Motion);
    plan.handlers.clear();
    plan.admin.enabled = false;
    plan.workers = args.workers.or(plan.workers);
    plan.logging.console = true;
    if input::show_used(&loaded, UNUSED) {
        return Err(Exit::Usage);
    }
    Ok(loaded.plan)
}

/// Whether the trace is of a run, with the turns of its alerts.
fn has_turns(trace: &Path) -> bool {
    let first = Reader::open(trace).and_then(|mut reader| reader.next_record());
    first.is_ok_and(|record| record.is_some_and(|record| record.turns.is_some()))
}

/// Keeps the log behind `explain`.
struct InMemory(Arc<Mutex<Records>>);

impl Journal for InMemory {
    fn recover(&mut self) -> Result<Vec<Pending>, JournalError> {
        Ok(Vec::new())
    }

    fn write(&mut self, batch: &[Entry]) -> Result<(), JournalError> {
        let mut records = self.0.lock();
        for entry in batch {
            if let Entry::Decided(decided) = entry {
                records.decided.push(Arc::clone(decided));
            }
        }
        Ok(())
    }
}

/// Plays a trace; returns what was decided on every draft. Prints problems.
pub(crate) fn records(trace: &Path, config: Option<PathBuf>, stop: &Stop) -> Result<Records, Exit> {
    let plan = prepared(&Args { trace: trace.to_owned(), config, workers: None, explain: None })?;
    let _log = input::log(&plan.logging, false).map_err(|error| refused(&error))?;
    let records = Arc::new(Mutex::new(Records::default()));
    let engine = Engine::builder(plan).journal(Box::new(InMemory(Arc::clone(&records))));
    play(engine, stop)?;
    let records = std::mem::take(&mut *records.lock());
    Ok(records)
}

fn play(engine: Builder, stop: &Stop) -> Result<Summary, Exit> {
    let engine = engine.start().map_err(|error| refused(&error))?;
    stop.graceful();
    while !stop.asked() && !engine.handle().wait(Duration::from_millis(50)) {}
    let summary = engine.drain(Duration::from_secs(5));
    // Only printing remains, which may block on its reader.
    stop.at_once(Exit::Interrupted);
    Ok(summary)
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Exit {
    if let Some(id) = &args.explain {
        return why::of_trace(&args.trace, args.config.clone(), id, false, stop);
    }
    let plan = match prepared(args) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let _log = match input::log(&plan.logging, false) {
        Ok(log) => log,
        Err(error) => return refused(&error),
    };
    let alerts = Arc::new(Alerts::default());
    let summary = match play(Engine::builder(plan).observer(Arc::clone(&alerts) as Arc<dyn Observer>), stop) {
        Ok(summary) => summary,
        Err(exit) => return exit,
    };
    let mut alerts = std::mem::take(&mut *alerts.0.lock());
    // Recorded turns are the order of the run.
    if !has_turns(&args.trace) {
        alerts.sort_by(|a, b| (a.pts_ns, &a.source, a.seq, &a.id).cmp(&(b.pts_ns, &b.source, b.seq, &b.id)));
    }
    for alert in &alerts {
        println!("{}", serde_json::json!(alert));
    }
    let refusals = SourceSummary::refusals(&summary.sources);
    eprintln!("{} replayed, {}{refusals}", count(summary.judged(), "frame"), count(alerts.len(), "alert"));
    faults(&summary).for_each(|line| eprintln!("{line}"));
    if summary.any_broken() || summary.any_faulted() { Exit::Failed } else { Exit::Fine }
}
