//! A whole engine that decodes a clip, finds what moves and judges it by a rule, against GStreamer that only decodes
//! the same clip with the same decoder: CPU time of the process per frame, all threads, turns taken. Ratio = decoding
//! alone / ours, which is the share of streams that a machine still holds.
//!
//! `decode` is 1080p (the clip, enlarged and encoded once), `decode_480x360` the clip itself. Needs the test data
//! (`DSENGINE_TESTDATA`) and, for 1080p, an H.264 encoder; skips without them.
#![allow(clippy::print_stdout, reason = "a bench prints its result")]

mod report;
mod setup;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dsengine::config::Plan;
use dsengine::engine::{Engine, Judged, Observer};
use gstreamer as gst;
use gstreamer::prelude::*;
use report::{Figure, Goal};
use rustix::time::{ClockId, clock_gettime};

/// Frames that are played of each: the beginning of the enlarged clip, and all of the small one.
const LARGE_FRAMES: u64 = 250;
const SMALL_FRAMES: u64 = 795;
/// Frames that are not measured: the start, and what motion takes to know its background.
const WARM_UP: u64 = 30;
const PAIRS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    gst::init()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let testdata = std::env::var_os("DSENGINE_TESTDATA").map_or_else(|| root.join("../shared/testdata"), PathBuf::from);
    let clip = testdata.join("clips/vtest-480x360.mp4");
    if !clip.is_file() {
        println!("SKIP decode: no test data at {}", testdata.display());
        return Ok(());
    }
    compare("decode_480x360", &clip.canonicalize()?, SMALL_FRAMES, 0.90)?;
    let large = report::folder()?.join("vtest-1920x1080.mp4");
    if !large.is_file() && !enlarge(&clip, &large)? {
        println!("SKIP decode: GStreamer has no H.264 encoder here");
        return Ok(());
    }
    compare("decode", &large, LARGE_FRAMES, 0.95)
}

fn compare(name: &str, clip: &Path, frames: u64, goal: f64) -> Result<(), Box<dyn Error>> {
    let yaml = format!(
        "zones: {{ yard: [[0, 0.3], [1, 0.3], [1, 1], [0, 1]] }}\n\
         sources: [{{ id: cam, type: file, uri: '{}' }}]\n\
         detection:\n  strategies:\n    - {{ name: motion }}\n\
         \x20   - {{ name: intrusion, module: scripts/intrusion.lua, config: {{ zone: yard, labels: [motion], min_confidence: 0.1 }} }}\n\
         alerts: {{ handlers: [{{ name: file, config: {{ log_file: '{}' }} }}] }}\n",
        clip.display(),
        report::folder()?.join("alerts.jsonl").display()
    );
    let plan = setup::plan(name, &yaml)?;
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..PAIRS {
        ours.push(engine_turn(&plan, frames)?);
        theirs.push(decoder_turn(clip, frames)?);
    }
    println!("{name}: ours {ours:.0?}, theirs {theirs:.0?}");
    let (ours, theirs) = (report::median(&mut ours), report::median(&mut theirs));
    let (unit, beside) = ("us CPU per frame", Some((theirs, theirs / ours)));
    Figure { name, ours, unit, runs: PAIRS, beside, goal: Some(Goal::RatioAtLeast(goal)) }.write()
}

/// CPU time of the whole process.
fn process_cpu_us() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

/// Counts frames and notes the CPU time at the first that is measured and at the last.
struct Meter {
    seen: AtomicU64,
    last: u64,
    from_to: Mutex<[f64; 2]>,
}

impl Meter {
    fn new(frames: u64) -> Arc<Self> {
        Arc::new(Self { seen: AtomicU64::new(0), last: frames, from_to: Mutex::default() })
    }

    fn frame(&self) {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        for (index, at) in [WARM_UP, self.last].into_iter().enumerate() {
            if seen == at {
                self.from_to.lock().unwrap_or_else(PoisonError::into_inner)[index] = process_cpu_us();
            }
        }
    }

    /// CPU time per frame.
    fn per_frame_us(&self) -> Result<f64, Box<dyn Error>> {
        let seen = self.seen.load(Ordering::Relaxed);
        if seen < self.last {
            return Err(format!("{seen} frames came, not {}", self.last).into());
        }
        let [from, to] = *self.from_to.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((to - from) / (self.last - WARM_UP) as f64)
    }
}

impl Observer for Meter {
    fn judged(&self, _judged: &Judged<'_>) {
        self.frame();
    }
}

fn engine_turn(plan: &Plan, frames: u64) -> Result<f64, Box<dyn Error>> {
    let meter = Meter::new(frames);
    let engine = Engine::builder(plan.clone()).observer(Arc::clone(&meter) as Arc<dyn Observer>).start()?;
    engine.handle().wait(Duration::from_secs(120));
    let summary = engine.drain(Duration::from_secs(5));
    if summary.sources[0].detections == 0 {
        return Err("nothing moved: that was no honest turn".into());
    }
    meter.per_frame_us()
}

/// The decoder as the engine sets it, and nothing after it.
fn decoder_turn(clip: &Path, frames: u64) -> Result<f64, Box<dyn Error>> {
    let meter = Meter::new(frames);
    let pipeline = launch(&format!(
        "filesrc location={clip:?} ! qtdemux ! h264parse ! avdec_h264 max-threads=1 ! fakesink name=sink sync=false"
    ))?;
    let sink = pipeline.by_name("sink").and_then(|sink| sink.static_pad("sink")).ok_or("a fakesink has a pad")?;
    let counted = Arc::clone(&meter);
    sink.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counted.frame();
        gst::PadProbeReturn::Ok
    });
    play(&pipeline)?;
    meter.per_frame_us()
}

/// Writes the beginning of `clip` in 1080p, as a camera would send it. `false` without an encoder.
fn enlarge(clip: &Path, large: &Path) -> Result<bool, Box<dyn Error>> {
    if gst::ElementFactory::find("x264enc").is_none() {
        return Ok(false);
    }
    let pipeline = launch(&format!(
        "filesrc location={clip:?} ! qtdemux ! h264parse ! avdec_h264 ! identity eos-after={LARGE_FRAMES} ! videoscale \
         ! video/x-raw,width=1920,height=1080,pixel-aspect-ratio=1/1 ! x264enc speed-preset=veryfast bframes=0 \
         key-int-max=50 bitrate=4000 ! mp4mux ! filesink location={large:?}"
    ))?;
    play(&pipeline)?;
    Ok(true)
}

fn launch(text: &str) -> Result<gst::Pipeline, Box<dyn Error>> {
    gst::parse::launch(text)?.downcast::<gst::Pipeline>().map_err(|_| "that is no pipeline".into())
}

/// Plays to the end.
fn play(pipeline: &gst::Pipeline) -> Result<(), Box<dyn Error>> {
    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    pipeline.set_state(gst::State::Playing)?;
    let ended = bus.timed_pop_filtered(None, &[gst::MessageType::Eos, gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null)?;
    match ended.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => Err(format!("{}", error.error()).into()),
        _ => Ok(()),
    }
}
