//! The smallest program with an engine in it, as README shows it.
//!
//! `cargo run --release --example smallest`
#![allow(clippy::print_stdout, reason = "a program that shows something prints")]

use std::time::Duration;

use dsengine::config::{self, Request};
use dsengine::engine::Engine;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source_uri = Some("scene:street?pixels=false".to_owned());
    let plan = config::load(&Request { source_uri, ..Request::default() })?.plan;
    let engine = Engine::builder(plan).start()?;
    engine.handle().wait(Duration::from_secs(60));
    println!("{} frames judged", engine.drain(Duration::from_secs(5)).judged());
    Ok(())
}
