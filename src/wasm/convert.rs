//! Converts between the engine's values and the contract's, with bounds: a guest's output is truncated, counted or
//! rejected here before it takes effect.

use crate::guest::Limits;
use crate::strategy::{Edit, Verdict};
use crate::types::{Alert, AlertDraft, Attributes, BBox, Detection, Frame, Level, Value};

use super::bindings::dsengine::plugin::types as wit;

/// Maximum length of a label from a guest: labels go into alerts, traces and metrics.
const LABEL_BYTES_MAX: usize = 256;

pub(super) fn to_bbox(b: BBox) -> wit::Bbox {
    wit::Bbox { x: b.x, y: b.y, width: b.width, height: b.height }
}

pub(super) fn from_bbox(b: wit::Bbox) -> BBox {
    BBox { x: b.x, y: b.y, width: b.width, height: b.height }
}

/// The usual maximum of distinct labels in a frame.
const LABELS_USUAL: usize = 8;

/// Attributes of detections, in a form that can be passed to a guest by reference.
pub(super) struct LentAttributes<'a>(Vec<Vec<wit::AttributeParam<'a>>>);

impl<'a> LentAttributes<'a> {
    /// The attributes of these detections; empty if none has any.
    pub(super) fn of<'d: 'a>(detections: impl Iterator<Item = &'d Detection> + Clone) -> Self {
        if detections.clone().all(|d| d.attributes.is_empty()) {
            return Self(Vec::new());
        }
        Self(detections.map(|d| attributes(&d.attributes)).collect())
    }

    /// The detections as passed to a guest.
    pub(super) fn detections<'d: 'a>(
        &'a self,
        detections: impl Iterator<Item = &'d Detection>,
    ) -> Vec<wit::DetectionParam<'a>> {
        let of = |index: usize| self.0.get(index).map_or(&[][..], Vec::as_slice);
        detections.enumerate().map(|(index, d)| to_detection(d, of(index))).collect()
    }
}

/// One frame's detections in the flat form of `judge`'s parameters.
pub(super) struct Flat<'a> {
    /// The distinct labels.
    pub(super) labels: Vec<&'a str>,
    pub(super) seen: Vec<wit::Seen>,
}

impl<'a> Flat<'a> {
    /// Converts these detections; reuses the buffer of an earlier call.
    pub(super) fn of(detections: impl Iterator<Item = &'a Detection>, mut seen: Vec<wit::Seen>) -> Self {
        seen.clear();
        let mut labels: Vec<&'a str> = Vec::with_capacity(LABELS_USUAL);
        seen.extend(detections.map(|d| wit::Seen {
            label: number(&mut labels, &d.label),
            class_id: d.class_id,
            confidence: d.confidence,
            bbox: to_bbox(d.bbox),
            track_id: d.track_id,
        }));
        Self { labels, seen }
    }
}

/// The index of a label in the list; adds it if new.
fn number<'a>(labels: &mut Vec<&'a str>, label: &'a str) -> u32 {
    // Labels of one detector share their texts, so that comparing addresses usually suffices; texts are compared
    // second.
    let met = labels.iter().position(|l| std::ptr::eq(*l, label)).or_else(|| labels.iter().position(|l| *l == label));
    met.unwrap_or_else(|| {
        labels.push(label);
        labels.len() - 1
    }) as u32
}

fn attributes(attributes: &Attributes) -> Vec<wit::AttributeParam<'_>> {
    attributes.iter().map(lend).collect()
}

/// An attribute as passed to the guest by value.
pub(super) fn attribute((name, value): (&String, &Value)) -> wit::AttributeResult {
    let value = match value {
        Value::Boolean(b) => wit::ValueResult::Boolean(*b),
        Value::Number(n) => wit::ValueResult::Number(*n),
        Value::Text(text) => wit::ValueResult::Text(text.clone()),
    };
    wit::AttributeResult { name: name.clone(), value }
}

