//! Our fused preprocessing against OpenCV's cvtColor + resize + border + blob: 1080p to 640×640, one thread each, CPU
//! time, turns taken in one run. Ratio = ours / OpenCV's; both sides' floats are compared first.
//!
//! Needs a Python with `opencv-python`: `DSENGINE_PYTHON`, else `python3`.
#![allow(clippy::print_stdout, reason = "a bench prints its result")]

mod report;

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use dsengine::types::{Colorimetry, Matrix, Picture, PixelFormat, Range};
use dsengine::vision::letterbox::Fit;
use dsengine::vision::preprocess::{ChannelOrder, Kernel, Preprocessor, Recipe};
use report::Goal;

const WIDTH: usize = 1920;
const HEIGHT: usize = 1080;
const SIDE: usize = 640;
const ROUNDS: usize = 41;
const REPEATS: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = report::folder()?;
    let forms = [("i420", PixelFormat::I420), ("nv12", PixelFormat::Nv12), ("rgb", PixelFormat::Rgb)];
    let pictures = forms.map(|(name, format)| (name, picture(format)));
    for (name, (bytes, _)) in &pictures {
        fs::write(folder.join(format!("frame.{name}")), bytes)?;
    }
    let Some(mut opencv) = OpenCv::start(&folder)? else {
        println!("SKIP preprocess: no Python with opencv-python (set DSENGINE_PYTHON)");
        return Ok(());
    };
    let recipe = Recipe::normalised(Fit::Centre, ChannelOrder::Rgb, [0.0; 3], [1.0; 3], 114.0);
    for (name, (_, picture)) in &pictures {
        let picture = &picture.planes()?;
        let mut preprocessor = Preprocessor::new(recipe, (SIDE, SIDE));
        let (mut out, mut painted) = (vec![0.0; preprocessor.floats()], None);
        preprocessor.write(picture, &mut out, &mut painted);
        println!(
            "{name}: mean difference {:.4} of a code value, kernel {:?}",
            opencv.difference(name, &folder, &out)?,
            Kernel::best()
        );
        let (mut ours, mut theirs) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            let start = report::thread_cpu_us();
            for _ in 0..REPEATS {
                preprocessor.write(picture, &mut out, &mut painted);
            }
            ours.push((report::thread_cpu_us() - start) / REPEATS as f64);
            theirs.push(opencv.ask(&format!("{name} {REPEATS}"))?.parse()?);
        }
        let (ours, theirs) = (report::median(&mut ours), report::median(&mut theirs));
        let file = if *name == "i420" { "preprocess".to_owned() } else { format!("preprocess_{name}") };
        let (unit, beside) = ("us CPU per picture", Some((theirs, ours / theirs)));
        let goal = (*name == "nv12").then_some(Goal::RatioAtMost(0.15));
        report::Figure { name: &file, ours, unit, runs: ROUNDS, beside, goal }.write()?;
    }
    Ok(())
}

/// Slopes and some noise, in OpenCV's colours (BT.601 limited): its bytes in a row, and as a picture.
fn picture(format: PixelFormat) -> (Vec<u8>, Picture) {
    let mut random = fastrand::Rng::with_seed(5);
    let mut plane = |width: usize, height: usize, low: usize, span: usize| -> Vec<u8> {
        (0..width * height)
            .map(|i| (low + (i % width * 2 + i / width) * span / (2 * width + height) + random.usize(0..8)) as u8)
            .collect()
    };
    let planes = match format {
        PixelFormat::I420 => [
            plane(WIDTH, HEIGHT, 40, 150),
            plane(WIDTH / 2, HEIGHT / 2, 110, 30),
            plane(WIDTH / 2, HEIGHT / 2, 100, 40),
        ],
        PixelFormat::Nv12 => [plane(WIDTH, HEIGHT, 40, 150), plane(WIDTH, HEIGHT / 2, 110, 30), vec![]],
        PixelFormat::Rgb => [plane(WIDTH * 3, HEIGHT, 20, 200), vec![], vec![]],
    };
    let strides = match format {
        PixelFormat::I420 => [WIDTH, WIDTH / 2, WIDTH / 2],
        PixelFormat::Nv12 => [WIDTH, WIDTH, 0],
        PixelFormat::Rgb => [WIDTH * 3, 0, 0],
    };
    let bytes = planes.concat();
    let colorimetry = Colorimetry { matrix: Matrix::Bt601, range: Range::Limited };
    #[allow(clippy::expect_used, reason = "planes and strides are laid out three lines above")]
    let picture = Picture::from_planes(format, WIDTH as u32, HEIGHT as u32, colorimetry, strides, planes)
        .expect("planes fit their strides");
    (bytes, picture)
}

/// The Python process, asked line by line.
struct OpenCv {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl OpenCv {
    fn start(folder: &Path) -> Result<Option<Self>, Box<dyn Error>> {
        let python = std::env::var("DSENGINE_PYTHON").unwrap_or_else(|_| "python3".into());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/opencv_preprocess.py");
        let mut command = Command::new(python);
        command.arg(script).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { return Ok(None) };
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else { return Ok(None) };
        let mut opencv = Self { child, input, output: BufReader::new(output) };
        let ready = opencv.line()?;
        println!("OpenCV: {ready}");
        Ok(ready.starts_with("ready").then_some(opencv))
    }

    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    fn ask(&mut self, question: &str) -> Result<String, Box<dyn Error>> {
        writeln!(self.input, "{question}")?;
        self.input.flush()?;
        self.line()
    }

    /// Mean absolute difference to our floats, in code values.
    fn difference(&mut self, name: &str, folder: &Path, ours: &[f32]) -> Result<f64, Box<dyn Error>> {
        let path = folder.join("opencv.f32");
        self.ask(&format!("save {name} {}", path.display()))?;
        let bytes = fs::read(&path)?;
        let theirs = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let sum: f64 = theirs.zip(ours).map(|(a, b)| f64::from((a - b).abs()) * 255.0).sum();
        Ok(sum / ours.len() as f64)
    }
}

impl Drop for OpenCv {
    fn drop(&mut self) {
        // It ends by itself when its input does; killing only makes sure of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
