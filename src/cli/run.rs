//! `dsengine run`: starts, watches configuration and scripts, serves pages, ends by itself or on a signal, and prints a
//! summary.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, after, bounded, never};
use dsengine::config::{self, Loaded, Request};
use dsengine::control::{self, Control};
use dsengine::engine::{Engine, EngineApi as _, Handle, SystemClock};
use dsengine::error::Error;
use dsengine::own::Thread;
use dsengine::telemetry::log::Log;
use dsengine::types::count_are;
use dsengine::{admin, infer};

use super::exit::{Exit, failed, refused};
use super::input::{self, Input};
use super::observers::{Files, Observers};
use super::outbox::Database;
use super::profile::spent;
use super::reloader::Reloader;
use super::signals::Stop;
use super::summary::report;

/// Poll interval for signals.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for a reload in progress and, after a signal, for a reader of standard output.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// The exit codes, for `--help`.
const EXITS: &str = "\
Exit code: 0 all went well, or a signal ended it; 1 a source broke off, a strategy failed on a frame, an alert \
was not delivered or --truth was missed; 2 it could not start; 130 a second signal, or one after the sources had ended, cut it short";

#[derive(clap::Args)]
#[command(after_help = EXITS)]
pub(crate) struct Args {
    /// Run this clip or other source, as `--source` does
    #[arg(value_name = "CLIP", conflicts_with = "source")]
    clip: Option<String>,
    #[command(flatten)]
    input: Input,
    /// Detect with this model: detection.model_engine_file
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Its labels, one a line: detection.labels_file
    #[arg(long, value_name = "FILE", requires = "model")]
    labels: Option<PathBuf>,
    /// End after this time, as when the sources have ended: 300 (seconds), 90s, 5m
    #[arg(long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// Also log what is for debugging
    #[arg(long, short)]
    verbose: bool,
    /// Log errors only
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,
    /// Port of the page and the metrics; 0 takes any free one. Without it, monitoring.prometheus.port (8000)
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Number of inference workers. Without it, thread_pool_size, or one per core
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Apply this profile of the configuration: profile. It cannot be switched while the engine runs
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Compare detections with this trace of the truth; exit 1 below --truth-min
    #[arg(long, value_name = "TRACE")]
    truth: Option<PathBuf>,
    /// Lowest precision and recall accepted with --truth
    #[arg(long, value_name = "RATIO", default_value_t = 0.6, requires = "truth")]
    truth_min: f64,
    /// Write one JSON line per judged frame: source, seq, the generation of each rule, delays
    #[arg(long, value_name = "FILE")]
    judgements: Option<PathBuf>,
    /// Record the run to this file as a trace: `replay` sends the same alerts in the same order
    ///
    /// Not exactly as they were: digests of a limit that were sent while no frame came, and sources whose address
    /// changes during the run.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Keep alerts, and edits that are saved (--save), in this folder; without it, in $STATE_DIRECTORY,
    /// $XDG_STATE_HOME/dsengine or ~/.local/state/dsengine
    #[arg(long, value_name = "DIR", env = "DSENGINE_STATE")]
    state: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

impl<'a> Files<'a> {
    fn of(args: &'a Args) -> Self {
        let Args { truth, judgements, record, input, .. } = args;
        let [truth, judgements, record] = [truth, judgements, record].map(|path| path.as_deref());
        Self { truth, judgements, record, config: [input.config.as_deref(), input.sources.as_deref()] }
    }
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
        overrides.extend(self.profile.iter().map(|name| ("profile".to_owned(), name.clone())));
        let files = [("detection.model_engine_file", &self.model), ("detection.labels_file", &self.labels)];
        overrides.extend(
            files.into_iter().filter_map(|(key, file)| Some((key.to_owned(), file.as_ref()?.display().to_string()))),
        );
        if self.quiet {
            overrides.push(("logging.level".to_owned(), "error".to_owned()));
        }
        overrides
    }
}

/// Parses a time in seconds, or with a unit.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let seconds =
        text.parse::<f64>().ok().map(|seconds| Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string()));
    let time = seconds.unwrap_or_else(|| humantime::parse_duration(text).map_err(|e| e.to_string()))?;
    if time.is_zero() { Err("a time above 0".to_owned()) } else { Ok(time) }
}

/// Whether an address names a YAML file; a scene's begins with its kind.
fn is_configuration(clip: &str) -> bool {
    !clip.contains(':') && (clip.ends_with(".yaml") || clip.ends_with(".yml"))
}

