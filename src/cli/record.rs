//! `dsengine record`: writes a source's detections, frame by frame, to a trace.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dsengine::backend::trace::{FORMAT, Header, Writer};
use dsengine::config::{self, Loaded, ModelPlan, Plan};
use dsengine::engine::{Engine, Observer};
use dsengine::error::Error;
use dsengine::gst::Mp4Writer;
use dsengine::infer;
use dsengine::types::{Frame, Zone, count};
use dsengine::vision::draw;
use parking_lot::Mutex;

use super::exit::{Exit, failed, refused};
use super::files::{apart, create, io};
use super::input::{self, Input};
use super::progress::Progress;
use super::signals::Stop;

/// Frame rate in the header of an annotated file; each frame has its own time.
const ANNOTATED_FPS: f64 = 30.0;
/// Longest wait for the encoder to finish a file.
const FINISH_WAIT: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Detect with this model instead of the configured ones
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Its labels, one a line
    #[arg(long, value_name = "FILE", requires = "model")]
    labels: Option<PathBuf>,
    /// Lowest score kept, 0 to 1. Without it, that of each model in the configuration
    #[arg(long, value_name = "SCORE", value_parser = share)]
    confidence: Option<f32>,
    /// Analyse frames 0, N, 2N … only
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// Inference runtime: auto, onnxruntime or rten
    #[arg(long, value_name = "NAME", default_value = "auto")]
    runtime: String,
    /// Number of inference workers. Without it, thread_pool_size, or one per core
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Also write the pictures with boxes, labels and zones drawn
    #[arg(long, value_name = "OUT.mp4")]
    annotated: Option<PathBuf>,
    /// The trace to write
    #[arg(long, short, value_name = "OUT.jsonl")]
    output: PathBuf,
}

pub(crate) fn run(args: Args, stop: &Stop) -> Exit {
    let mut loaded = match args.input.load(Vec::new()) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    loaded.plan = adapt(loaded.plan, &args);
    let mut unused =
        vec!["python-module", "webhook-without-url", "email-without-address", "mqtt-without-url", "handler-not-built"];
    if args.model.is_some() {
        unused.extend(["no-model", "engine-without-tensorrt"]);
    }
    if input::show_used(&loaded, &unused) {
        return Exit::Usage;
    }
    if let Err(what) = recordable(&loaded, &args) {
        eprintln!("error: {what}");
        return Exit::Usage;
    }
    let plan = loaded.plan;
    let _log = match input::log(&plan.logging, false) {
        Ok(log) => log,
        Err(error) => return refused(&error),
    };
    let Some(runtime) = choice(&args.runtime) else {
        eprintln!("error: --runtime is auto, onnxruntime or rten, not {}", args.runtime);
        return Exit::Usage;
    };
    if let Err(error) = check_outputs(&plan, &args) {
        return refused(&error);
    }
    let recorder = match Recorder::create(&args.output, args.annotated.as_deref(), &plan) {
        Ok(recorder) => Arc::new(recorder),
        Err(error) => return refused(&error),
    };
    let builder = Engine::builder(plan)
        .search(infer::Search::of_process(None))
        .runtime(runtime)
        .observer(Arc::clone(&recorder) as Arc<dyn Observer>);
    let engine = match builder.start() {
        Ok(engine) => engine,
        Err(error) => return refused(&error),
    };
    stop.graceful();
    let mut progress = Progress::start();
    while !stop.asked() && !recorder.failed() && !engine.handle().wait(Duration::from_millis(50)) {
        progress.show(format!("{} analysed", count(engine.summary().judged(), "frame")));
    }
    drop(progress);
    let summary = engine.drain(Duration::from_secs(5));
    stop.at_once(Exit::Interrupted);
    if let Err(error) = recorder.finish() {
        return failed(&error);
    }
    let frames = count(summary.judged(), "frame");
    println!("{frames} analysed in {:.1} s, {}", summary.seconds, args.output.display());
    for source in &summary.sources {
        if let Some(broken) = &source.broken {
            eprintln!("error: {}: {broken}", source.source);
        }
    }
    if summary.any_broken() { Exit::Failed } else { Exit::Fine }
}

/// Checks that these sources can be recorded, before any file is touched.
fn recordable(loaded: &Loaded, args: &Args) -> Result<(), String> {
    let sources = &loaded.plan.sources;
    if sources.is_empty() {
        let hint = "name one with --source, --sources or `sources:` in the config";
        return Err(format!("there is no source to record\n  hint: {hint}"));
    }
    // Already reported by name; a trace under the output's name must not be overwritten by an empty one.
    if config::check(loaded).iter().any(|warning| warning.name == "source-missing") {
        return Err("nothing is recorded without its source".to_owned());
    }
    if args.annotated.is_none() {
        return Ok(());
    }
    if sources.len() > 1 {
        return Err(format!("--annotated makes a film of one source, and there are {}", sources.len()));
    }
    match sources.iter().find(|source| !source.input.has_pixels()) {
        Some(source) => Err(format!("--annotated needs pictures, and source `{}` has none", source.id)),
        None => Ok(()),
    }
}

