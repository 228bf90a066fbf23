//! What an engine in this process judged: every frame, by which rules, in which order.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dsengine::engine::{Judged, Observer};

const LIMIT: Duration = Duration::from_secs(20);

/// The rules that judged a frame, with their generations, and what they said.
pub(super) type Rules = (Vec<(String, u64)>, Vec<String>);

/// A judged frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) seq: u64,
    pub(super) rules: Rules,
}

/// See the module.
#[derive(Default)]
pub(super) struct Frames {
    seen: Mutex<BTreeMap<String, Vec<Seen>>>,
    changed: Condvar,
}

impl Observer for Frames {
    fn judged(&self, judged: &Judged<'_>) {
        let rules = judged.generations.iter().map(|(name, generation)| (name.to_string(), *generation)).collect();
        let labels = judged.frame.detections.iter().map(|detection| detection.label.to_string());
        let marks = labels.filter(|label| label.contains('=')).collect();
        let seen = Seen { seq: judged.frame.seq, rules: (rules, marks) };
        self.seen.lock().unwrap().entry(judged.frame.source.to_string()).or_default().push(seen);
        self.changed.notify_all();
    }
}

impl Frames {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// How many frames of a source were judged.
    pub(super) fn count(&self, source: &str) -> usize {
        self.seen.lock().unwrap().get(source).map_or(0, Vec::len)
    }

    /// Waits until so many more frames of each of these sources are judged.
    #[track_caller]
    pub(super) fn more(&self, sources: &[&str], more: usize) {
        let seen = self.seen.lock().unwrap();
        let count = |seen: &BTreeMap<String, Vec<Seen>>, source: &str| seen.get(source).map_or(0, Vec::len);
        let wanted: Vec<usize> = sources.iter().map(|source| count(&seen, source) + more).collect();
        let short = |seen: &mut BTreeMap<String, Vec<Seen>>| {
            sources.iter().zip(&wanted).any(|(source, wanted)| count(seen, source) < *wanted)
        };
        let (seen, out) = self.changed.wait_timeout_while(seen, LIMIT, short).unwrap();
        let counts: Vec<usize> = sources.iter().map(|source| count(&seen, source)).collect();
        assert!(!out.timed_out(), "frames of {sources:?}: {counts:?}, wanted {wanted:?}");
    }

    /// The frames of a source from the `from`-th on.
    pub(super) fn since(&self, source: &str, from: usize) -> Vec<Seen> {
        self.seen.lock().unwrap().get(source).map(|all| all[from..].to_vec()).unwrap_or_default()
    }

    /// The rules of the newest frame of a source.
    pub(super) fn last(&self, source: &str) -> Rules {
        self.seen.lock().unwrap()[source].last().unwrap().rules.clone()
    }
}
