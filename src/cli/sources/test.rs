//! `dsengine sources test`: opens one source as the engine would, and says what comes of it in one sentence.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::after;
use dsengine::backend::{SourceState, Stream};
use dsengine::config::{Plan, SourcePlan};
use dsengine::engine::{Engine, EngineApi as _, Handle, Observer, SystemClock};
use dsengine::error::Error;
use dsengine::telemetry::redact;
use dsengine::types::{Clock as _, Frame};
use parking_lot::Mutex;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::input::{self, Input};
use crate::cli::run::time;

/// Poll interval for the first frame.
const POLL_EVERY: Duration = Duration::from_millis(10);
/// How much longer than `--timeout` it is waited: the source's own watchdog names the cause.
const GRACE: Duration = Duration::from_secs(1);
/// How long frames are counted where the stream states no rate.
const COUNT: Duration = Duration::from_secs(1);
/// Longest wait for the source to end.
const DRAIN: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(super) struct Args {
    /// What to open, as in `sources[].uri`, or the id of a source of --config or --sources
    #[arg(value_name = "URI|ID")]
    source: String,
    /// Longest wait for its first frame
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10")]
    timeout: Duration,
    /// The configuration with the source
    #[arg(long, short, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// The file with the source
    #[arg(long, value_name = "FILE")]
    sources: Option<std::path::PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The frames that have come.
#[derive(Debug, Clone, Copy)]
struct Frames {
    first_ns: u64,
    last_ns: u64,
    count: u32,
    /// Width and height of the first one.
    size: (u32, u32),
    /// Whether it has a picture.
    is_picture: bool,
}

impl Frames {
    /// Frames per second, if there are enough to say it.
    fn rate(&self) -> Option<f64> {
        let seconds = Duration::from_nanos(self.last_ns - self.first_ns).as_secs_f64();
        (self.count > 2 && seconds > 0.0).then(|| f64::from(self.count - 1) / seconds)
    }
}

/// Notes the frames of the source.
struct Eye {
    clock: SystemClock,
    frames: Mutex<Option<Frames>>,
}

impl Observer for Eye {
    fn detected(&self, frame: &Frame) {
        let now = self.clock.monotonic_ns();
        let mut frames = self.frames.lock();
        match &mut *frames {
            Some(frames) => (frames.last_ns, frames.count) = (now, frames.count.saturating_add(1)),
            None => {
                let (size, is_picture) = ((frame.width, frame.height), frame.picture.is_some());
                *frames = Some(Frames { first_ns: now, last_ns: now, count: 1, size, is_picture });
            }
        }
    }
}

/// What came of it.
enum Outcome {
    /// A frame, after so long.
    Frame { after: Duration, frames: Frames, stream: Option<Stream> },
    /// None, and why; with the remedy where there is one.
    Nothing(String),
}

pub(super) fn run(args: &Args) -> Exit {
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let _log = match input::log(&plan.logging, false) {
        Ok(log) => log,
        Err(error) => return said(args, "", &Outcome::Nothing(sentence(&error))),
    };
    let address = plan.sources.first().map(|source| source.input.address(redact::uri)).unwrap_or_default();
    let eye = Arc::new(Eye { clock: SystemClock::new(), frames: Mutex::default() });
    let begun_ns = eye.clock.monotonic_ns();
    let engine = match Engine::builder(plan).observer(Arc::clone(&eye) as Arc<dyn Observer>).start() {
        Ok(engine) => engine,
        Err(error) => return said(args, &address, &Outcome::Nothing(sentence(&error))),
    };
    let outcome = watch(&engine.handle(), &eye, begun_ns, args.timeout);
    let exit = said(args, &address, &outcome);
    engine.drain(DRAIN);
    exit
}

/// The plan: one source, without rules.
fn plan(args: &Args) -> Result<Plan, Exit> {
    let quiet = || vec![("logging.level".to_owned(), "error".to_owned())];
    let file = Input { source: None, sources: args.sources.clone(), config: args.config.clone() };
    let has_file = args.config.is_some() || args.sources.is_some();
    let has_it = |source: &SourcePlan| source.id.as_str() == args.source;
    let mut loaded = if has_file { Some(file.load(quiet())?) } else { None };
    if let Some(loaded) = &mut loaded {
        if loaded.plan.idle.iter().any(|id| id.as_str() == args.source) {
            eprintln!("error: source `{}` is switched off\n  hint: test its address instead of its id", args.source);
            return Err(Exit::Usage);
        }
        loaded.plan.sources.retain(has_it);
    }
    let mut loaded = match loaded.filter(|loaded| !loaded.plan.sources.is_empty()) {
        Some(loaded) => loaded,
        None => Input { source: Some(args.source.clone()), sources: None, ..file }.load(quiet())?,
    };
    loaded.plan.models.clear();
    loaded.plan.strategies.clear();
    loaded.plan.handlers.clear();
    // A file that is missing is what the test says.
    if input::show_used(&loaded, &[input::UNUSED_WITHOUT_RULES, &["source-missing"]].concat()) {
        return Err(Exit::Usage);
    }
    let mut plan = loaded.plan;
    plan.sources.truncate(1);
    for source in &mut plan.sources {
        (source.fps, source.every, source.realtime) = (None, 1, false);
        source.retry.first_frame = args.timeout;
    }
    plan.admin.enabled = false;
    // What is logged is said in one sentence, too.
    (plan.logging.console, plan.logging.file) = (false, None);
    Ok(plan)
}

/// Waits for the first frame, or for the first failure.
fn watch(handle: &Handle, eye: &Eye, begun_ns: u64, timeout: Duration) -> Outcome {
    let over = after(timeout.saturating_add(GRACE));
    loop {
        let has_ended = handle.wait(POLL_EVERY);
        let source = handle.status().sources.into_iter().next();
        let frames = *eye.frames.lock();
        if let Some(frames) = frames {
            let stream = source.and_then(|source| source.stream);
            let is_stated = stream.as_ref().is_none_or(|stream| stream.fps.is_some());
            if !is_stated && !has_ended {
                handle.wait(COUNT);
            }
            let frames = eye.frames.lock().unwrap_or(frames);
            return Outcome::Frame { after: Duration::from_nanos(frames.first_ns - begun_ns), frames, stream };
        }
        if let Some(error) = source.as_ref().and_then(|source| source.error.clone()) {
            return Outcome::Nothing(error);
        }
        if has_ended {
            return Outcome::Nothing("it ends before its first frame".into());
        }
        if !over.is_empty() {
            let waits = source.is_some_and(|source| source.state == SourceState::Waiting.as_str());
            let what = if waits { "nobody has published to it" } else { "no frame came" };
            return Outcome::Nothing(format!("{what} within {:.0} s", timeout.as_secs_f64()));
        }
    }
}

/// An error with its hint, as one sentence.
fn sentence(error: &Error) -> String {
    match error.remedy() {
        Some(remedy) => format!("{}: {remedy}", error.message()),
        None => error.message().to_owned(),
    }
}

/// Prints what came of it.
fn said(args: &Args, address: &str, outcome: &Outcome) -> Exit {
    match outcome {
        Outcome::Frame { after, frames, stream } => {
            let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            if args.json {
                let (width, height) = frames.size;
                let answer = json!({
                    "ok": true, "address": address, "first_frame_ms": ms, "width": width, "height": height,
                    "fps": stream.as_ref().and_then(|stream| stream.fps).or_else(|| frames.rate()), "stream": stream,
                });
                println!("{answer:#}");
            } else {
                println!("ok: {address}: first frame after {ms} ms: {}", described(frames, stream.as_ref()));
            }
            Exit::Fine
        }
        Outcome::Nothing(why) => {
            if args.json {
                println!("{:#}", json!({ "ok": false, "address": address, "error": why }));
            } else if address.is_empty() || why.contains(address) {
                eprintln!("error: {why}");
            } else {
                eprintln!("error: {address}: {why}");
            }
            Exit::Failed
        }
    }
}

/// What comes, in the order of interest.
fn described(frames: &Frames, stream: Option<&Stream>) -> String {
    let mut parts = Vec::new();
    let (width, height) = frames.size;
    parts.extend(stream.and_then(|stream| stream.codec.clone()));
    parts.push(match frames.is_picture {
        true => format!("{width} x {height}"),
        false => "detections without pictures".to_owned(),
    });
    match (stream.and_then(|stream| stream.fps), frames.rate().filter(|_| stream.is_some())) {
        (Some(fps), _) => parts.push(format!("{} frames/s", (fps * 100.0).round() / 100.0)),
        (None, Some(fps)) => parts.push(format!("about {fps:.0} frames/s (measured, none is stated)")),
        (None, None) => {}
    }
    if let Some(stream) = stream {
        parts.extend(stream.transport.as_ref().map(|transport| format!("over {}", transport.to_uppercase())));
        let by = if stream.hardware { "hardware" } else { "software" };
        parts.extend(stream.decoder.as_ref().map(|decoder| format!("decoded by {decoder} ({by})")));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_one_sentence() {
        let mut frames = Frames { first_ns: 0, last_ns: 0, count: 1, size: (640, 360), is_picture: true };
        let stream = Stream {
            codec: Some("H.264".into()),
            decoder: Some("avdec_h264".into()),
            transport: Some("tcp".into()),
            fps: Some(25.0),
            ..Stream::default()
        };
        let wanted = "H.264, 640 x 360, 25 frames/s, over TCP, decoded by avdec_h264 (software)";
        assert_eq!(described(&frames, Some(&stream)), wanted);
        (frames.last_ns, frames.count) = (1_000_000_000, 11);
        let unstated = Stream { fps: None, ..Stream::default() };
        assert_eq!(described(&frames, Some(&unstated)), "640 x 360, about 10 frames/s (measured, none is stated)");
        frames.is_picture = false;
        assert_eq!(described(&frames, None), "detections without pictures");
    }
}
