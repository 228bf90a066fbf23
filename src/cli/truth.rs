//! Compares detections with a trace of the truth.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use dsengine::backend::trace::{Reader, Record};
use dsengine::engine::Observer;
use dsengine::error::Error;
use dsengine::types::{Detection, Frame, SourceId, count};
use parking_lot::Mutex;

/// IoU from which a detection matches an object: the usual threshold of precision and recall.
const IOU_MIN: f32 = 0.5;

/// Compares every detected frame with the frame in a trace that has the same `seq`, and the same source if the trace
/// has several.
pub(crate) struct Truth {
    frames: HashMap<SourceId, HashMap<u64, Vec<Detection>>>,
    score: Mutex<Score>,
}

/// Counts over all compared frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Score {
    frames: u64,
    hits: u64,
    false_alarms: u64,
    misses: u64,
}

impl Score {
    /// Share of detections that match an object; 0 without detections.
    pub(crate) fn precision(&self) -> f64 {
        ratio(self.hits, self.hits + self.false_alarms)
    }

    /// Share of objects that were detected; 0 without objects.
    pub(crate) fn recall(&self) -> f64 {
        ratio(self.hits, self.hits + self.misses)
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "truth: precision {:.3}, recall {:.3} over {} ({}, {}, {})",
            self.precision(),
            self.recall(),
            count(self.frames, "frame"),
            count(self.hits, "hit"),
            count(self.false_alarms, "false alarm"),
            count(self.misses, "miss")
        )
    }
}

impl Truth {
    /// Reads the truth.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut reader = Reader::open(path)?;
        let start_unix_ns = reader.header().start_unix_ns;
        let mut frames: HashMap<SourceId, HashMap<u64, Vec<Detection>>> = HashMap::new();
        while let Some(record) = reader.next_record()? {
            let Record { seq, ref source, .. } = record;
            frames.entry(source.clone()).or_default().insert(seq, record.into_frame(start_unix_ns).detections);
        }
        Ok(Self { frames, score: Mutex::default() })
    }

    /// The objects on a frame. A trace with one source matches any source name, since it may be played under any.
    fn objects(&self, source: &SourceId, seq: u64) -> Option<&[Detection]> {
        let only = self.frames.values().next().filter(|_| self.frames.len() == 1);
        only.or_else(|| self.frames.get(source))?.get(&seq).map(Vec::as_slice)
    }

    /// The current counts.
    pub(crate) fn score(&self) -> Score {
        *self.score.lock()
    }
}

impl Observer for Truth {
    fn detected(&self, frame: &Frame) {
        let Some(objects) = self.objects(&frame.source, frame.seq) else { return };
        let hits = matches(&frame.detections, objects);
        let mut score = self.score.lock();
        score.frames += 1;
        score.hits += hits;
        score.false_alarms += frame.detections.len() as u64 - hits;
        score.misses += objects.len() as u64 - hits;
    }
}

/// One-to-one matches of the same label, best detections first.
fn matches(found: &[Detection], objects: &[Detection]) -> u64 {
    let mut order: Vec<&Detection> = found.iter().collect();
    order.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let mut taken = vec![false; objects.len()];
    let mut hits = 0;
    for detection in order {
        let best = objects
            .iter()
            .enumerate()
            .filter(|(i, o)| !taken[*i] && o.label == detection.label)
            .map(|(i, o)| (i, o.bbox.iou(&detection.bbox)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((index, iou)) = best
            && iou > IOU_MIN
        {
            taken[index] = true;
            hits += 1;
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsengine::types::BBox;

    #[test]
    fn a_trace_of_several_sources_is_matched_by_their_names() {
        let one = |name: &str| (SourceId::from(name), HashMap::from([(0, Vec::new())]));
        let truth = |frames| Truth { frames, score: Mutex::default() };
        let alone = truth(HashMap::from([one("a")]));
        assert!(alone.objects(&"other".into(), 0).is_some() && alone.objects(&"a".into(), 1).is_none());
        let two = truth(HashMap::from([one("a"), one("b")]));
        assert!(two.objects(&"b".into(), 0).is_some() && two.objects(&"other".into(), 0).is_none());
    }

    #[test]
    fn an_object_is_hit_once_and_by_its_own_label_only() {
        let at = |label: &str, x: f32| Detection::new(label, 0, 0.9, BBox { x, y: 0.1, width: 0.2, height: 0.2 });
        let objects = [at("person", 0.1), at("car", 0.6)];
        assert_eq!(matches(&[at("person", 0.11), at("person", 0.1), at("person", 0.6)], &objects), 1);
        assert_eq!(matches(&objects, &objects), 2);
    }
}
