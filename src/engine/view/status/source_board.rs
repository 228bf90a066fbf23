//! What a source's board and its evidence add to its status: score, breaker, last error, history, what is kept.

use serde::Serialize;
use utoipa::ToSchema;

use super::parts::SourceStatus;
use crate::backend::evidence::{Evidence, EvidenceStatus};
use crate::engine::view::score::word;
use crate::engine::view::source::{Fault, SourceBoard, Transition};
use crate::telemetry::{EvidenceFigures, Metrics};
use crate::types::rfc3339;

/// A failed attempt of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SourceError {
    /// When: RFC 3339, UTC.
    pub time: String,
    /// Why, secrets redacted.
    pub error: String,
    /// `transient` (it passes by itself), `permanent` (the peer refuses: 401, 403, 404, a codec without decoder) or
    /// `configuration` (the peer does not fit the settings).
    pub class: &'static str,
}

/// A change of a source's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StateChange {
    /// When: RFC 3339, UTC.
    pub time: String,
    /// The state that it entered.
    pub state: &'static str,
    /// Why, where an attempt had failed; secrets redacted.
    pub reason: Option<String>,
}

impl SourceStatus {
    /// Adds what its board has, and its score.
    #[must_use]
    pub(in crate::engine) fn with_board(self, board: &SourceBoard, score: Option<f64>) -> Self {
        let last_error = board.last_fault().map(|Fault { reason: error, class, unix_ms, .. }| SourceError {
            time: rfc3339(unix_ms),
            error,
            class,
        });
        let change = |Transition { unix_ms, state, reason }: Transition| StateChange {
            time: rfc3339(unix_ms),
            state: state.as_str(),
            reason,
        };
        Self {
            stream: board.stream(),
            breaker: board.breaker().as_str(),
            health_score: score,
            health: score.map(word),
            last_error,
            history: board.history().into_iter().map(change).collect(),
            ..self
        }
    }

    /// Adds what is kept of its encoded stream.
    #[must_use]
    pub fn with_evidence(self, evidence: Option<&dyn Evidence>) -> Self {
        Self { evidence: evidence.map(Evidence::status), ..self }
    }

    /// Why nothing new is kept of its encoded stream, as a sentence.
    pub(super) fn evidence_problem(&self) -> Option<String> {
        let evidence = self.evidence.as_ref()?;
        let (error, id) = (evidence.error.as_ref()?, &self.id);
        Some(match evidence.state {
            Some(state) => format!("the evidence stream of source {id} is {state}: {error}"),
            None => format!("no evidence of source {id} is kept: {error}"),
        })
    }

    /// Sets the metrics of what is kept.
    pub(in crate::engine) fn export_evidence(&self, metrics: &Metrics) {
        let Some(evidence) = &self.evidence else { return };
        let EvidenceStatus { state, reconnects, seconds, bytes, dropped, .. } = evidence.clone();
        let figures = EvidenceFigures { state, reconnects, seconds, bytes, dropped };
        metrics.evidence(&self.id.as_str().into(), &figures);
    }
}