pub(crate) fn run(mut args: Args, stop: &Stop) -> Exit {
    if let Some(file) = args.clip.as_deref().filter(|clip| is_configuration(clip)) {
        eprintln!("error: {file} is a configuration, not a clip\n  hint: dsengine run --config {file}");
        return Exit::Usage;
    }
    args.input.source = args.input.source.take().or_else(|| args.clip.take());
    // Starting may take seconds (plugin scan, models); a signal meanwhile ends the process at once: nothing has been
    // accepted yet.
    stop.at_once(Exit::Fine);
    let hangups = stop.reloads();
    match load(&args).and_then(|loaded| Started::new(&args, loaded, hangups, stop)) {
        Ok(started) => started.run(&args, stop),
        Err(exit) => exit,
    }
}

/// The request, the loaded configuration, and the folder for saved edits.
struct Configured {
    request: Request,
    loaded: Loaded,
    state: Option<PathBuf>,
}

/// Loads the configuration and prints its warnings.
fn load(args: &Args) -> Result<Configured, Exit> {
    let mut request = args.input.request(args.overrides());
    let state = args.state.clone().or_else(|| control::state_dir(&request.env));
    let (mut loaded, dropped) = control::load_saved(&mut request, state.as_deref()).map_err(|error| refused(&error))?;
    if !dropped.is_empty() {
        eprintln!("warning: the files now say otherwise: saved edits are dropped: {}", dropped.join(", "));
    }
    loaded.warnings.extend(config::check(&loaded));
    loaded.warnings.extend(config::check_sources(&loaded));
    if input::show(&loaded.warnings) {
        return Err(Exit::Usage);
    }
    if !request.overlay.is_empty() {
        let edits = count_are(request.overlay.entries.len(), "saved edit");
        eprintln!("note: {edits} in effect: `dsengine config show` prints the configuration with what they change");
    }
    Ok(Configured { request, loaded, state })
}

/// A running engine and the parts around it.
struct Started {
    engine: Engine,
    page: Option<admin::Admin>,
    /// Carries out what handlers ask for.
    commands: Option<Thread>,
    reloader: Reloader,
    observers: Observers,
    log: Log,
    log_port: Option<admin::LogPort>,
    /// Held until everything else has ended.
    database: Option<Database>,
}

impl Started {
    fn new(args: &Args, configured: Configured, hangups: Receiver<()>, stop: &Stop) -> Result<Self, Exit> {
        let Configured { request, mut loaded, state } = configured;
        let refused = |error: Error| refused(&error);
        let plan = loaded.plan.clone();
        let log = input::log(&plan.logging, args.verbose).map_err(refused)?;
        pin(&plan.cpu_affinity);
        // Before connecting to any camera.
        let port = plan.admin.enabled.then(|| admin::Port::take(&plan.admin)).transpose().map_err(refused)?;
        let port = port.map(|port| port.with_log(log.tail()));
        let mut database = Database::take(state.as_deref(), &request, &plan.outbox).map_err(refused)?;
        // Not before: another run of this configuration may be writing the same files.
        let observers = Observers::open(&Files::of(args), &plan).map_err(refused)?;
        let engine = start(&mut loaded, &observers, database.as_ref()).map_err(refused)?;
        stop.graceful();
        let control = Control::start(engine.handle(), request, loaded, state, Arc::new(SystemClock::new()));
        log.show_figures(engine.handle().figures());
        let handle = engine.handle();
        log.on_lost_lines(move |lost| {
            handle.metrics().set_log_lines_lost(lost.total);
            handle.set_note("log", lost.problem.clone());
        });
        let log_port = follow(&engine, plan.logging.stream_port, &log).map_err(refused)?;
        let level = log.clone();
        control.on_change(move |plan| {
            if let Err(error) = level.set_level(&plan.logging.level) {
                tracing::error!("{error}");
            }
        });
        let page = serve(&engine, port, &control).map_err(refused)?;
        if let Some(url) = page.as_ref().map(|page| page.url()) {
            if let Some(database) = &mut database {
                database.note_address(&url);
            }
            if !args.quiet {
                eprintln!("page: {url}");
            }
        }
        let commands = control
            .start_commands()
            .inspect_err(|error| tracing::error!(%error, "what handlers ask for is not carried out"))
            .ok();
        let reloader = Reloader::start(control, hangups);
        Ok(Self { engine, page, commands, reloader, observers, log, log_port, database })
    }

