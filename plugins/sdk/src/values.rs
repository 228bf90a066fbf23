//! Ways to make the contract's values.

use crate::*;

impl Error {
    /// An error: a short word for programs, and a sentence for people.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

impl Default for Verdict {
    /// Leaves everything as it was.
    fn default() -> Self {
        Self { keep: None, edits: Vec::new(), added: Vec::new(), alerts: Vec::new() }
    }
}

impl Verdict {
    /// Raises alerts and leaves the detections as they were.
    pub fn alerts(alerts: impl IntoIterator<Item = AlertDraft>) -> Self {
        Self { alerts: alerts.into_iter().collect(), ..Self::default() }
    }
}

impl AlertDraft {
    /// An alert under a rule's name, of the configured level, with the rule as key and message.
    pub fn new(rule: impl Into<String>) -> Self {
        let rule = rule.into();
        Self { level: None, key: rule.clone(), message: rule.clone(), detections: Vec::new(), rule }
    }

    /// How much it matters.
    pub fn level(self, level: Level) -> Self {
        Self { level: Some(level), ..self }
    }

    /// Which alerts are the same.
    pub fn key(self, key: impl ToString) -> Self {
        Self { key: key.to_string(), ..self }
    }

    /// What people read.
    pub fn message(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// Indices of the detections behind it.
    pub fn about(self, detections: impl IntoIterator<Item = usize>) -> Self {
        Self { detections: detections.into_iter().map(|i| i as u32).collect(), ..self }
    }
}

/// A text as JSON, with its quotes.
pub fn json_text(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c < ' ' => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

/// A detection as [`Strategy::judge`] sees it: the fields of [`types::Detection`], which is one that stands alone. For
/// its attributes ask [`detections::attributes`].
#[derive(Clone, Copy)]
pub struct Detection<'a> {
    pub label: &'a str,
    pub class_id: u32,
    pub confidence: f32,
    pub bbox: Bbox,
    pub track_id: Option<u64>,
}

#[doc(hidden)]
pub fn shown<'a>(labels: &'a [String], seen: &[types::Seen]) -> Vec<Detection<'a>> {
    let shown = |d: &types::Seen| {
        let types::Seen { label, class_id, confidence, bbox, track_id } = *d;
        Detection { label: &labels[label as usize], class_id, confidence, bbox, track_id }
    };
    seen.iter().map(shown).collect()
}
