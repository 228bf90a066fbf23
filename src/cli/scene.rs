//! `dsengine scene render`: renders a scripted scene as an H.264 file, optionally with its truth.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dsengine::backend::trace::{FORMAT, Header, Writer};
use dsengine::error::Error;
use dsengine::gst::Mp4Writer;
use dsengine::scene::Scene;
use dsengine::types::{Frame, Picture, SourceId, count};

use super::exit::{Exit, failed, refused};
use super::files::{apart, create, io};
use super::progress::Progress;
use super::signals::Stop;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Render a scene into FILE.mp4
    Render {
        /// The file to write
        #[arg(value_name = "FILE.mp4")]
        file: PathBuf,
        /// The scene: a shipped name or a YAML file
        #[arg(long, value_name = "NAME", default_value = "street")]
        scene: String,
        /// Another seed than the scene's own
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
        /// Also write the exact truth, as a trace
        #[arg(long, value_name = "OUT.jsonl")]
        truth: Option<PathBuf>,
        /// Render black pictures instead: what a covered camera delivers
        #[arg(long)]
        black: bool,
    },
    /// List the shipped scenes
    List,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Exit {
    match &args.command {
        Command::List => {
            for name in Scene::shipped() {
                println!("{name}");
            }
            Exit::Fine
        }
        Command::Render { file, scene, seed, truth, black } => {
            let job = match Job::open(file, scene, *seed, truth.as_deref(), *black) {
                Ok(job) => job,
                Err(error) => return refused(&error),
            };
            match job.run(stop) {
                Ok(frames) => {
                    println!("{} of {scene} in {}", count(frames, "frame"), file.display());
                    Exit::Fine
                }
                Err(error) => failed(&error),
            }
        }
    }
}

/// A rendering with its open outputs.
struct Job {
    name: SourceId,
    scene: Scene,
    movie: Mp4Writer,
    truth: Option<(PathBuf, Writer<BufWriter<File>>)>,
    black: bool,
}

impl Job {
    fn open(file: &Path, name: &str, seed: Option<u64>, truth: Option<&Path>, black: bool) -> Result<Self, Error> {
        let mut scene = Scene::load(name)?;
        if let Some(seed) = seed {
            scene = scene.with_seed(seed);
        }
        let outputs: Vec<&Path> = std::iter::once(file).chain(truth).collect();
        let script = Some(Path::new(name)).filter(|_| !Scene::shipped().any(|shipped| shipped == name));
        apart(&outputs, script.as_slice())?;
        // The encoder would report a failure only while it runs, or at its end.
        create(file)?;
        let truth = truth.map(|path| -> Result<_, Error> {
            let header = Header {
                format: FORMAT,
                dsengine: env!("CARGO_PKG_VERSION").to_owned(),
                config_hash: String::new(),
                start_unix_ns: 0,
                timezone: None,
            };
            let writer = Writer::new(BufWriter::new(create(path)?), &header).map_err(|e| io(path, &e))?;
            Ok((path.to_owned(), writer))
        });
        let truth = truth.transpose()?;
        let movie = Mp4Writer::create(file, scene.fps())?;
        Ok(Self { name: SourceId::from(name), scene, movie, truth, black })
    }

    /// Renders until the scene's end or a signal; returns the number of frames.
    fn run(self, stop: &Stop) -> Result<u64, Error> {
        let Self { name, scene, mut movie, mut truth, black } = self;
        let (width, height) = scene.size();
        stop.graceful();
        let mut progress = Progress::start();
        let mut written = 0;
        for index in 0..scene.frames() {
            if stop.asked() {
                break;
            }
            let picture = if black { black_like(&scene.frame(index).0) } else { scene.frame(index).0 };
            let pts_ns = scene.pts_ns(index);
            movie.write(&picture, pts_ns)?;
            if let Some((path, truth)) = &mut truth {
                let frame = Frame {
                    pts_ns,
                    captured_unix_ns: pts_ns,
                    width,
                    height,
                    detections: if black { Vec::new() } else { scene.detections(index) },
                    tracked: true,
                    ..Frame::empty(name.clone(), index)
                };
                truth.write(&frame).map_err(|e| io(path, &e))?;
            }
            written += 1;
            progress.show(format!("{written} of {} frames rendered", scene.frames()));
        }
        drop(progress);
        movie.finish(Duration::from_secs(20))?;
        if let Some((path, truth)) = truth {
            truth.finish().map_err(|e| io(&path, &e))?;
        }
        Ok(written)
    }
}

/// The picture of a covered lens, with the size and colorimetry of `picture`.
fn black_like(picture: &Picture) -> Picture {
    let plane = |index: usize, value: u8| {
        let (bytes, rows) = picture.plane_size(index);
        vec![value; bytes * rows]
    };
    let planes = [plane(0, 16), plane(1, 128), plane(2, 128)];
    Picture::from_i420(picture.width, picture.height, picture.colorimetry, planes).unwrap_or_else(|| picture.clone())
}
