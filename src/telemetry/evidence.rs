//! The series of evidence: set from its status when the page is read, since packets are too many to count one by one.

use std::collections::BTreeMap;

use prometheus::IntCounter;

use super::families::{Families, remove};
use super::metrics::Metrics;
use crate::types::SourceId;

/// The value of the label `stream` for a stream that only evidence is kept of.
const STREAM: &str = "evidence";

/// What is known of one source's evidence.
#[derive(Debug, Clone)]
pub struct EvidenceFigures {
    /// The state of its own stream; `None` where it has none.
    pub state: Option<&'static str>,
    /// Attempts to bring that stream back.
    pub reconnects: u64,
    /// Seconds that are kept.
    pub seconds: f64,
    /// Bytes that are kept.
    pub bytes: u64,
    /// Packets that were not kept, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Metrics {
    /// Sets the series of a source's evidence.
    pub fn evidence(&self, source: &SourceId, figures: &EvidenceFigures) {
        let (f, name) = (&self.families, source.as_str());
        // Two readers of the page must not raise a counter twice.
        let _one_at_a_time = self.evidence.lock();
        let raise = |counter: IntCounter, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
        f.evidence_seconds.with_label_values(&[name]).set(figures.seconds);
        f.evidence_bytes.with_label_values(&[name]).set(i64::try_from(figures.bytes).unwrap_or(i64::MAX));
        for (reason, count) in &figures.dropped {
            raise(f.evidence_dropped.with_label_values(&[name, reason]), *count);
        }
        remove(&f.stream_state, &[("source", name)]);
        let Some(state) = figures.state else { return };
        f.stream_up.with_label_values(&[name, STREAM]).set(i64::from(state == "running"));
        f.stream_state.with_label_values(&[name, STREAM, state]).set(1);
        raise(f.stream_reconnects.with_label_values(&[name, STREAM]), figures.reconnects);
    }
}

/// Removes the series of a source.
pub(super) fn unlist(f: &Families, source: &SourceId) {
    let of_it = &[("source", source.as_str())];
    remove(&f.evidence_seconds, of_it);
    remove(&f.evidence_bytes, of_it);
    remove(&f.evidence_dropped, of_it);
    remove(&f.stream_up, of_it);
    remove(&f.stream_state, of_it);
    remove(&f.stream_reconnects, of_it);
}
