//! Alerts: drafts from strategies, and alerts accepted by the policy.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Detection, SourceId, Value};

/// How much an alert matters, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For the record.
    Low,
    /// Worth a look.
    #[default]
    Medium,
    /// Act soon.
    High,
    /// Act now.
    Critical,
}

impl Level {
    /// All levels, in rising order.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word used in YAML, Lua, WIT, JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Level {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|l| l.as_str() == word).ok_or(())
    }
}

/// A draft of an alert from a strategy; the policy decides whether it becomes one.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertDraft {
    /// The rule's name, chosen by the strategy.
    pub rule: String,
    /// Severity; `None` for the configured default.
    pub level: Option<Level>,
    /// Deduplication key: drafts with equal source, rule and key are duplicates.
    pub key: String,
    /// Text for users.
    pub message: String,
    /// Indices of the detections that caused it.
    pub detections: Vec<u32>,
    /// Words for filters, at most [`TAGS_MAX`].
    pub tags: Vec<String>,
    /// A JPEG to keep as the alert's picture, instead of its frame with boxes.
    pub picture: Option<Arc<[u8]>>,
    /// How long it is of use, in seconds, at most [`EXPIRES_SECONDS_MAX`]; `None` for as long as it takes.
    pub expires_seconds: Option<u32>,
}

/// A draft with copies of its detections. The policy decides whether it becomes an alert.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Raised {
    /// The rule's name.
    pub rule: String,
    /// Severity; `None` for the configured default.
    pub level: Option<Level>,
    /// Deduplication key.
    pub key: String,
    /// Text for users.
    pub message: String,
    /// The detections that caused it, as the strategy saw them, with its own edits.
    pub detections: Vec<Detection>,
    /// Words for filters, at most [`TAGS_MAX`].
    pub tags: Vec<String>,
    /// A JPEG to keep as the alert's picture, instead of its frame with boxes.
    pub picture: Option<Arc<[u8]>>,
    /// How long it is of use, in seconds, at most [`EXPIRES_SECONDS_MAX`]; `None` for as long as it takes.
    pub expires_seconds: Option<u32>,
}

/// Longest time for which an alert says that it is of use: a year.
pub const EXPIRES_SECONDS_MAX: u32 = 31_536_000;
/// Maximum tags of an alert.
pub const TAGS_MAX: usize = 16;
/// Maximum bytes of a tag.
pub const TAG_BYTES_MAX: usize = 64;

/// Adds tags that are not there yet, up to [`TAGS_MAX`].
pub fn add_tags(tags: &mut Vec<String>, more: &[String]) {
    for tag in more {
        if tags.len() < TAGS_MAX && !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
}

/// Why a text is no tag; `None` if it is one: letters, digits, `-`, `_`, `.`, `:` and `/`.
pub fn wrong_tag(tag: &str) -> Option<String> {
    let is_word = |c: char| c.is_alphanumeric() || "-_.:/".contains(c);
    if tag.is_empty() {
        Some("a tag is empty".to_owned())
    } else if tag.len() > TAG_BYTES_MAX {
        Some(format!("a tag of more than {TAG_BYTES_MAX} bytes"))
    } else if !tag.chars().all(is_word) {
        Some("a tag has letters, digits and - _ . : / only".to_owned())
    } else {
        None
    }
}

/// A strategy's statement that a condition of its own has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolve {
    /// The rule under which it was raised.
    pub rule: String,
    /// The key under which it was raised; `None` for every key.
    pub key: Option<String>,
    /// How many alerts of the same verdict were raised before it.
    pub after: usize,
}

/// Prefix of the engine's own rules; reserved, so neither strategies nor their alerts may use it.
pub const ENGINE_RULES: &str = "system.";

/// A sortable unique id: 32 hex digits, the first 12 the frame time in milliseconds, the rest a digest of source,
/// sequence, rule, key and position. The same trace gives the same ids, so a receiver can drop repeats.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct AlertId(String);

impl AlertId {
    /// Builds the id from the capture time and a digest of what makes the alert unique.
    pub fn new(captured_unix_ns: u64, digest: [u8; 10]) -> Self {
        use fmt::Write as _;
        let mut id = format!("{:012x}", (captured_unix_ns / 1_000_000) & 0xffff_ffff_ffff);
        for byte in digest {
            // Writing to a String cannot fail.
            let _ = write!(id, "{byte:02x}");
        }
        Self(id)
    }

