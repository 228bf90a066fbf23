//! Pictures of alerts from evidence: joins what a backend keeps with what an alert's picture is made of.

use std::sync::Arc;
use std::time::Duration;

use crate::alert::Stills;
use crate::backend::evidence::Evidence;
use crate::types::{InEvidence, Picture};

/// A picture further from the moment of the alert than this shows something else.
const FAR_NS_MAX: u64 = 1_000_000_000;

/// See the module.
pub(super) struct FromEvidence(pub(super) Arc<dyn Evidence>);

impl Stills for FromEvidence {
    fn mark(&self) -> InEvidence {
        let (offset, stream) = (self.0.offset(), self.0.stream());
        // To a tenth of a millisecond: it is measured no better.
        let offset_ms = (offset.ns() as f64 / 1e5).round() / 10.0;
        InEvidence { stream: stream.to_owned(), offset_ms, offset_by: offset.by().to_owned() }
    }

    fn still(&self, at_ns: u64, wait: Duration) -> Option<Picture> {
        let at_ns = self.0.offset().apply(at_ns);
        let still = self.0.picture(at_ns, wait).ok()?;
        (still.at_ns.abs_diff(at_ns) <= FAR_NS_MAX).then_some(still.picture)
    }
}
