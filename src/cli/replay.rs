//! `dsengine replay`: runs the same strategies and policy over a trace, on frame time, as fast as possible.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dsengine::backend::trace::Reader;
use dsengine::config::{Input as SourceInput, Loaded, SourcePlan, StrategyKind};
use dsengine::engine::{Engine, Observer, SourceSummary};
use dsengine::types::{Alert, SourceId, count};
use parking_lot::Mutex;

use super::exit::{Exit, refused};
use super::input::{self, Input};
use super::signals::Stop;
use super::summary::faults;

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
}

/// Warnings about sources, models and handlers of the configuration, which a trace does not need.
const UNUSED: &[&str] = &[
    "no-model",
    "source-not-built",
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

pub(crate) fn run(args: Args, stop: &Stop) -> Exit {
    let input = Input { config: args.config.clone(), ..Input::default() };
    let as_source = Input { source: Some(format!("trace:{}", args.trace.display())), ..input.clone() };
    let loaded = match input.load(Vec::new()) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let fallback = match as_source.load(Vec::new()) {
        Ok(fallback) => fallback.plan.sources,
        Err(exit) => return exit,
    };
    let names = match Reader::sources(&args.trace) {
        Ok(names) => names,
        Err(error) => return refused(&error),
    };
    let mut loaded = match in_recorded_zone(loaded, &input, &args.trace) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let plan = &mut loaded.plan;
    if let Some(problem) = unrelated_sources(&names, &plan.sources) {
        eprintln!("error: {}: {problem}", args.trace.display());
        eprintln!(
            "  hint: record it with the same configuration, or give the source its name: rules would judge without its zones"
        );
        return Exit::Failed;
    }
    // A source of the config with a recorded one's name provides its zones; others get the top-level ones.
    let templates: Vec<SourcePlan> = std::mem::take(&mut plan.sources).into_iter().chain(fallback).collect();
    plan.sources = names
        .into_iter()
        .filter_map(|id| {
            let template = templates.iter().find(|s| s.id == id).or(templates.last())?;
            let input = SourceInput::Trace(args.trace.clone());
            Some(SourcePlan { id, input, every: 1, fps: None, ..template.clone() })
        })
        .collect();
    plan.models.clear();
    plan.strategies.retain(|s| s.kind != StrategyKind::Motion);
    plan.handlers.clear();
    plan.admin.enabled = false;
    plan.workers = args.workers.or(plan.workers);
    plan.logging.console = true;
    if input::show_used(&loaded, UNUSED) {
        return Exit::Usage;
    }
    let _log = match input::log(&loaded.plan.logging, false) {
        Ok(log) => log,
        Err(error) => return refused(&error),
    };
    let alerts = Arc::new(Alerts::default());
    let engine = match Engine::builder(loaded.plan).observer(Arc::clone(&alerts) as Arc<dyn Observer>).start() {
        Ok(engine) => engine,
        Err(error) => return refused(&error),
    };
    stop.graceful();
    while !stop.asked() && !engine.handle().wait(Duration::from_millis(50)) {}
    let summary = engine.drain(Duration::from_secs(5));
    // Only printing remains, which may block on its reader.
    stop.at_once(Exit::Interrupted);
    let mut alerts = std::mem::take(&mut *alerts.0.lock());
    alerts.sort_by(|a, b| (a.pts_ns, &a.source, a.seq, &a.id).cmp(&(b.pts_ns, &b.source, b.seq, &b.id)));
    for alert in &alerts {
        println!("{}", serde_json::json!(alert));
    }
    let refusals = SourceSummary::refusals(&summary.sources);
    eprintln!("{} replayed, {}{refusals}", count(summary.judged(), "frame"), count(alerts.len(), "alert"));
    faults(&summary).for_each(|line| eprintln!("{line}"));
    if summary.any_broken() || summary.any_faulted() { Exit::Failed } else { Exit::Fine }
}