    /// The id of this text; `None` if no alert can have it.
    pub fn parse(text: &str) -> Option<Self> {
        let is_id = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| Self(text.to_owned()))
    }

    /// The capture time in it, in milliseconds exactly; the latest that fits, of an id that nothing captured can have.
    pub(crate) fn unix_ns(&self) -> u64 {
        let millis = self.0.get(..12).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        millis.unwrap_or(0).saturating_mul(1_000_000)
    }

    /// An id as it was written.
    pub(crate) fn from_text(text: String) -> Self {
        Self(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An accepted alert, as handlers receive it and as JSON carries it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// Unique, sortable by time, constant across retries.
    pub id: AlertId,
    /// How much it matters.
    pub level: Level,
    /// The rule that raised it.
    pub rule: String,
    /// The source it was seen on.
    #[schema(value_type = String)]
    pub source: SourceId,
    /// Which alerts are the same.
    pub key: String,
    /// Capture time of the frame, RFC 3339 UTC with milliseconds.
    pub time: String,
    /// Frame time in nanoseconds.
    pub pts_ns: u64,
    /// The frame's sequence number in its source.
    pub seq: u64,
    /// What people read.
    pub message: String,
    /// The detections behind it.
    pub detections: Vec<Detection>,
    /// How many duplicates were held back since the last one that was sent.
    pub suppressed: u64,
    /// The alerts that it stands for; absent if it stands for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub digest: Option<Digest>,
    /// Words that its rule and the configuration gave it, for filters; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whether a picture is kept, of its frame or of a digest's best alert, while `alerts.pictures` says so; absent if
    /// not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub picture: bool,
    /// Where its moment is in the encoded stream that is kept of its source, from which its picture is taken then; absent
    /// if none is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub evidence: Option<InEvidence>,
    /// How many seconds it is of use, from its acceptance on: a handler that has not delivered it by then does not;
    /// absent if its rule does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub expires_seconds: Option<u32>,
}

/// A moment in the encoded stream that is kept of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InEvidence {
    /// `detect`: the stream that is analysed; `evidence`: another one of the same camera.
    pub stream: String,
    /// By how many milliseconds the moment is later in that stream than the alert's time; negative if it is earlier.
    pub offset_ms: f64,
    /// How that was measured: `sender_reports` of both streams, or `arrival`.
    pub offset_by: String,
}

/// The limit that held alerts back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HeldBy {
    /// `alerts.burst_threshold`: alerts of one rule of one source.
    Burst,
    /// `alerts.max_critical_per_minute`: critical alerts of one rule of one source.
    Critical,
    /// `alerts.max_alerts_per_minute`: alerts of all sources.
    Rate,
}

impl HeldBy {
    /// The key of the limit.
    pub fn key(self) -> &'static str {
        match self {
            Self::Burst => "alerts.burst_threshold",
            Self::Critical => "alerts.max_critical_per_minute",
            Self::Rate => "alerts.max_alerts_per_minute",
        }
    }
}

/// The alerts that one alert stands for: a limit held them back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Digest {
    /// The limit.
    pub reason: HeldBy,
    /// How many alerts.
    pub count: u64,
    /// Capture time of the first of them, RFC 3339 UTC with milliseconds.
    pub first: String,
    /// Capture time of the last of them.
    pub last: String,
    /// The ids that they would have had, in order; the first hundred.
    pub ids: Vec<AlertId>,
    /// Their keys, each once, in order; the first hundred.
    pub keys: Vec<String>,
}

impl Alert {
    /// Approximate memory usage in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let texts = [self.id.as_str(), &self.rule, self.source.as_str(), &self.key, &self.time, &self.message];
        let own = size_of::<Self>() + texts.iter().map(|text| text.len()).sum::<usize>();
        let digest = self.digest.as_ref().map_or(0, digest_bytes);
        let tags = self.tags.iter().map(|tag| size_of::<String>() + tag.len()).sum::<usize>();
        own + digest + tags + self.detections.iter().map(detection_bytes).sum::<usize>()
    }
}

#[cfg(test)]
impl Alert {
    /// An alert for tests, with this message.
    pub(crate) fn sample(message: &str) -> Self {
        Self {
            id: AlertId::new(0, [0; 10]),
            level: Level::High,
            rule: "loitering".into(),
            source: "gate".into(),
            key: "7".into(),
            time: "2026-01-01T00:00:00.000Z".into(),
            pts_ns: 0,
            seq: 0,
            message: message.into(),
            detections: Vec::new(),
            suppressed: 0,
            digest: None,
            tags: Vec::new(),
            picture: false,
            evidence: None,
            expires_seconds: None,
        }
    }
}

fn digest_bytes(digest: &Digest) -> usize {
    let names = digest.ids.iter().map(AlertId::as_str).chain(digest.keys.iter().map(String::as_str));
    digest.first.len() + digest.last.len() + names.map(|name| size_of::<String>() + name.len()).sum::<usize>()
}

fn detection_bytes(detection: &Detection) -> usize {
    let attribute = |(name, value): (&String, &Value)| {
        let text = if let Value::Text(text) = value { text.len() } else { 0 };
        size_of::<String>() + size_of::<Value>() + name.len() + text
    };
    size_of::<Detection>() + detection.attributes.iter().map(attribute).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_its_capture_time_in_milliseconds() {
        assert_eq!(AlertId::new(1_700_000_000_123_456_789, [7; 10]).unix_ns(), 1_700_000_000_123_000_000);
        let latest = AlertId::parse(&"f".repeat(32)).expect("an id as somebody may ask for it");
        assert_eq!(latest.unix_ns(), u64::MAX);
    }
}
