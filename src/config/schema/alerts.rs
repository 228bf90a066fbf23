//! `alerts`: which alerts are sent, and where.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::guests::{Grants, Limits};

/// Which alerts are sent, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Alerts {
    /// Raise alerts at all. Default true. Example: false.
    pub(in crate::config) enabled: bool,
    /// Duplicates of (source, rule, key) are held back this long after the last one sent. Default 60. Unit: seconds.
    /// Range 0–86400. Example: 300.
    #[schemars(range(min = 0, max = 86_400))]
    pub(in crate::config) throttle_seconds: f64,
    /// Most alerts of one (source, rule) within ten seconds. Default 3. Range 1–1000. Example: 5.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) burst_threshold: u32,
    /// Most alerts of one source in any minute. Default 10. Range 1–100000. Example: 60.
    #[schemars(range(min = 1, max = 100_000))]
    pub(in crate::config) max_alerts_per_minute: u32,
    /// Alerts whose best detection scores lower are refused. Default 0.5. Range 0–1. Example: 0.8.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) min_confidence: f64,
    /// Level of an alert whose rule names none. Default medium. Example: high.
    pub(in crate::config) level: Level,
    /// Delivery attempts per handler and alert. Default 3. Range 1–100. Example: 5.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) retry_attempts: u32,
    /// Pause between attempts. Default 1. Unit: seconds. Range 0.1–60. Example: 2.5.
    #[schemars(range(min = 0.1, max = 60))]
    pub(in crate::config) retry_delay: f64,
    /// Where alerts go: names, or names with settings. Default [console]. Example: [console, {name: file}].
    #[schemars(length(max = 64))]
    pub(in crate::config) handlers: Vec<HandlerEntry>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            enabled: true,
            throttle_seconds: 60.0,
            burst_threshold: 3,
            max_alerts_per_minute: 10,
            min_confidence: 0.5,
            level: Level::Medium,
            retry_attempts: 3,
            retry_delay: 1.0,
            handlers: vec![HandlerEntry(Handler::named("console"))],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Level {
    Low,
    Medium,
    High,
    Critical,
}

impl From<Level> for crate::types::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Low => Self::Low,
            Level::Medium => Self::Medium,
            Level::High => Self::High,
            Level::Critical => Self::Critical,
        }
    }
}

/// The kinds of handlers.
pub(in crate::config) const HANDLER_KINDS: &[&str] = &["console", "file", "webhook", "email", "slack"];

/// One handler: a bare name, or a map.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct HandlerEntry(pub(in crate::config) Handler);

/// One handler, written as a map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Handler {
    /// Its name, unique; also its kind where `type` is not set. Default none. Example: webhook.
    #[schemars(length(min = 1, max = 100))]
    pub(in crate::config) name: String,
    /// Its kind, for a second handler of one kind. Default its name. Example: webhook.
    #[serde(default, rename = "type")]
    #[schemars(extend("enum" = ["console", "file", "webhook", "email", "slack", null]))]
    pub(in crate::config) kind: Option<String>,
    /// Whether alerts go there. Default true. Example: false.
    #[serde(default = "yes")]
    pub(in crate::config) enabled: bool,
    /// Its settings. Default: see its keys. Example: {url: "${env:ALERT_WEBHOOK}"}.
    #[serde(default)]
    pub(in crate::config) config: HandlerSettings,
    /// A Lua script or a WASM component that delivers. Default none. Example: scripts/handlers/slack.lua.
    #[serde(default)]
    pub(in crate::config) module: Option<PathBuf>,
    /// The table of a script that holds its functions, where they are not globals. Default none.
    /// Example: SlackHandler.
    #[serde(default)]
    pub(in crate::config) class: Option<String>,
    /// Settings of a module, handed to it as they are; may be written as `config`. Default none.
    /// Example: {channel: "#gate"}.
    #[serde(default)]
    pub(in crate::config) settings: Map<String, Value>,
    /// What a module may use. Default: see its keys. Example: {timeout_seconds: 10}.
    #[serde(default)]
    pub(in crate::config) limits: Limits,
    /// What a module may reach. Default: see its keys. Example: {http: [hooks.slack.com]}.
    #[serde(default)]
    pub(in crate::config) grants: Grants,
}

