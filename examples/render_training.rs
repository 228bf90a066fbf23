//! Writes rendered pictures with labels for the training of our own model.
//!
//! ```text
//! cargo run --release --example render_training -- DIR train 6000 [seed]     random scenes that training sees
//! cargo run --release --example render_training -- DIR heldout 800 [seed]    random scenes that it never sees
//! cargo run --release --example render_training -- DIR scene street          every frame of one scene
//! ```
#![allow(clippy::print_stderr, reason = "an example's own output")]

use std::path::PathBuf;
use std::process::ExitCode;

use dsengine::scene::{Domain, Scene, export_scene, export_training};

/// Input of the model: width and height.
const SIZE: (u32, u32) = (320, 192);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |word: Option<&&str>, default: u64| word.map_or(Some(default), |w| w.parse().ok());
    let done = match words.as_slice() {
        [dir, "scene", name] => Scene::load(name).and_then(|scene| export_scene(&PathBuf::from(dir), &scene, SIZE)),
        [dir, domain @ ("train" | "heldout"), rest @ ..] if rest.len() <= 2 => {
            let domain = if *domain == "train" { Domain::Train } else { Domain::HeldOut };
            let (Some(count), Some(seed)) = (number(rest.first(), 1000), number(rest.get(1), 1)) else {
                eprintln!("count and seed are numbers");
                return ExitCode::from(2);
            };
            export_training(&PathBuf::from(dir), domain, count, SIZE, seed)
        }
        _ => {
            eprintln!("usage: render_training DIR train|heldout [COUNT] [SEED] | DIR scene NAME");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