fn lend<'a>((name, value): (&'a String, &'a Value)) -> wit::AttributeParam<'a> {
    let value = match value {
        Value::Boolean(b) => wit::ValueParam::Boolean(*b),
        Value::Number(n) => wit::ValueParam::Number(*n),
        Value::Text(text) => wit::ValueParam::Text(text),
    };
    wit::AttributeParam { name, value }
}

fn to_detection<'a>(d: &'a Detection, attributes: &'a [wit::AttributeParam<'a>]) -> wit::DetectionParam<'a> {
    wit::DetectionParam {
        label: &d.label,
        class_id: d.class_id,
        confidence: d.confidence,
        bbox: to_bbox(d.bbox),
        track_id: d.track_id,
        attributes,
    }
}

pub(super) fn to_frame(frame: &Frame) -> wit::Frame<'_> {
    wit::Frame {
        source: frame.source.as_str(),
        seq: frame.seq,
        pts_ns: frame.pts_ns,
        captured_unix_ns: frame.captured_unix_ns,
        width: frame.width,
        height: frame.height,
    }
}

pub(super) fn to_alert<'a>(alert: &'a Alert, detections: &'a [wit::DetectionParam<'a>]) -> wit::Alert<'a> {
    wit::Alert {
        id: alert.id.as_str(),
        level: match alert.level {
            Level::Low => wit::Level::Low,
            Level::Medium => wit::Level::Medium,
            Level::High => wit::Level::High,
            Level::Critical => wit::Level::Critical,
        },
        rule: &alert.rule,
        source: alert.source.as_str(),
        key: &alert.key,
        time: &alert.time,
        pts_ns: alert.pts_ns,
        seq: alert.seq,
        message: &alert.message,
        detections,
        suppressed: alert.suppressed,
    }
}

/// Counts of what was truncated or dropped from a verdict.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trimmed {
    pub(super) alerts_dropped: u64,
    pub(super) messages_cut: u64,
}

/// The detections of a frame that a guest was shown: all, or those with these indices.
pub(super) struct Shown<'a> {
    pub(super) count: usize,
    pub(super) only: Option<&'a [u32]>,
}

impl Shown<'_> {
    fn len(&self) -> usize {
        self.only.map_or(self.count, <[u32]>::len)
    }

    /// Maps the guest's `index` to the frame's own index.
    fn own(&self, what: &str, index: u32) -> Result<u32, String> {
        let len = self.len();
        match self.only {
            None if (index as usize) < len => Some(index),
            None => None,
            Some(only) => only.get(index as usize).copied(),
        }
        .ok_or_else(|| format!("the verdict {what} detection {index} of {len} (counted from 0)"))
    }

    /// The frame's indices to keep: the guest's, and all that it was not shown.
    fn kept(&self, keep: &[u32]) -> Result<Vec<u32>, String> {
        let mut kept: Vec<u32> = keep.iter().map(|i| self.own("keeps", *i)).collect::<Result<_, _>>()?;
        if let Some(only) = self.only {
            kept.extend((0..self.count as u32).filter(|index| only.binary_search(index).is_err()));
        }
        kept.sort_unstable();
        kept.dedup();
        Ok(kept)
    }
}

/// Converts a guest's verdict to the engine's, with the frame's own indices, and validates it.
///
/// # Errors
/// Describes what is invalid.
pub(super) fn verdict(
    raw: wit::Verdict,
    shown: &Shown<'_>,
    limits: &Limits,
    trimmed: &mut Trimmed,
) -> Result<Verdict, String> {
    let wit::Verdict { keep, edits, added, alerts } = raw;
    let keep = keep.map(|keep| shown.kept(&keep)).transpose()?;
    if edits.len() > 4 * shown.count {
        return Err("the verdict makes more than four edits per detection".into());
    }
    if added.len() > limits.added_per_call {
        return Err(format!("the verdict adds {} detections, the limit is {}", added.len(), limits.added_per_call));
    }
    let edits = edits.into_iter().map(|edit| {
        let index = shown.own("edits", edit.index)?;
        edit.label.as_deref().map_or(Ok(()), label)?;
        edit.confidence.map_or(Ok(()), confidence)?;
        Ok(Edit { index, label: edit.label, confidence: edit.confidence, ..Edit::default() })
    });
    let edits = edits.collect::<Result<_, String>>()?;
    let added = added.into_iter().map(detection).collect::<Result<_, String>>()?;
    trimmed.alerts_dropped += alerts.len().saturating_sub(limits.alerts_per_call) as u64;
    let alerts = alerts.into_iter().take(limits.alerts_per_call);
    let alerts = alerts.map(|alert| draft(alert, shown, limits, trimmed)).collect::<Result<_, String>>()?;
    Ok(Verdict { keep, edits, added, alerts, resolved: Vec::new() })
}

