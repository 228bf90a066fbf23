//! Which drafts become alerts: duplicates, minimum confidence, default level. A pure function of the plan, the drafts
//! and frame time; the same trace gives the same alerts, byte for byte.
//!
//! One policy per lane, so it needs no lock and one source cannot silence another.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use crate::config::AlertPlan;
use crate::types::{Alert, AlertId, Frame, Raised, SourceId};

/// Most (source, rule, key) triples remembered; beyond it the one sent longest ago is forgotten, and counted.
pub const KEYS_MAX: usize = 10_000;
/// Most bytes of the texts of those triples.
pub const KEYS_BYTES_MAX: usize = 4 << 20;

/// The policy's decision on a draft.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is an alert.
    Accept(Arc<Alert>),
    /// A duplicate of one sent less than the throttle ago.
    Suppressed {
        /// How many have been held back since that one.
        count: u64,
    },
    /// Not an alert, whatever came before.
    Refused(Refusal),
}

/// Why a draft is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refusal {
    /// The best detection behind it scores below `alerts.min_confidence`.
    Confidence {
        /// The best detection's score.
        best: f32,
        /// What it would have to reach.
        min: f32,
    },
}

/// Decides on drafts, in order. Whether alerts are on at all is the gate's business.
#[derive(Debug)]
pub struct Policy {
    plan: AlertPlan,
    throttle_ns: u64,
    keys: HashMap<Arc<str>, Sent>,
    /// Keys in the order they were sent; an entry whose time is not its key's is out of date.
    order: VecDeque<(Arc<str>, u64)>,
    /// Bytes of the texts in `keys`.
    bytes: usize,
    forgotten: u64,
    scratch: String,
    ordinal: Option<(SourceId, u64, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    at_ns: u64,
    suppressed: u64,
}

impl Policy {
    /// A policy that has seen nothing.
    pub fn new(plan: &AlertPlan) -> Self {
        Self {
            plan: plan.clone(),
            throttle_ns: u64::try_from(plan.throttle.as_nanos()).unwrap_or(u64::MAX),
            keys: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            forgotten: 0,
            scratch: String::new(),
            ordinal: None,
        }
    }

    /// Takes over new settings and keeps what was sent.
    pub fn set_plan(&mut self, plan: &AlertPlan) {
        self.plan = plan.clone();
        self.throttle_ns = u64::try_from(plan.throttle.as_nanos()).unwrap_or(u64::MAX);
    }

    /// Keys forgotten because there were more than [`KEYS_MAX`], or [`KEYS_BYTES_MAX`] of them.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Decides on what a strategy raised on `frame`.
    pub fn decide(&mut self, raised: &Raised, frame: &Frame) -> Decision {
        let ordinal = self.next_ordinal(frame);
        let min = self.plan.min_confidence;
        // An alert without detections (a count, a silence) has no score to be too low.
        if let Some(best) = raised.detections.iter().map(|d| d.confidence).reduce(f32::max).filter(|best| *best < min) {
            return Decision::Refused(Refusal::Confidence { best, min });
        }
        self.write_key(&frame.source, &raised.rule, &raised.key);
        let mut suppressed = 0;
        if let Some(sent) = self.keys.get_mut(self.scratch.as_str()) {
            // Frame time before the last one sent means that the source began anew.
            if frame.pts_ns.checked_sub(sent.at_ns).is_some_and(|age| age < self.throttle_ns) {
                sent.suppressed += 1;
                return Decision::Suppressed { count: sent.suppressed };
            }
            suppressed = sent.suppressed;
        }
        self.note_sent(frame.pts_ns);
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

    /// Takes back an acceptance that the outbox did not take, so that the next of its kind is not a duplicate of
    /// something nobody received.
    pub fn unsent(&mut self, alert: &Alert) {
        self.write_key(&alert.source, &alert.rule, &alert.key);
        let Some((key, _)) = self.keys.get_key_value(self.scratch.as_str()) else { return };
        let key = key.clone();
        // A time in the future never throttles (see `decide`); the entry stays for its count.
        self.keys.insert(key.clone(), Sent { at_ns: u64::MAX, suppressed: alert.suppressed });
        self.order.push_back((key, u64::MAX));
    }

    /// Position of the draft among those of its frame.
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

    /// The triple as one text; lengths in front keep ("a", "bc") and ("ab", "c") apart.
    fn write_key(&mut self, source: &SourceId, rule: &str, key: &str) {
        use std::fmt::Write as _;
        self.scratch.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.scratch, "{}.{}.", source.as_str().len(), rule.len());
        for part in [source.as_str(), rule, key] {
            self.scratch.push_str(part);
        }
    }

    /// Remembers that the key in `scratch` was sent now, and forgets what need not be known any more.
    fn note_sent(&mut self, now_ns: u64) {
        let key: Arc<str> = match self.keys.get_key_value(self.scratch.as_str()) {
            Some((key, _)) => key.clone(),
            None => {
                self.bytes += self.scratch.len();
                self.scratch.as_str().into()
            }
        };
        self.keys.insert(key.clone(), Sent { at_ns: now_ns, suppressed: 0 });
        self.order.push_back((key, now_ns));
        while let Some((key, at_ns)) = self.order.front() {
            let current = self.keys.get(key).filter(|sent| sent.at_ns == *at_ns);
            let expired =
                current.is_some_and(|s| s.suppressed == 0 && now_ns.saturating_sub(s.at_ns) >= self.throttle_ns);
            let over = self.keys.len() > KEYS_MAX || self.bytes > KEYS_BYTES_MAX;
            if current.is_some() && !expired && !over {
                break;
            }
            if current.is_some() {
                self.forgotten += u64::from(over && !expired);
                self.keys.remove(key);
                self.bytes -= key.len();
            }
            self.order.pop_front();
        }
        // Keys that are sent again and again leave entries behind one that is not.
        if self.order.len() > 2 * KEYS_MAX {
            let keys = &self.keys;
            self.order.retain(|(key, at_ns)| keys.get(key).is_some_and(|sent| sent.at_ns == *at_ns));
        }
    }
}

fn id(frame: &Frame, raised: &Raised, ordinal: u32) -> AlertId {
    let mut digest = Sha256::new();
    for part in [frame.source.as_str(), &raised.rule, &raised.key] {
        // Lengths keep ("a", "bc") and ("ab", "c") apart; four bytes each keep the usual id within one block.
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
