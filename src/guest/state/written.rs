//! A space as text, for a later process.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Entry, Kept, Space, size};

/// The form that is written.
const SCHEMA: u32 = 1;
/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;

#[derive(Serialize, Deserialize)]
struct Written {
    schema: u32,
    /// The version of the guest that wrote last.
    version: Arc<str>,
    saved_unix_ms: u64,
    /// What the instance handed over, base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    handed: String,
    values: BTreeMap<String, WrittenEntry>,
}

#[derive(Serialize, Deserialize)]
struct WrittenEntry {
    #[serde(flatten)]
    value: WrittenValue,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_unix_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenValue {
    Json(Value),
    /// Base64.
    Bytes(String),
}

/// The head of a written space, for a decision about one that nothing has asked for.
#[derive(Deserialize)]
struct Head {
    saved_unix_ms: u64,
}

/// When a space was written, in Unix milliseconds; 0 if it cannot be read.
pub(super) fn saved_unix_ms(text: &str) -> u64 {
    serde_json::from_str::<Head>(text).map_or(0, |head| head.saved_unix_ms)
}

impl Space {
    /// Its text; expiries become capture time.
    pub(super) fn to_text(&self, now_unix_ms: u64) -> String {
        let until = |key: &str, entry: &Entry| {
            let on_frame_time = |end: u64| end.checked_add_signed(self.offset_ns?);
            let until_ns = self.restored.get(key).copied().or_else(|| entry.expires_ns.and_then(on_frame_time));
            until_ns.map(|ns| ns.div_ceil(MS))
        };
        let written = |(key, entry): (&String, &Entry)| {
            let value = match &entry.value {
                Kept::Json(value) => WrittenValue::Json(value.clone()),
                Kept::Bytes(bytes) => WrittenValue::Bytes(STANDARD.encode(bytes)),
            };
            (key.clone(), WrittenEntry { value, until_unix_ms: until(key, entry) })
        };
        let written = Written {
            schema: SCHEMA,
            version: Arc::clone(&self.version),
            saved_unix_ms: now_unix_ms,
            handed: STANDARD.encode(&self.handed),
            values: self.entries.iter().map(written).collect(),
        };
        // Maps with text as keys always have a form.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// A space from its text.
    pub(super) fn from_text(text: &str) -> Result<Self, String> {
        let written: Written = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if written.schema != SCHEMA {
            return Err(format!("it is written in form {}, and this program reads form {SCHEMA}", written.schema));
        }
        let bytes = |text: &str| STANDARD.decode(text).map_err(|e| e.to_string());
        let handed = bytes(&written.handed)?;
        let mut space = Self { version: written.version, handed, is_left: true, ..Self::default() };
        for (key, WrittenEntry { value, until_unix_ms }) in written.values {
            let value = match value {
                WrittenValue::Json(value) => Kept::Json(value),
                WrittenValue::Bytes(text) => Kept::Bytes(bytes(&text)?.into()),
            };
            space.bytes += size(&key, &value);
            if let Some(ms) = until_unix_ms {
                space.restored.insert(key.clone(), ms.saturating_mul(MS));
            }
            space.entries.insert(key, Entry { value, expires_ns: None });
        }
        Ok(space)
    }
}