/// Checks that no input would be overwritten.
fn check_outputs(plan: &Plan, args: &Args) -> Result<(), Error> {
    let outputs: Vec<&Path> = std::iter::once(&args.output).chain(&args.annotated).map(PathBuf::as_path).collect();
    let sources = plan.sources.iter().filter_map(|source| source.input.file());
    let models = plan.models.iter().flat_map(|m| std::iter::once(&m.model).chain(&m.labels));
    let configs = args.input.config.iter().chain(&args.input.sources);
    let inputs: Vec<&Path> = sources.chain(models.chain(configs).map(PathBuf::as_path)).collect();
    apart(&outputs, &inputs)
}

fn choice(word: &str) -> Option<infer::Choice> {
    match word {
        "auto" => Some(infer::Choice::Auto),
        "onnxruntime" => Some(infer::Choice::OnnxRuntime),
        "rten" => Some(infer::Choice::Rten),
        _ => None,
    }
}

/// A number from 0 to 1.
fn share(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("it is a number from 0 to 1".to_owned()),
    }
}

/// The plan for recording: every wanted frame at full speed, without rules, alerts and listener.
fn adapt(mut plan: Plan, args: &Args) -> Plan {
    if let Some(model) = &args.model {
        let (first, new) = (plan.models.first(), ModelPlan::new("record", model.clone()));
        plan.models = vec![ModelPlan {
            labels: args.labels.clone(),
            confidence: first.map_or(new.confidence, |m| m.confidence),
            nms: first.map_or(new.nms, |m| m.nms),
            max_objects: first.map_or(new.max_objects, |m| m.max_objects),
            ..new
        }];
    }
    if let Some(confidence) = args.confidence {
        plan.models.iter_mut().for_each(|m| m.confidence = confidence);
    }
    if !plan.models.is_empty() {
        plan.strategies.retain(|s| s.kind != config::StrategyKind::Motion);
    }
    plan.strategies.retain(|s| s.kind == config::StrategyKind::Motion);
    for source in &mut plan.sources {
        source.every = args.every;
        source.fps = None;
        source.realtime = false;
        source.repeat = false;
        if args.confidence.is_some() {
            source.confidence = None;
        }
    }
    plan.alerts.enabled = false;
    plan.handlers.clear();
    plan.admin.enabled = false;
    plan.workers = args.workers.or(plan.workers);
    plan
}

struct Output {
    path: PathBuf,
    hash: String,
    timezone: String,
    file: Option<BufWriter<File>>,
    trace: Option<Writer<BufWriter<File>>>,
    movie: Option<Mp4Writer>,
    movie_path: Option<PathBuf>,
    /// The zones of the only source in an annotated film.
    zones: Arc<[Zone]>,
    error: Option<Error>,
}

/// Writes the lanes' detections. The header is written with the first frame, whose times determine frame time 0.
struct Recorder(Mutex<Output>);

impl Recorder {
    fn create(path: &Path, annotated: Option<&Path>, plan: &Plan) -> Result<Self, Error> {
        let file = create(path)?;
        // The encoder starts with the first frame, which is too late to report that it cannot write.
        annotated.map(create).transpose()?;
        Ok(Self(Mutex::new(Output {
            path: path.to_owned(),
            hash: plan.hash.clone(),
            timezone: plan.timezone.name().to_owned(),
            file: Some(BufWriter::new(file)),
            trace: None,
            movie: None,
            movie_path: annotated.map(Path::to_owned),
            zones: plan.sources.first().map(|source| Arc::clone(&source.zones)).unwrap_or_default(),
            error: None,
        })))
    }

    /// Whether a write has failed. Does not wait for a write in progress.
    fn failed(&self) -> bool {
        self.0.try_lock().is_some_and(|out| out.error.is_some())
    }

    fn finish(&self) -> Result<(), Error> {
        let mut out = self.0.lock();
        out.start(0);
        let path = out.path.clone();
        let written = out.trace.take().map_or(Ok(()), |trace| trace.finish().map(drop).map_err(|e| io(&path, &e)));
        let movie = out.movie.take();
        // Finishing a failed film would only time out.
        out.error.take().map_or(Ok(()), Err)?;
        written?;
        movie.map_or(Ok(()), |movie| movie.finish(FINISH_WAIT))
    }
}

impl Output {
    fn start(&mut self, start_unix_ns: u64) {
        let Some(file) = self.file.take() else { return };
        let header = Header {
            format: FORMAT,
            dsengine: env!("CARGO_PKG_VERSION").to_owned(),
            config_hash: self.hash.clone(),
            start_unix_ns,
            timezone: Some(self.timezone.clone()),
        };
        match Writer::new(file, &header) {
            Ok(trace) => self.trace = Some(trace),
            Err(error) => self.error = Some(io(&self.path, &error)),
        }
    }

    fn write(&mut self, frame: &Frame) -> Result<(), Error> {
        self.start(frame.captured_unix_ns.saturating_sub(frame.pts_ns));
        if let Some(trace) = &mut self.trace {
            trace.write(frame).map_err(|e| io(&self.path, &e))?;
        }
        let (Some(path), Some(picture)) = (&self.movie_path, &frame.picture) else { return Ok(()) };
        let drawn = draw::annotated(picture, &frame.detections, &self.zones);
        if self.movie.is_none() {
            self.movie = Some(Mp4Writer::create(path, ANNOTATED_FPS)?);
        }
        match &mut self.movie {
            Some(movie) => movie.write(&drawn, frame.pts_ns),
            None => Ok(()),
        }
    }
}

impl Observer for Recorder {
    fn detected(&self, frame: &Frame) {
        let mut out = self.0.lock();
        if out.error.is_none() {
            out.error = out.write(frame).err();
        }
    }
}