impl Handler {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: None,
            enabled: true,
            config: HandlerSettings::default(),
            module: None,
            class: None,
            settings: Map::new(),
            limits: Limits::default(),
            grants: Grants::default(),
        }
    }
}

fn yes() -> bool {
    true
}

/// Settings of a handler. Which of them apply depends on its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct HandlerSettings {
    /// file: where alerts are written, JSON lines. Default alerts.jsonl. Example: /var/log/alerts.jsonl.
    pub(in crate::config) log_file: Option<PathBuf>,
    /// file: rotate when it would grow past this. Default 100. Unit: MB (1,000,000 bytes). Range 0.001–1000000.
    /// Example: 10.
    #[schemars(range(min = 0.001, max = 1_000_000))]
    pub(in crate::config) max_size_mb: Option<f64>,
    /// file: rotated files to keep. Default 5. Range 0–1000. Example: 3.
    #[schemars(range(min = 0, max = 1000))]
    pub(in crate::config) backup_count: Option<u32>,
    /// webhook: where alerts are posted, as JSON. Default none. Example: "${env:ALERT_WEBHOOK}".
    pub(in crate::config) url: Option<String>,
    /// webhook: longest wait for an answer. Default 30. Unit: seconds. Range 0.1–300. Example: 5.
    #[schemars(range(min = 0.1, max = 300))]
    pub(in crate::config) timeout: Option<f64>,
    /// webhook: extra headers. Default none. Example: {Authorization: "${file:/run/secrets/hook}"}.
    pub(in crate::config) headers: Option<BTreeMap<String, String>>,
    /// webhook: attempts instead of `alerts.retry_attempts`. Default none. Range 1–100. Example: 5.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) retry_attempts: Option<u32>,
    /// email: the mail server. Default none. Example: mail.example.com.
    pub(in crate::config) smtp_server: Option<String>,
    /// email: its port. Default 587. Range 1–65535. Example: 25.
    #[schemars(range(min = 1, max = 65_535))]
    pub(in crate::config) smtp_port: Option<u32>,
    /// email: user name. Default none. Example: alerts.
    pub(in crate::config) username: Option<String>,
    /// email: password. Default none. Example: "${env:SMTP_PASSWORD}".
    pub(in crate::config) password: Option<String>,
    /// email: receivers. Default none. Example: [guard@example.com].
    pub(in crate::config) to_addresses: Option<Vec<String>>,
    /// slack: the incoming webhook's address. Default none. Example: "${env:SLACK_WEBHOOK}".
    pub(in crate::config) webhook_url: Option<String>,
}

// A word or a map: written by hand, because serde's `untagged` loses the place and the reason of an error.
impl<'de> Deserialize<'de> for HandlerEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrMap;

        impl<'de> Visitor<'de> for WordOrMap {
            type Value = HandlerEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a handler's name or a map")
            }

            fn visit_str<E>(self, name: &str) -> Result<HandlerEntry, E> {
                Ok(HandlerEntry(Handler::named(name)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HandlerEntry, A::Error> {
                Handler::deserialize(MapAccessDeserializer::new(map)).map(HandlerEntry)
            }
        }

        deserializer.deserialize_any(WordOrMap)
    }
}

impl JsonSchema for HandlerEntry {
    fn schema_name() -> Cow<'static, str> {
        "HandlerEntry".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<Handler>();
        json_schema!({
            "description": "A handler's name, or a map.",
            "anyOf": [{ "type": "string", "enum": HANDLER_KINDS }, map]
        })
    }
}
