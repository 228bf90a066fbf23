//! What an embedder, a test or a recorder may see of a lane.

use std::sync::Arc;

use crate::types::{Alert, Frame};

/// Sees what an engine does, from its lanes' threads: tests, recorders, embedders. Must be quick.
pub trait Observer: Send + Sync {
    /// A frame after detection and tracking, before the rules: what a trace holds.
    fn detected(&self, _frame: &Frame) {}
    /// A frame after all rules.
    fn judged(&self, _judged: &Judged<'_>) {}
    /// An accepted alert: from its lane's thread, or from the alert journal's where there is one.
    fn alert(&self, _alert: &Alert) {}
}

/// A frame that every rule has seen.
pub struct Judged<'a> {
    /// The frame with the rules' changes.
    pub frame: &'a Frame,
    /// Each rule's name and the generation that judged this frame.
    pub generations: &'a [(Arc<str>, u64)],
    /// From its arrival in the engine to the start of its judgement.
    pub waited_ns: u64,
    /// The judgement itself: tracker, zones, rules, policy.
    pub lane_ns: u64,
}
