//! `dsengine snapshot`: takes one picture of a source, with a grid and the zones to read coordinates from.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::after;
use dsengine::config::{Plan, SourcePlan};
use dsengine::engine::{Engine, EngineApi as _, Observer};
use dsengine::error::{Code, Error};
use dsengine::types::{Frame, Picture, count};
use dsengine::vision::{draw, jpeg};
use parking_lot::Mutex;

use super::exit::{Exit, failed, refused};
use super::files::{apart, create, io};
use super::input::{self, Input};
use super::png;
use super::run::time;
use super::signals::Stop;

/// Poll interval for the picture.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for the source to end.
const DRAIN: Duration = Duration::from_secs(2);
/// JPEG quality.
const QUALITY: u8 = 90;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// The source of the configuration, by its id; needed where there are several
    #[arg(long, value_name = "ID", conflicts_with = "source")]
    id: Option<String>,
    /// Draw a grid in tenths of the picture, labelled in shares as zones are written
    #[arg(long)]
    grid: bool,
    /// Take the picture at this time of a file: 12 (seconds), 90s, 5m
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Duration>,
    /// Longest wait for the picture
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30")]
    wait: Duration,
    /// The picture to write: .png or .jpg
    #[arg(long, short, value_name = "FILE", value_parser = kind)]
    output: (PathBuf, Kind),
}

/// The picture's file format.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Png,
    Jpeg,
}

/// Parses a file name; its extension determines the format.
fn kind(text: &str) -> Result<(PathBuf, Kind), String> {
    let path = PathBuf::from(text);
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "png" => Ok((path, Kind::Png)),
        "jpg" | "jpeg" => Ok((path, Kind::Jpeg)),
        _ => Err("expected a name that ends in .png or .jpg".to_owned()),
    }
}

/// The first picture at or after a time.
struct First {
    from_ns: u64,
    picture: Mutex<Option<Picture>>,
}

impl Observer for First {
    fn detected(&self, frame: &Frame) {
        let mut first = self.picture.lock();
        if first.is_none() && frame.pts_ns >= self.from_ns {
            first.clone_from(&frame.picture);
        }
    }
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Exit {
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let (path, kind) = &args.output;
    let inputs: Vec<&Path> = plan.sources.iter().filter_map(|source| source.input.file()).collect();
    if let Err(error) = apart(&[path], &inputs) {
        return refused(&error);
    }
    let zones = plan.sources.first().map(|source| Arc::clone(&source.zones)).unwrap_or_default();
    let _log = match input::log(&plan.logging, false) {
        Ok(log) => log,
        Err(error) => return refused(&error),
    };
    let picture = match take(plan, args, stop) {
        Ok(picture) => picture,
        Err(error) => return failed(&error),
    };
    let drawn = if args.grid { draw::grid(&picture, &zones) } else { draw::annotated(&picture, &[], &zones) };
    let (size, zones) = ((drawn.width, drawn.height), zones.len());
    if let Err(error) = write(path, *kind, &drawn) {
        return failed(&error);
    }
    println!("{}: {} x {} pixels, {}", path.display(), size.0, size.1, count(zones, "zone"));
    Exit::Fine
}

/// The plan: one source, without strategies.
fn plan(args: &Args) -> Result<Plan, Exit> {
    let mut loaded = args.input.load(vec![("logging.level".to_owned(), "error".to_owned())])?;
    loaded.plan.models.clear();
    loaded.plan.strategies.clear();
    loaded.plan.handlers.clear();
    if input::show_used(&loaded, input::UNUSED_WITHOUT_RULES) {
        return Err(Exit::Usage);
    }
    let mut plan = loaded.plan;
    if let Some(id) = &args.id {
        plan.sources.retain(|source| source.id.as_str() == id);
    }
    let is_one = plan.sources.len() == 1;
    let Some(source) = plan.sources.first_mut().filter(|_| is_one) else {
        eprintln!("error: a snapshot is of one source, and there are {}", plan.sources.len());
        eprintln!("  hint: name it with --source URI, or one of the configuration with --id ID");
        return Err(Exit::Usage);
    };
    if !source.input.has_pixels() {
        eprintln!("error: source `{}` has no pictures", source.id);
        return Err(Exit::Usage);
    }
    (source.fps, source.realtime) = (None, false);
    if args.input.source.is_some() && args.input.config.is_some() {
        add_zones(source, args)?;
    }
    plan.admin.enabled = false;
    plan.logging.console = true;
    Ok(plan)
}

/// Adds the configuration's zones and blackout to a source of the command line: those of the same address, or of its
/// only source.
fn add_zones(source: &mut SourcePlan, args: &Args) -> Result<(), Exit> {
    let input = Input { source: None, ..args.input.clone() };
    let configured = input.load(Vec::new())?.plan.sources;
    let same = configured.iter().find(|other| other.input == source.input);
    if let Some(other) = same.or(configured.first().filter(|_| configured.len() == 1)) {
        source.zones = Arc::clone(&other.zones);
        source.blackout = other.blackout.clone();
    }
    Ok(())
}

/// Waits for the picture.
fn take(plan: Plan, args: &Args, stop: &Stop) -> Result<Picture, Error> {
    let from_ns = args.at.map_or(0, |at| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
    let first = Arc::new(First { from_ns, picture: Mutex::default() });
    let engine = Engine::builder(plan).observer(Arc::clone(&first) as Arc<dyn Observer>).start()?;
    let handle = engine.handle();
    stop.graceful();
    let over = after(args.wait);
    let mut has_ended = false;
    while over.is_empty() && !stop.asked() && !has_ended && first.picture.lock().is_none() {
        has_ended = handle.wait(POLL_EVERY);
    }
    let problems = handle.status().problems.join("; ");
    let picture = first.picture.lock().take();
    engine.drain(DRAIN);
    picture.ok_or_else(|| {
        let why = if has_ended && args.at.is_some() {
            format!("it ends before --at {:.1} s", args.at.unwrap_or_default().as_secs_f64())
        } else if problems.is_empty() {
            format!("none came within {:.0} s", args.wait.as_secs_f64())
        } else {
            problems
        };
        Error::new(Code::Source, format!("there is no picture: {why}"))
    })
}

fn write(path: &Path, kind: Kind, picture: &Picture) -> Result<(), Error> {
    let bytes = match kind {
        Kind::Jpeg => jpeg::encode(picture, picture.width, QUALITY),
        Kind::Png => png::encode(picture),
    };
    let bytes = bytes.ok_or_else(|| Error::new(Code::Source, "the picture cannot be read"))?;
    create(path)?.write_all(&bytes).map_err(|e| io(path, &e))
}
