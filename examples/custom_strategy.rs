//! A strategy of one's own behind the Strategy seam, and a handler of one's own behind the Handler seam.
//!
//! `cargo run --release --example custom_strategy`
#![allow(clippy::print_stdout, reason = "a program that shows something prints")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dsengine::alert::{BoxFuture, DeliveryError, Handler};
use dsengine::config::{self, Request};
use dsengine::engine::Engine;
use dsengine::strategy::{Fault, Strategy, Verdict, View};
use dsengine::types::{Alert, AlertDraft, Level};

/// Raises an alert when more than `limit` objects are in the picture.
struct Crowd {
    limit: usize,
}

impl Strategy for Crowd {
    fn name(&self) -> &str {
        "crowd"
    }

    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, Fault> {
        let seen = view.frame.detections.len();
        let mut verdict = Verdict::default();
        if seen > self.limit {
            verdict.alerts.push(AlertDraft {
                rule: "crowd".to_owned(),
                level: Some(Level::High),
                key: String::new(),
                message: format!("{seen} objects at once"),
                detections: (0..seen as u32).collect(),
                tags: vec!["crowd".to_owned()],
                picture: None,
                expires_seconds: None,
            });
        }
        Ok(verdict)
    }
}

/// Prints alerts.
struct Print;

impl Handler for Print {
    fn name(&self) -> &str {
        "print"
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(async move {
            println!("{} {}: {}", alert.level, alert.rule, alert.message);
            Ok(())
        })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let loaded = config::load(&Request {
        source_uri: Some("scene:street?pixels=false".to_owned()),
        overrides: vec![("monitoring.enabled".to_owned(), "false".to_owned())],
        working_dir: Path::new(env!("CARGO_MANIFEST_DIR")).to_owned(),
        ..Request::default()
    })?;
    let mut plan = loaded.plan;
    plan.handlers.clear();
    let engine =
        Engine::builder(plan).strategy("crowd", |_source| Crowd { limit: 5 }).handler(Arc::new(Print)).start()?;
    engine.handle().wait(Duration::from_secs(60));
    let summary = engine.drain(Duration::from_secs(5));
    println!("{} frames, {} alerts delivered", summary.judged(), summary.delivered);
    Ok(())
}
