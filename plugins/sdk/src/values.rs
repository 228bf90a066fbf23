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
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out + "\""
}

#[doc(hidden)]
pub fn ready<T>(plugin: &mut Option<T>) -> &mut T {
    plugin.as_mut().expect("the engine calls init first")
}
