//! `dsengine run`: start, watch scripts, serve pages, end by itself or on a signal, and say what happened.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{bounded, never, select, tick};
use dsengine::config;
use dsengine::engine::status::HandlerStatus;
use dsengine::engine::{Engine, Handle, Observer, SourceSummary, Summary, SystemClock};
use dsengine::error::Error;
use dsengine::{admin, infer, watch};

use super::exit::{Exit, refused};
use super::input::{self, Input};
use super::judgements::Judgements;
use super::signals::Stop;
use super::truth::Truth;

/// How often it is looked whether every source has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Also log what is for debugging
    #[arg(long, short)]
    verbose: bool,
    /// Port of the page and the metrics on the loopback address; 0 takes any free one
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Number of inference workers
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Compare detections with this trace of the truth; exit 1 below --truth-min
    #[arg(long, value_name = "TRACE")]
    truth: Option<PathBuf>,
    /// Lowest precision and recall accepted with --truth
    #[arg(long, value_name = "RATIO", default_value_t = 0.6, requires = "truth")]
    truth_min: f64,
    /// Write one JSON line per judged frame: source, seq, the generation of each rule, delays
    #[arg(long, value_name = "FILE")]
    judgements: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    fn overrides(&self) -> Vec<(String, String)> {
        let mut overrides = Vec::new();
        if let Some(port) = self.port {
            overrides.push(("monitoring.prometheus.port".to_owned(), port.to_string()));
        }
        if let Some(workers) = self.workers {
            overrides.push(("thread_pool_size".to_owned(), workers.to_string()));
        }
        overrides
    }
}

/// Everything that sees frames while `run` runs.
struct Observers(Vec<Arc<dyn Observer>>);

impl Observer for Observers {
    fn detected(&self, frame: &dsengine::types::Frame) {
        self.0.iter().for_each(|o| o.detected(frame));
    }
    fn judged(&self, judged: &dsengine::engine::Judged<'_>) {
        self.0.iter().for_each(|o| o.judged(judged));
    }
    fn alert(&self, alert: &dsengine::types::Alert) {
        self.0.iter().for_each(|o| o.alert(alert));
    }
}

pub(crate) fn run(args: Args, stop: &Stop) -> Exit {
    let loaded = match args.input.load(args.overrides()) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let mut warnings = loaded.warnings.clone();
    warnings.extend(config::check(&loaded));
    if input::show(&warnings) {
        return Exit::Usage;
    }
    let plan = loaded.plan;
    if plan.sources.is_empty() {
        eprintln!(
            "error: there is no source to run\n  hint: name one with --source, --sources or `sources:` in the config"
        );
        return Exit::Usage;
    }
    if let Err(error) = input::log(&plan.logging, args.verbose) {
        return refused(&error);
    }
    pin(&plan.cpu_affinity);

    let truth = match args.truth.as_deref().map(Truth::open).transpose() {
        Ok(truth) => truth.map(Arc::new),
        Err(error) => return refused(&error),
    };
    let judgements = match args.judgements.as_deref().map(Judgements::create).transpose() {
        Ok(judgements) => judgements.map(Arc::new),
        Err(error) => return refused(&error),
    };
    // Before any camera is disturbed.
    let port = match plan.admin.enabled.then(|| admin::Port::take(plan.admin.port)).transpose() {
        Ok(port) => port,
        Err(error) => return refused(&error),
    };
    let mut observers: Vec<Arc<dyn Observer>> = Vec::new();
    observers.extend(truth.clone().map(|t| t as Arc<dyn Observer>));
    observers.extend(judgements.clone().map(|j| j as Arc<dyn Observer>));

    // Starting may take seconds (plugin scan, models); a signal meanwhile ends the process at once: nothing has
    // been accepted yet.
    let graceful = plan.graceful_shutdown;
    let (sender, started) = bounded(1);
    let starter = std::thread::Builder::new().name("start".into()).spawn(move || {
        let mut builder = Engine::builder(plan).search(infer::Search::of_process(None));
        if !observers.is_empty() {
            builder = builder.observer(Arc::new(Observers(observers)));
        }
        let _ = sender.send(builder.start());
    });
    if let Err(error) = starter {
        eprintln!("error: cannot start a thread: {error}");
        return Exit::Failed;
    }
    let engine = select! {
        recv(started) -> engine => match engine {
            Ok(Ok(engine)) => engine,
            Ok(Err(error)) => return refused(&error),
            Err(_) => return Exit::Failed,
        },
        recv(stop.channel()) -> _ => Exit::Fine.now(),
    };

    let page = match serve(&engine, port) {
        Ok(page) => page,
        Err(error) => return refused(&error),
    };
    if let Some(page) = &page {
        eprintln!("page: {}", page.url());
    }
    supervise(&engine.handle(), stop);
    drop(page);
    let pending = engine.summary().pending;
    if pending > 0 {
        let limit = graceful.as_secs();
        eprintln!("{pending} alerts are not delivered yet: waiting up to {limit} s; another signal stops at once");
    }
    let summary = engine.drain(graceful);
    if let Some(judgements) = judgements {
        judgements.flush();
    }
    report(&summary, args.json);
    let mut exit = if summary.any_broken() { Exit::Failed } else { Exit::Fine };
    if let Some(truth) = truth {
        let score = truth.score();
        println!("{score}");
        if score.precision() < args.truth_min || score.recall() < args.truth_min {
            eprintln!("error: detections do not match the truth: below {} (--truth-min)", args.truth_min);
            exit = Exit::Failed;
        }
    }
    if stop.asked() { Exit::Fine } else { exit }
}

