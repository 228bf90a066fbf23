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

/// What the policy says of a raised.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `alerts.enabled` is false.
    Disabled,
    /// The best detection behind it scores below `alerts.min_confidence`.
    Confidence,
}

/// Decides on drafts, in order.
#[derive(Debug)]
pub struct Policy {
    plan: AlertPlan,
    throttle_ns: u64,
    keys: HashMap<Arc<str>, Sent>,
    /// Keys in the order they were sent; an entry whose time is not its key's is out of date.
    order: VecDeque<(Arc<str>, u64)>,
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
            forgotten: 0,
            scratch: String::new(),
            ordinal: None,
        }
    }

    /// Takes over new settings and keeps what was sent.
    pub fn apply(&mut self, plan: &AlertPlan) {
        self.plan = plan.clone();
        self.throttle_ns = u64::try_from(plan.throttle.as_nanos()).unwrap_or(u64::MAX);
    }

    /// Keys forgotten because there were more than [`KEYS_MAX`].
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Decides on what a strategy raised on `frame`.
    pub fn decide(&mut self, raised: &Raised, frame: &Frame) -> Decision {
        let ordinal = self.next_ordinal(frame);
        if !self.plan.enabled {
            return Decision::Refused(Refusal::Disabled);
        }
        let best = raised.detections.iter().map(|d| d.confidence).reduce(f32::max);
        // An alert without detections (a count, a silence) has no score to be too low.
        if best.is_some_and(|best| best < self.plan.min_confidence) {
            return Decision::Refused(Refusal::Confidence);
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

    /// Takes back an acceptance that the store did not take, so that the next of its kind is not a duplicate of
    /// something nobody received.
    pub fn unsent(&mut self, alert: &Alert) {
        self.write_key(&alert.source, &alert.rule, &alert.key);
        if let Some(sent) = self.keys.get_mut(self.scratch.as_str()) {
            // A time in the future never throttles (see `decide`); the entry stays for its count.
            *sent = Sent { at_ns: u64::MAX, suppressed: alert.suppressed };
            let key: Arc<str> = self.scratch.as_str().into();
            self.order.push_back((key, u64::MAX));
        }
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
            None => self.scratch.as_str().into(),
        };
        self.keys.insert(key.clone(), Sent { at_ns: now_ns, suppressed: 0 });
        self.order.push_back((key, now_ns));
        while let Some((key, at_ns)) = self.order.front() {
            let current = self.keys.get(key).filter(|sent| sent.at_ns == *at_ns);
            let expired =
                current.is_some_and(|s| s.suppressed == 0 && now_ns.saturating_sub(s.at_ns) >= self.throttle_ns);
            let over = self.keys.len() > KEYS_MAX;
            if current.is_some() && !expired && !over {
                break;
            }
            if current.is_some() {
                self.forgotten += u64::from(over && !expired);
                self.keys.remove(key);
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
pub(crate) mod tests {
    use super::*;
    use crate::types::{BBox, Detection, Level};

    pub(crate) fn plan() -> AlertPlan {
        AlertPlan {
            enabled: true,
            throttle: Duration::from_secs(60),
            burst_threshold: 3,
            max_per_minute: 10,
            min_confidence: 0.5,
            default_level: Level::Medium,
            attempts: 3,
            retry_delay: Duration::from_millis(1),
            outbox_max: 1_000,
        }
    }

    pub(crate) fn draft(rule: &str, key: &str) -> Raised {
        Raised {
            rule: rule.into(),
            level: None,
            key: key.into(),
            message: format!("{rule} by {key}"),
            detections: vec![],
        }
    }

    pub(crate) fn frame(source: &str, seq: u64, second: f64) -> Frame {
        Frame {
            source: source.into(),
            seq,
            pts_ns: (second * 1e9) as u64,
            captured_unix_ns: 1_700_000_000_000_000_000 + (second * 1e9) as u64,
            arrived_ns: 0,
            width: 640,
            height: 360,
            detections: vec![],
            tracked: false,
            picture: None,
        }
    }

    fn on(raised: &Raised, detections: Vec<Detection>) -> Raised {
        Raised { detections, ..raised.clone() }
    }

    fn seen(confidence: f32) -> Vec<Detection> {
        vec![Detection::new("person", 0, confidence, BBox { x: 0.1, y: 0.1, width: 0.1, height: 0.2 })]
    }

    fn accepted(decision: Decision) -> Arc<Alert> {
        match decision {
            Decision::Accept(alert) => alert,
            other => panic!("not accepted: {other:?}"),
        }
    }

    #[test]
    fn the_first_passes_duplicates_wait_and_the_next_says_how_many() {
        let mut policy = Policy::new(&plan());
        let d = draft("loitering", "7");
        assert_eq!(accepted(policy.decide(&d, &frame("a", 0, 0.0))).suppressed, 0);
        for i in 1..60 {
            assert_eq!(policy.decide(&d, &frame("a", i, i as f64)), Decision::Suppressed { count: i });
        }
        let next = accepted(policy.decide(&d, &frame("a", 60, 60.0)));
        assert_eq!(next.suppressed, 59);
        assert_eq!(policy.decide(&d, &frame("a", 61, 61.0)), Decision::Suppressed { count: 1 });
    }

    #[test]
    fn another_source_rule_or_key_is_no_duplicate() {
        let mut policy = Policy::new(&plan());
        for (source, rule, key) in
            [("a", "r", "1"), ("b", "r", "1"), ("a", "s", "1"), ("a", "r", "2"), ("ar", "", "1"), ("a", "r1", "")]
        {
            accepted(policy.decide(&draft(rule, key), &frame(source, 0, 0.0)));
        }
    }

    #[test]
    fn the_best_detection_behind_it_must_reach_the_minimum() {
        let mut policy = Policy::new(&plan());
        let mut d = draft("r", "1");
        let refused = Decision::Refused(Refusal::Confidence);
        assert_eq!(policy.decide(&on(&d, seen(0.49)), &frame("a", 0, 0.0)), refused);
        let alert = accepted(policy.decide(&on(&d, seen(0.51)), &frame("a", 1, 0.0)));
        assert_eq!(alert.detections, seen(0.51));
        // Without a detection behind it there is no score to be too low.
        d.key = "2".into();
        accepted(policy.decide(&d, &frame("a", 2, 0.0)));
    }

    #[test]
    fn a_refused_draft_does_not_throttle_a_good_one() {
        let mut policy = Policy::new(&plan());
        let d = draft("r", "1");
        policy.decide(&on(&d, seen(0.1)), &frame("a", 0, 0.0));
        accepted(policy.decide(&on(&d, seen(0.9)), &frame("a", 1, 0.1)));
    }

    #[test]
    fn an_acceptance_that_nobody_stored_does_not_throttle() {
        let mut policy = Policy::new(&plan());
        let d = draft("r", "1");
        accepted(policy.decide(&d, &frame("a", 0, 0.0)));
        policy.decide(&d, &frame("a", 1, 1.0));
        let lost = accepted(policy.decide(&d, &frame("a", 2, 61.0)));
        assert_eq!(lost.suppressed, 1);
        policy.unsent(&lost);
        let next = accepted(policy.decide(&d, &frame("a", 3, 62.0)));
        assert_eq!(next.suppressed, 1, "the count is not lost with it");
        assert_eq!(policy.decide(&d, &frame("a", 4, 63.0)), Decision::Suppressed { count: 1 });
    }

    #[test]
    fn level_time_and_id_are_those_of_the_frame() {
        let mut policy = Policy::new(&plan());
        let alert = accepted(policy.decide(&draft("r", "1"), &frame("a", 5, 1.5)));
        assert_eq!((alert.level, alert.time.as_str()), (Level::Medium, "2023-11-14T22:13:21.500Z"));
        assert_eq!((alert.seq, alert.pts_ns), (5, 1_500_000_000));
        let later = accepted(policy.decide(&draft("r", "2"), &frame("a", 6, 2.5)));
        assert!(alert.id < later.id, "ids sort by time");
        assert_eq!(alert.id.as_str().len(), 32);
        let mut twice = draft("r", "3");
        twice.level = Some(Level::Critical);
        let mut unthrottled = Policy::new(&AlertPlan { throttle: Duration::ZERO, ..plan() });
        let f = frame("a", 6, 2.5);
        let (one, two) = (unthrottled.decide(&twice, &f), unthrottled.decide(&twice, &f));
        let (one, two) = (accepted(one), accepted(two));
        assert_ne!(one.id, two.id, "two equal drafts of one frame are two alerts");
        assert_eq!(one.level, Level::Critical);
    }

    #[test]
    fn raised_is_accepted_plus_suppressed_plus_refused_and_nothing_grows_without_bound() {
        for seed in 0..20 {
            fastrand::seed(seed);
            let throttle = Duration::from_millis(fastrand::u64(0..3_000));
            let mut policy = Policy::new(&AlertPlan { throttle, ..plan() });
            let mut twin = Policy::new(&AlertPlan { throttle, ..plan() });
            let (mut accepted, mut suppressed, mut refused, mut carried) = (0u64, 0u64, 0u64, 0u64);
            let raised = 20_000;
            for seq in 0..raised {
                let mut d = draft(["r", "s"][fastrand::usize(..2)], &fastrand::u32(..40_000).to_string());
                if fastrand::bool() {
                    d.key = "same".into();
                }
                let (seen, frame) = (seen(fastrand::f32()), frame("a", seq, seq as f64 * 0.01));
                let decision = policy.decide(&on(&d, seen.clone()), &frame);
                assert_eq!(decision, twin.decide(&on(&d, seen.clone()), &frame), "deterministic");
                match decision {
                    Decision::Accept(alert) => {
                        accepted += 1;
                        carried += alert.suppressed;
                    }
                    Decision::Suppressed { .. } => suppressed += 1,
                    Decision::Refused(_) => refused += 1,
                }
                assert!(policy.keys.len() <= KEYS_MAX && policy.order.len() <= 2 * KEYS_MAX);
            }
            assert_eq!(raised, accepted + suppressed + refused);
            let waiting: u64 = policy.keys.values().map(|s| s.suppressed).sum();
            assert_eq!(policy.forgotten, 0);
            assert_eq!(suppressed, carried + waiting, "every held-back one is told of, or waits to be");
        }
    }

    #[test]
    fn keys_beyond_the_bound_are_forgotten_oldest_first_and_counted() {
        let mut policy = Policy::new(&plan());
        for i in 0..KEYS_MAX as u64 + 100 {
            accepted(policy.decide(&draft("r", &i.to_string()), &frame("a", i, 0.0)));
        }
        assert_eq!((policy.forgotten(), policy.keys.len()), (100, KEYS_MAX));
        accepted(policy.decide(&draft("r", "0"), &frame("a", 1, 0.0)));
        let newest = (KEYS_MAX + 99).to_string();
        assert!(matches!(policy.decide(&draft("r", &newest), &frame("a", 1, 0.0)), Decision::Suppressed { .. }));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "this test measures")]
    fn a_million_decisions_take_about_a_second_at_most() {
        let mut policy = Policy::new(&plan());
        let drafts: Vec<_> = (0..1_000).map(|i| draft("loitering", &i.to_string())).collect();
        let frames: Vec<_> = (0..1_000).map(|i| frame("gate", i, i as f64 / 30.0)).collect();
        let start = std::time::Instant::now();
        let mut accepted = 0;
        for f in &frames {
            for d in &drafts {
                accepted += u64::from(matches!(policy.decide(d, f), Decision::Accept(_)));
            }
        }
        let took = start.elapsed();
        println!("policy: 1e6 decisions, {accepted} accepted, in {took:?}");
        assert_eq!(accepted, 1_000);
        // Generous: this also runs unoptimised and beside other tests; the bench has the figure.
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}