fn draft(
    raw: wit::AlertDraft,
    shown: &Shown<'_>,
    limits: &Limits,
    trimmed: &mut Trimmed,
) -> Result<AlertDraft, String> {
    let wit::AlertDraft { rule, level, key, message, detections } = raw;
    if rule.is_empty() {
        return Err("the verdict raises an alert without a rule".into());
    }
    let mut text = |mut text: String| {
        if text.len() > limits.message_bytes {
            text.truncate(text.floor_char_boundary(limits.message_bytes));
            text.push('…');
            text.shrink_to_fit();
            trimmed.messages_cut += 1;
        }
        text
    };
    let (rule, key, message) = (text(rule), text(key), text(message));
    let level = level.map(|level| match level {
        wit::Level::Low => Level::Low,
        wit::Level::Medium => Level::Medium,
        wit::Level::High => Level::High,
        wit::Level::Critical => Level::Critical,
    });
    let mut behind: Vec<u32> =
        detections.iter().map(|i| shown.own("raises an alert on", *i)).collect::<Result<_, _>>()?;
    // Duplicate detections count once.
    if behind.len() > shown.count {
        behind.sort_unstable();
        behind.dedup();
    }
    let (tags, picture, expires_seconds) = (Vec::new(), None, None);
    Ok(AlertDraft { rule, level, key, message, detections: behind, tags, picture, expires_seconds })
}

fn detection(raw: wit::DetectionResult) -> Result<Detection, String> {
    label(&raw.label)?;
    confidence(raw.confidence)?;
    let bbox = from_bbox(raw.bbox);
    if bbox.clamped().is_none() {
        let BBox { x, y, width, height } = bbox;
        return Err(format!(
            "the verdict adds a '{}' with the box x {x}, y {y}, width {width}, height {height}, of which nothing is in the picture (0..1)",
            raw.label
        ));
    }
    if raw.attributes.len() > ATTRIBUTES_MAX {
        return Err(format!("the verdict adds a '{}' with more than {ATTRIBUTES_MAX} attributes", raw.label));
    }
    let mut attributes = Attributes::new();
    for wit::AttributeResult { name, value } in raw.attributes {
        label(&name)?;
        let value = match value {
            wit::ValueResult::Boolean(b) => Value::Boolean(b),
            wit::ValueResult::Number(n) if n.is_finite() => Value::Number(n),
            wit::ValueResult::Number(n) => {
                return Err(format!("the verdict gives the attribute '{name}' the value {n}"));
            }
            wit::ValueResult::Text(text) => {
                label_length(&text)?;
                Value::Text(text)
            }
        };
        attributes.insert(name, value);
    }
    let mut added = Detection::new(raw.label, raw.class_id, raw.confidence, bbox);
    added.attributes = attributes;
    Ok(added)
}

/// Maximum attributes of an added detection.
const ATTRIBUTES_MAX: usize = 32;

fn label(label: &str) -> Result<(), String> {
    if label.is_empty() { Err("the verdict gives an empty label".into()) } else { label_length(label) }
}

fn label_length(text: &str) -> Result<(), String> {
    match text.len() > LABEL_BYTES_MAX {
        true => Err(format!("the verdict gives a label of more than {LABEL_BYTES_MAX} bytes")),
        false => Ok(()),
    }
}

fn confidence(confidence: f32) -> Result<(), String> {
    match (0.0..=1.0).contains(&confidence) {
        true => Ok(()),
        false => Err(format!("the verdict gives the confidence {confidence}, which is not within 0..1")),
    }
}
