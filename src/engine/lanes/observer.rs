//! The interface through which an embedder, a test or a recorder observes a lane.

use std::sync::Arc;

use crate::types::{Alert, Frame, Turns};

/// Observes an engine from its lanes' threads: for tests, recorders, embedders. Calls must be quick.
pub trait Observer: Send + Sync {
    /// A frame after detection and tracking, before the rules, as a trace stores it.
    fn detected(&self, _frame: &Frame) {}
    /// The same frame, once its alerts were decided on; when that was, if the alerts of a site are decided on in order
    /// of arrival.
    fn decided(&self, _frame: &Frame, _turns: Option<&Turns>) {}
    /// A frame after all rules.
    fn judged(&self, _judged: &Judged<'_>) {}
    /// An accepted alert; called from its lane's thread, or from the journal's thread if there is an alert journal.
    fn alert(&self, _alert: &Alert) {}
}

/// A frame that every rule has seen.
pub struct Judged<'a> {
    /// The frame with the rules' changes.
    pub frame: &'a Frame,
    /// Each rule's name and the generation that judged this frame.
    pub generations: &'a [(Arc<str>, u64)],
    /// Time from its arrival in the engine to the start of its judgement.
    pub waited_ns: u64,
    /// Duration of the judgement: tracker, zones, rules, policy.
    pub lane_ns: u64,
}