    /// Runs until the sources have ended or a signal arrives; then prints the summary.
    fn run(self, args: &Args, stop: &Stop) -> Exit {
        let Self { engine, page, commands, mut reloader, observers, log, log_port, database } = self;
        let signalled = signalled(&engine.handle(), stop, args.duration);
        let graceful = engine.handle().plan().graceful_shutdown;
        if signalled {
            end_at_the_latest(graceful + 5 * LAST_WAIT);
        } else {
            stop.at_once(Exit::Interrupted);
        }
        reloader.end();
        drop((page, log_port, commands));
        let pending = engine.summary().pending;
        if pending > 0 {
            let (limit, next) = (graceful.as_secs(), if signalled { "another" } else { "a" });
            let pending = count_are(pending, "alert");
            eprintln!("{pending} not delivered yet: waiting up to {limit} s; {next} signal stops at once");
        }
        let handle = engine.handle();
        let summary = engine.drain(graceful);
        let spent = handle.plan().health.profile.then(|| spent(&handle.metrics().render()));
        if summary.pending > 0 && database.is_some() && handle.status().alerts.journal_error.is_none() {
            eprintln!("{} kept: the next run of this configuration delivers them", count_are(summary.pending, "alert"));
        }
        drop(database);
        let mut text = report(&summary, &handle.plan(), spent.as_ref(), args.json);
        let lost = summary.failed + summary.pending > 0;
        let well = !summary.any_broken() && !summary.any_faulted() && !lost;
        let mut exit = if well { Exit::Fine } else { Exit::Failed };
        if let Some(truth) = &observers.truth {
            let score = truth.score();
            text += &format!("{score}\n");
            if score.precision() < args.truth_min || score.recall() < args.truth_min {
                eprintln!("error: detections do not match the truth: below {} (--truth-min)", args.truth_min);
                exit = Exit::Failed;
            }
        }
        if signalled {
            // A run that is interrupted need not be finished.
            exit = Exit::Fine;
        }
        if let Err(error) = observers.finish() {
            exit = failed(&error);
        }
        log.finish();
        let printed = print(text, signalled);
        // Threads that still run must not meet the exit handlers of libraries.
        if printed && reloader.ended(LAST_WAIT) { exit } else { exit.now() }
    }
}

/// Starts the engine; leaves out plugins of the folder that cannot run.
fn start(loaded: &mut Loaded, observers: &Observers, database: Option<&Database>) -> Result<Engine, Error> {
    loop {
        let mut builder = Engine::builder(loaded.plan.clone()).search(infer::Search::of_process(None));
        if observers.each().next().is_some() {
            builder = builder.observer(Arc::new(observers.clone()));
        }
        if let Some(database) = database {
            builder = builder.journal(Box::new(database.journal()?));
            if let Some(folder) = database.pictures() {
                builder = builder.pictures(folder.to_owned());
            }
        }
        let error = match builder.start() {
            Ok(engine) => return Ok(engine),
            Err(error) => error,
        };
        match loaded.leave_out(&error) {
            Some(told) => tracing::error!("{told}"),
            None => return Err(loaded.placed(error)),
        }
    }
}

fn serve(engine: &Engine, port: Option<admin::Port>, control: &Arc<Control>) -> Result<Option<admin::Admin>, Error> {
    let (Some(runtime), Some(port)) = (engine.runtime(), port) else { return Ok(None) };
    let (board, plan) = (Arc::new(engine.handle()), engine.handle().plan());
    let page = admin::serve_at(port, runtime, &plan.admin, board, Some(Arc::clone(control)))?;
    let settings = page.settings();
    control.on_change(move |plan| settings.set(&plan.admin));
    Ok(Some(page))
}

/// Serves the log if a port is set.
fn follow(engine: &Engine, port: Option<u16>, log: &Log) -> Result<Option<admin::LogPort>, Error> {
    let (Some(runtime), Some(port)) = (engine.runtime(), port) else { return Ok(None) };
    admin::LogPort::serve(runtime, port, log.tail()).map(Some)
}

/// Waits until the sources have ended, the time is over or a signal arrives; returns whether it was a signal. Continues
/// if every source was removed, since others may be added.
fn signalled(engine: &Handle, stop: &Stop, duration: Option<Duration>) -> bool {
    let over = duration.map_or_else(never, after);
    while over.is_empty() && !engine.wait(POLL_EVERY) {
        if stop.asked() {
            return true;
        }
    }
    false
}

/// Pins every thread that is started from here on to the given cores.
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

/// Ends the process after this time, even if something still blocks, most likely on a reader of its output.
fn end_at_the_latest(limit: Duration) {
    let end = move || {
        // Nothing is ever sent.
        let _ = never::<()>().recv_timeout(limit);
        Exit::Interrupted.now()
    };
    // If the thread cannot start, a second signal still ends the process.
    let _ = std::thread::Builder::new().name("last-end".into()).spawn(end);
}

/// Prints the remaining output; `false` if it was not read in time. After a signal, a reader that has stopped reading
/// is not waited for.
fn print(text: String, signalled: bool) -> bool {
    let (done, printed) = bounded::<()>(0);
    let write = move || {
        super::exit::print(format_args!("{text}"));
        drop(done);
    };
    if let Err(error) = std::thread::Builder::new().name("summary".into()).spawn(write) {
        eprintln!("error: cannot start a thread: {error}");
        return true;
    }
    // The channel disconnects at the end.
    let waited = if signalled { printed.recv_timeout(LAST_WAIT) } else { printed.recv().map_err(Into::into) };
    waited != Err(RecvTimeoutError::Timeout)
}
