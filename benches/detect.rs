//! Pictures in memory to detections against the network alone, in the same session: yolox_nano on a real clip, one
//! thread, CPU time, turns taken in one run. Ratio = network alone / ours: what is missing to 1 is our share.
//!
//! Needs the test data (`DSENGINE_TESTDATA`), libonnxruntime and `gst-launch-1.0`; skips without them.
#![allow(clippy::print_stdout, reason = "a bench prints its result")]

mod report;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use dsengine::config::ModelPlan;
use dsengine::infer::{Choice, Model, Runtime, Search};
use dsengine::types::{Colorimetry, Matrix, Picture, Range};

const WIDTH: usize = 480;
const HEIGHT: usize = 360;
const ROUNDS: usize = 61;
const REPEATS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let testdata = std::env::var_os("DSENGINE_TESTDATA").map_or_else(|| root.join("../shared/testdata"), PathBuf::from);
    let plan = ModelPlan {
        confidence: 0.4,
        max_objects: 100,
        ..ModelPlan::new("bench", testdata.join("models/yolox_nano_416.onnx"))
    };
    if !plan.model.is_file() {
        println!("SKIP detect: no test data at {}", testdata.display());
        return Ok(());
    }
    // Not rten: its pool computes on a thread whose time is not in the calling thread's clock.
    let (runtime, reason) = match Runtime::open(Choice::OnnxRuntime, &Search::of_process(None)) {
        Ok(opened) => opened,
        Err(error) => {
            println!("SKIP detect: {}", error.message());
            return Ok(());
        }
    };
    println!("{reason}");
    let Some(pictures) = decode(&testdata.join("clips/vtest-480x360.mp4"))? else {
        println!("SKIP detect: gst-launch-1.0 with an H.264 decoder is not there");
        return Ok(());
    };
    let mut worker = Model::load(&plan, &runtime)?.worker()?;
    let (mut ours, mut alone, mut seen) = (vec![], vec![], 0);
    let mut pictures = pictures.iter().cycle();
    for _ in 0..ROUNDS {
        let start = report::thread_cpu_us();
        for picture in pictures.by_ref().take(REPEATS) {
            seen += worker.detect(&[picture])?[0].len();
        }
        let middle = report::thread_cpu_us();
        for _ in 0..REPEATS {
            worker.run_network()?;
        }
        ours.push((middle - start) / REPEATS as f64);
        alone.push((report::thread_cpu_us() - middle) / REPEATS as f64);
    }
    println!("{seen} detections in {} pictures", ROUNDS * REPEATS);
    let (ours, alone) = (report::median(&mut ours), report::median(&mut alone));
    let (unit, beside) = ("us CPU per picture", Some((alone, alone / ours)));
    report::Figure { name: "detect", ours, unit, runs: ROUNDS, beside, goal: None }.write()
}

/// Every tenth frame of the clip.
fn decode(clip: &Path) -> Result<Option<Vec<Picture>>, Box<dyn Error>> {
    let raw = report::folder()?.join("frames.i420");
    let ran = Command::new("gst-launch-1.0")
        .args(["-q", "filesrc", &format!("location={}", clip.display()), "!", "qtdemux", "!", "h264parse", "!"])
        .args(["avdec_h264", "max-threads=1", "!", "video/x-raw,format=I420", "!"])
        .args(["filesink", &format!("location={}", raw.display())])
        .status();
    if !ran.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let bytes = std::fs::read(&raw)?;
    std::fs::remove_file(&raw)?;
    let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
    let picture = |frame: &[u8]| {
        let (y, chroma) = frame.split_at(WIDTH * HEIGHT);
        let (u, v) = chroma.split_at(WIDTH * HEIGHT / 4);
        Picture::from_i420(WIDTH as u32, HEIGHT as u32, colorimetry, [y.to_vec(), u.to_vec(), v.to_vec()])
    };
    Ok(bytes.chunks_exact(WIDTH * HEIGHT * 3 / 2).step_by(10).map(picture).collect())
}
