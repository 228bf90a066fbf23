//! Two engines in one process: each with its own plan, sources and observer; nothing is shared.
//!
//! `cargo run --release --example embed`
#![allow(clippy::print_stdout, reason = "a program that shows something prints")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsengine::config::{self, Request};
use dsengine::engine::{Engine, Judged, Observer};

/// Counts judged frames.
#[derive(Default)]
struct Count(AtomicU64);

impl Observer for Count {
    fn judged(&self, _judged: &Judged<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn start(source: &str) -> Result<(Engine, Arc<Count>), Box<dyn std::error::Error>> {
    let loaded = config::load(&Request {
        source_uri: Some(source.to_owned()),
        overrides: vec![("monitoring.enabled".to_owned(), "false".to_owned())],
        working_dir: Path::new(env!("CARGO_MANIFEST_DIR")).to_owned(),
        ..Request::default()
    })?;
    let count = Arc::new(Count::default());
    let engine = Engine::builder(loaded.plan).observer(Arc::clone(&count) as Arc<dyn Observer>).start()?;
    Ok((engine, count))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (first, first_count) = start("test:pattern=ball,frames=60")?;
    let (second, second_count) = start("scene:street?pixels=false")?;
    for engine in [&first, &second] {
        engine.handle().wait(Duration::from_secs(60));
    }
    for (engine, count) in [(first, first_count), (second, second_count)] {
        let summary = engine.drain(Duration::from_secs(5));
        let source = &summary.sources[0];
        println!("{}: {} judged, {} observed", source.source, source.judged, count.0.load(Ordering::Relaxed));
    }
    Ok(())
}
