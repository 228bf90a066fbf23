//! The results of running a case.

use std::collections::BTreeMap;

use dsengine::strategy::{Edit, Fault, Verdict};
use dsengine::types::{Detection, Level, Resolve};
use serde_json::{Value, json};

use super::script::Outcome;

/// Everything that a case produced, ready for comparison: numbers in decimal notation, indices as the plugin gave them.
#[derive(Debug, Default)]
pub(super) struct Actual {
    pub(super) alerts: Vec<Value>,
    pub(super) resolved: Vec<Value>,
    /// Kept indices of every judged frame.
    pub(super) kept: BTreeMap<u64, Vec<u32>>,
    /// Frames of which the plugin did not keep all detections.
    pub(super) cut: Vec<u64>,
    pub(super) added: BTreeMap<u64, Vec<Value>>,
    pub(super) edits: BTreeMap<u64, Vec<Value>>,
    pub(super) faults: Vec<Value>,
    pub(super) state: BTreeMap<String, Value>,
    pub(super) shared_state: BTreeMap<String, Value>,
    pub(super) requests: Vec<Value>,
    pub(super) outcome: Vec<Outcome>,
    /// Failures regardless of the expectations: a request without an answer, an answer without a request.
    pub(super) broken: Vec<String>,
}

impl Actual {
    /// Records a frame's applied verdict.
    pub(super) fn verdict(&mut self, seq: u64, seen: usize, verdict: &Verdict) {
        let Verdict { keep, edits, added, alerts, resolved } = verdict;
        let all = || (0..u32::try_from(seen).unwrap_or(u32::MAX)).collect();
        let mut kept: Vec<u32> = keep.clone().unwrap_or_else(all);
        kept.sort_unstable();
        kept.dedup();
        if kept.len() < seen {
            self.cut.push(seq);
        }
        self.kept.insert(seq, kept);
        self.edits.insert(seq, edits.iter().map(edit).collect());
        self.added.insert(seq, added.iter().map(detection).collect());
        for alert in alerts {
            let mut value = json!({
                "seq": seq,
                "rule": alert.rule,
                "level": alert.level.unwrap_or(Level::default()),
                "key": alert.key,
                "message": alert.message,
                "detections": alert.detections,
            });
            if !alert.tags.is_empty() {
                value["tags"] = json!(alert.tags);
            }
            self.alerts.push(value);
        }
        for Resolve { rule, key, .. } in resolved {
            let mut value = json!({ "seq": seq, "rule": rule });
            if let Some(key) = key {
                value["key"] = json!(key);
            }
            self.resolved.push(value);
        }
    }

    /// Records a fault; removes `dir` from the message, so that it is the same anywhere.
    pub(super) fn fault(&mut self, seq: u64, fault: &Fault, dir: &str) {
        self.failed(seq, fault.kind.as_str(), &fault.message, dir);
    }

    /// Records a failure of any kind.
    pub(super) fn failed(&mut self, seq: u64, kind: &str, message: &str, dir: &str) {
        let message = message.replace(&format!("{dir}/"), "");
        self.faults.push(json!({ "seq": seq, "kind": kind, "message": message }));
    }
}

fn edit(edit: &Edit) -> Value {
    let mut value = json!({ "index": edit.index });
    if let Some(label) = &edit.label {
        value["label"] = json!(label);
    }
    if let Some(confidence) = edit.confidence {
        value["confidence"] = number(confidence);
    }
    if !edit.attributes.is_empty() {
        value["attributes"] = json!(edit.attributes);
    }
    value
}

fn detection(detection: &Detection) -> Value {
    let b = detection.bbox;
    let bbox = [b.x, b.y, b.width, b.height].map(number);
    json!({
        "label": &*detection.label,
        "confidence": number(detection.confidence),
        "bbox": bbox,
    })
}

/// A number in decimal notation: 0.9, and not the 0.899999976 of a conversion to f64.
fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}
