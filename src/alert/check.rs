//! Conformance checks for handlers and journals, for embedders' tests.
//!
//! Each returns the first violation as a sentence, and builds fresh instances as needed.

mod handler;
mod journal;

pub use handler::check_handler;
pub use journal::check_journal;

use std::sync::Arc;

use crate::types::{Alert, AlertId, Level};

/// An alert as a lane raises it, with this number and message.
pub(crate) fn alert(number: u64, message: &str) -> Arc<Alert> {
    let mut digest = [0; 10];
    digest[..8].copy_from_slice(&number.to_be_bytes());
    Arc::new(Alert {
        id: AlertId::new(1_700_000_000_000_000_000 + number * 1_000_000, digest),
        level: Level::Medium,
        rule: "loitering".into(),
        source: "gate".into(),
        key: number.to_string(),
        time: "2023-11-14T22:13:20.000Z".into(),
        pts_ns: number * 1_000_000,
        seq: number,
        message: message.into(),
        detections: Vec::new(),
        suppressed: 0,
        digest: None,
        tags: Vec::new(),
        picture: false,
        evidence: None,
        expires_seconds: None,
    })
}

/// Fails the check unless `kept`.
fn rule(kept: bool, what: &str) -> Result<(), String> {
    if kept { Ok(()) } else { Err(what.to_owned()) }
}
