//! The YAML format of a case in `tests/NAME.yaml`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use dsengine::config::LimitPlan;
use dsengine::types::{Digest, Level};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A case as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    /// Its display name; by default its file's name.
    pub(super) name: Option<String>,
    /// The plugin's settings.
    #[serde(default = "empty")]
    pub(super) config: Value,
    /// The source's zones, corners as `[x, y]`.
    #[serde(default)]
    pub(super) zones: BTreeMap<String, Vec<[f32; 2]>>,
    /// Its grants; by default everything that it requests.
    pub(super) grants: Option<Granted>,
    #[serde(default)]
    pub(super) limits: LimitPlan,
    /// The table that contains a script's functions.
    pub(super) class: Option<String>,
    #[serde(default = "source")]
    pub(super) source: String,
    /// The zone of local times; by default the recording's, else UTC.
    pub(super) timezone: Option<String>,
    /// When frame time 0 of written frames is captured, RFC 3339; by default 1970.
    pub(super) start: Option<String>,
    pub(super) frames: Option<FileOr<Vec<FrameSpec>>>,
    #[serde(default)]
    pub(super) reload_at: OneOrMany<u64>,
    pub(super) alert: Option<AlertSpec>,
    pub(super) alerts: Option<Vec<AlertSpec>>,
    #[serde(default)]
    pub(super) http: Vec<Answer>,
    pub(super) expect: Option<FileOr<Expect>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Granted {
    pub(super) http: Vec<String>,
    pub(super) shared_state: bool,
    pub(super) pixels: bool,
    pub(super) env: Vec<String>,
    pub(super) files: Vec<PathBuf>,
    pub(super) secrets: BTreeMap<String, String>,
}

/// A frame of a case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrameSpec {
    pub(super) seq: Option<u64>,
    pub(super) pts_ns: Option<u64>,
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
    #[serde(default)]
    pub(super) detections: Vec<SeenSpec>,
}

/// A detection of a case: the box is `[x, y, width, height]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeenSpec {
    pub(super) label: String,
    #[serde(default)]
    pub(super) class_id: u32,
    #[serde(default = "certain")]
    pub(super) confidence: f32,
    pub(super) bbox: [f32; 4],
    pub(super) track_id: Option<u64>,
}

/// An alert of a case; missing fields get defaults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AlertSpec {
    pub(super) id: Option<String>,
    pub(super) level: Option<Level>,
    pub(super) rule: Option<String>,
    pub(super) source: Option<String>,
    pub(super) key: String,
    pub(super) time: Option<String>,
    pub(super) pts_ns: u64,
    pub(super) seq: u64,
    pub(super) message: String,
    pub(super) detections: Vec<SeenSpec>,
    pub(super) suppressed: u64,
    pub(super) digest: Option<Digest>,
    pub(super) tags: Vec<String>,
}

/// A scripted answer to a request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    /// The method to answer; any if absent.
    pub(super) method: Option<String>,
    pub(super) url: String,
    #[serde(default = "ok")]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// Text; a list or a map is sent as JSON.
    #[serde(default)]
    pub(super) body: Value,
    /// Instead of an answer: `timeout`, or why the peer cannot be reached.
    pub(super) error: Option<String>,
}

/// The expectations; what is not listed is not compared.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Expect {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alerts: Option<Vec<AlertWant>>,
    /// The conditions that it said have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resolved: Option<Vec<ResolvedWant>>,
    /// By frame: indices of the kept detections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kept: Option<BTreeMap<u64, Vec<u32>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) added: Option<BTreeMap<u64, Vec<AddedWant>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) edits: Option<BTreeMap<u64, Vec<EditWant>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) faults: Option<Vec<FaultWant>>,
    /// The host's state at the end; `null` if a key must be absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<BTreeMap<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shared_state: Option<BTreeMap<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requests: Option<Vec<RequestWant>>,
    /// Per alert: `delivered`, `skipped`, `retry` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<OneOrMany<Outcome>>,
    /// The plugin must not load, and the reason must contain this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AlertWant {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detections: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ResolvedWant {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AddedWant {
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bbox: Option<[f64; 4]>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct EditWant {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
    /// By name; `null` for one that is taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<BTreeMap<String, Value>>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FaultWant {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// A part of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    contains: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RequestWant {
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Headers that must be among those sent; names in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) headers: Option<BTreeMap<String, String>>,
    /// Text; a list or a map is compared with the JSON that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
}

/// The outcome of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// Delivered.
    Delivered,
    /// Settled without a request.
    Skipped,
    /// To be retried.
    Retry,
    /// Given up.
    Failed,
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

fn source() -> String {
    "test".to_owned()
}

fn certain() -> f32 {
    1.0
}

fn ok() -> u16 {
    200
}

/// A file's name, or its contents inline.
#[derive(Debug, Clone)]
pub(super) enum FileOr<T> {
    File(PathBuf),
    Inline(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FileOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = FileOr<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file's name, or its contents")
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(FileOr::File(name.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                T::deserialize(SeqAccessDeserializer::new(items)).map(FileOr::Inline)
            }
            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(FileOr::Inline)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Which<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Which<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value, or a list of them")
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::U64Deserializer::new(value)).map(|value| OneOrMany(vec![value]))
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::I64Deserializer::new(value)).map(|value| OneOrMany(vec![value]))
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::StrDeserializer::new(value)).map(|value| OneOrMany(vec![value]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(OneOrMany)
            }
        }
        deserializer.deserialize_any(Which(PhantomData))
    }
}

impl Script {
    /// Whether the case is for a handler.
    pub(super) fn is_handlers(&self) -> bool {
        self.frames.is_none()
    }

    /// The expected reason for which the plugin must not load.
    pub(super) fn expect_refusal(&self) -> Option<&str> {
        match &self.expect {
            Some(FileOr::Inline(expect)) => expect.refused.as_deref(),
            _ => None,
        }
    }
}