fn serve(engine: &Engine, port: Option<admin::Port>) -> Result<Option<admin::Admin>, Error> {
    let handle = engine.handle();
    match (engine.runtime(), port) {
        (Some(runtime), Some(port)) => {
            admin::serve_at(port, runtime, &handle.plan().admin, Arc::new(handle.clone())).map(Some)
        }
        _ => Ok(None),
    }
}

/// Watches scripts until the sources have ended or a signal comes.
fn supervise(engine: &Handle, stop: &Stop) {
    let watcher = watcher(engine);
    let changes = watcher.as_ref().map_or_else(never, |w| w.changes().clone());
    let mut reloads = stop.reloads();
    let look = tick(LOOK_EVERY);
    let (mut watched, mut seen) = (BTreeSet::new(), None);
    while !engine.wait(Duration::ZERO) {
        if let Some(watcher) = &watcher
            && seen.replace(engine.reloads()) != Some(engine.reloads())
        {
            watch_anew(engine, watcher, &mut watched);
        }
        select! {
            recv(look) -> _ => {}
            recv(stop.channel()) -> _ => break,
            recv(reloads) -> asked => match asked {
                Ok(()) => reload_all(engine),
                Err(_) => reloads = never(),
            },
            recv(changes) -> change => match change {
                Ok(watch::Changed { path, bytes: Some(bytes) }) => reload(engine, &path, &bytes),
                Ok(watch::Changed { path, bytes: None }) => engine.gone(&path),
                Err(_) => break,
            },
        }
    }
}

/// Watches the scripts in use; without it they run, and edits take effect after a restart.
fn watcher(engine: &Handle) -> Option<watch::Watcher> {
    let modules = engine.modules();
    if modules.is_empty() {
        return None;
    }
    let clock = Arc::new(SystemClock::new());
    let watcher = watch::Watcher::start(clock)
        .inspect_err(|error| tracing::error!(%error, "scripts are not watched; edits take effect after a restart"))
        .ok()?;
    Some(watcher)
}

/// Watches what a reload, whoever asked for it, has brought, and no more what it has taken out of use.
fn watch_anew(engine: &Handle, watcher: &watch::Watcher, watched: &mut BTreeSet<PathBuf>) {
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
fn reload_all(engine: &Handle) {
    for path in engine.modules() {
        match std::fs::read(&path) {
            Ok(bytes) => reload(engine, &path, &bytes),
            Err(error) => tracing::error!(script = %path.display(), "not reloaded: cannot be read: {error}"),
        }
    }
}

/// Keeps every thread that is started from here on the given cores.
fn pin(cores: &[usize]) {
    if cores.is_empty() {
        return;
    }
    let mut set = rustix::thread::CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(?cores, %error, "monitoring.cpu_affinity cannot be set");
    }
}

fn report(summary: &Summary, json: bool) {
    if json {
        println!("{:#}", serde_json::json!(summary));
        return;
    }
    println!();
    for s in &summary.sources {
        let dropped: Vec<String> = s.dropped.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        let dropped = if dropped.is_empty() { "none".to_owned() } else { dropped.join(", ") };
        let kept_back = SourceSummary::kept_back(std::slice::from_ref(s));
        println!(
            "{}: {} frames, {} judged, {} detections, {} alerts{kept_back}, dropped: {dropped}",
            s.source, s.frames, s.judged, s.detections, s.alerts
        );
        if let Some(broken) = &s.broken {
            println!("{}: broken: {broken}", s.source);
        }
    }
    for strategy in summary.strategies.iter().filter(|s| s.faults > 0) {
        let last = strategy.last_error.as_deref().unwrap_or("none since the last reload");
        println!("strategy {}: {} faults, the last: {last}", strategy.name, strategy.faults);
    }
    for HandlerStatus { name, delivered, given_up, pending, last_error, .. } in &summary.handlers {
        let last = last_error.as_ref().map(|error| format!("; last error: {error}")).unwrap_or_default();
        println!("handler {name}: {delivered} alerts delivered, {given_up} given up, {pending} pending{last}");
    }
    println!(
        "total: {} frames judged in {:.1} s ({:.1} fps), {} alerts delivered by every handler, {} given up by one, \
         {} pending",
        summary.judged(),
        summary.seconds,
        summary.fps(),
        summary.delivered,
        summary.failed,
        summary.pending
    );
}
