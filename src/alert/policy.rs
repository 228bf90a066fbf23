//! Decides which drafts become alerts: duplicates, minimum confidence, default level. A pure function of plan, drafts
//! and frame time; the same trace yields the same alerts, byte for byte.
//!
//! A condition raises one alert, and stays active while it is raised again soon enough. There is one policy per lane,
//! so it needs no lock, and one source cannot suppress another's alerts.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::conditions::Conditions;
pub use super::conditions::{KEYS_BYTES_MAX, KEYS_MAX};
use crate::config::AlertPlan;
use crate::types::{Alert, AlertId, Frame, Raised, SourceId};

/// The policy's decision on a draft.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It becomes an alert.
    Accept(Arc<Alert>),
    /// A duplicate: its condition is still active.
    Suppressed {
        /// Number suppressed since the last alert.
        count: u64,
    },
    /// Not an alert, regardless of its condition.
    Refused(Refusal),
}

/// Why a draft is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refusal {
    /// Its best detection scores below `alerts.min_confidence`.
    Confidence {
        /// The best detection's score.
        best: f32,
        /// The minimum.
        min: f32,
    },
}

/// Decides on drafts, in order. The gate checks whether alerts are enabled.
#[derive(Debug)]
pub struct Policy {
    plan: AlertPlan,
    conditions: Conditions,
    scratch: String,
    ordinal: Option<(SourceId, u64, u32)>,
}

impl Policy {
    /// Creates a policy without any conditions.
    pub fn new(plan: &AlertPlan) -> Self {
        Self { plan: plan.clone(), conditions: Conditions::new(plan.throttle), scratch: String::new(), ordinal: None }
    }

    /// Applies new settings and keeps the conditions.
    pub fn set_plan(&mut self, plan: &AlertPlan) {
        self.plan = plan.clone();
        self.conditions.set_throttle(plan.throttle);
    }

    /// Conditions evicted while active, because there were more than [`KEYS_MAX`], or [`KEYS_BYTES_MAX`] of them.
    pub fn forgotten(&self) -> u64 {
        self.conditions.forgotten()
    }

    /// Decides on a draft that a strategy raised on `frame`.
    pub fn decide(&mut self, raised: &Raised, frame: &Frame) -> Decision {
        let ordinal = self.next_ordinal(frame);
        self.write_key(&frame.source, &raised.rule, &raised.key);
        let min = self.plan.min_confidence;
        // An alert without detections (a count, a silence) has no score to check.
        if let Some(best) = raised.detections.iter().map(|d| d.confidence).reduce(f32::max).filter(|best| *best < min) {
            // Too weak for a new alert, but it extends an active condition.
            self.conditions.renew(&self.scratch, frame.pts_ns);
            return Decision::Refused(Refusal::Confidence { best, min });
        }
        if let Some(count) = self.conditions.again(&self.scratch, frame.pts_ns) {
            return Decision::Suppressed { count };
        }
        let suppressed = self.conditions.begin(&self.scratch, frame.pts_ns);
        Decision::Accept(Arc::new(Alert {
            id: id(frame, raised, ordinal),
            level: raised.level.unwrap_or(self.plan.default_level),
            rule: raised.rule.clone(),
            source: frame.source.clone(),
            key: raised.key.clone(),
            time: rfc3339(frame.captured_unix_ns),
            pts_ns: frame.pts_ns,
            seq: frame.seq,
            message: raised.message.clone(),
            detections: raised.detections.clone(),
            suppressed,
        }))
    }

    /// Undoes an acceptance that the outbox refused, so that the next draft is not suppressed as a duplicate.
    pub fn unsent(&mut self, alert: &Alert) {
        self.write_key(&alert.source, &alert.rule, &alert.key);
        self.conditions.take_back(&self.scratch, alert.suppressed);
    }

    /// Index of the draft among those of its frame.
    fn next_ordinal(&mut self, frame: &Frame) -> u32 {
        match &mut self.ordinal {
            Some((source, seq, ordinal)) if *seq == frame.seq && *source == frame.source => {
                *ordinal += 1;
                *ordinal
            }
            other => {
                *other = Some((frame.source.clone(), frame.seq, 0));
                0
            }
        }
    }

    /// Writes the triple as one string; length prefixes keep ("a", "bc") and ("ab", "c") apart.
    fn write_key(&mut self, source: &SourceId, rule: &str, key: &str) {
        use std::fmt::Write as _;
        self.scratch.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.scratch, "{}.{}.", source.as_str().len(), rule.len());
        for part in [source.as_str(), rule, key] {
            self.scratch.push_str(part);
        }
    }
}

fn id(frame: &Frame, raised: &Raised, ordinal: u32) -> AlertId {
    let mut digest = Sha256::new();
    for part in [frame.source.as_str(), &raised.rule, &raised.key] {
        // Length prefixes keep ("a", "bc") and ("ab", "c") apart; four bytes each keep the usual input within one SHA
        // block.
        digest.update((part.len() as u32).to_le_bytes());
        digest.update(part);
    }
    digest.update(frame.seq.to_le_bytes());
    digest.update(ordinal.to_le_bytes());
    let full = digest.finalize();
    let mut short = [0; 10];
    short.copy_from_slice(&full[..10]);
    AlertId::new(frame.captured_unix_ns, short)
}

fn rfc3339(unix_ns: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(unix_ns)).to_string()
}

#[cfg(test)]
pub(crate) mod tests;
