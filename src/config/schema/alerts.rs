//! `alerts`: which alerts are sent, and where.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::hours::{OneOrMany, QuietEntry};
use super::outbox::Outbox;
use super::overrides::RuleAlerts;
use super::pictures::Pictures;
use crate::config::kinds::handlers::{self, HandlerSettings, Module};
use crate::config::kinds::shape::{Shape, read, union, written};

/// Which alerts are sent, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Alerts {
    /// Raise alerts at all. Default true. Example: false.
    pub(in crate::config) enabled: bool,
    /// An alert of (source, rule, key) is told once, and again only after it was not raised for this long, at least 2
    /// seconds; 0 takes nothing for a duplicate. A level, label or zone that it did not have is told at once. Default
    /// 60. Unit: seconds. Range 0–86400. Example: 300.
    #[schemars(range(min = 0, max = 86_400))]
    pub(in crate::config) throttle_seconds: f64,
    /// An alert that is still raised is sent again after this long; 0 sends it once. Default 0. Unit: seconds. Range
    /// 0–86400. Example: 3600.
    #[schemars(range(min = 0, max = 86_400))]
    pub(in crate::config) repeat_seconds: f64,
    /// Most alerts of one (source, rule) in any `burst_window_seconds`; the others become one digest. 0 is no limit.
    /// Critical alerts have a limit of their own. Default 3. Range 0–1000. Example: 5.
    #[schemars(range(min = 0, max = 1000))]
    pub(in crate::config) burst_threshold: u32,
    /// The time that `burst_threshold` counts in, after which a digest is sent. Default 10. Unit: seconds. Range 1–3600.
    /// Example: 30.
    #[schemars(range(min = 1, max = 3600))]
    pub(in crate::config) burst_window_seconds: f64,
    /// Most alerts of all sources together in any 60 seconds, critical ones excluded; each source has an equal share,
    /// and the others become digests. 0 is no limit. Default 10. Range 0–100000. Example: 60.
    #[schemars(range(min = 0, max = 100_000))]
    pub(in crate::config) max_alerts_per_minute: u32,
    /// Most critical alerts of one (source, rule) in any 60 seconds; the others become one digest. 0 is no limit.
    /// Default 60. Range 0–100000. Example: 20.
    #[schemars(range(min = 0, max = 100_000))]
    pub(in crate::config) max_critical_per_minute: u32,
    /// Alerts whose best detection scores lower are refused. Default 0.5. Range 0–1. Example: 0.8.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) min_confidence: f64,
    /// Level of an alert whose rule names none. Default medium. Example: high.
    pub(in crate::config) level: Level,
    /// Hours in `timezone` in which only the gravest alerts are sent, by the capture time of their frames: hours, or a list
    /// of them. The others count as suppressed. Default none.
    /// Example: {from: "22:00", to: "06:00"}.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub(in crate::config) quiet_hours: OneOrMany<QuietEntry>,
    /// A live source that delivers nothing for this long is lost: one alert of `system.source_lost` names all sources
    /// that are lost together, and `system.source_back` says when they are back; 0 raises neither. Default 30. Unit:
    /// seconds. Range 0–86400. Example: 120.
    #[schemars(range(min = 0, max = 86_400))]
    pub(in crate::config) source_lost_seconds: f64,
    /// The policy of single rules, by the names under which they raise alerts. What a source's `alerts` say prevails.
    /// Default none. Example: {loitering: {throttle_seconds: 600, level: high}}.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(in crate::config) rules: BTreeMap<String, RuleAlerts>,
    /// Attempts per handler and alert after answers that look permanent (a wrong address, a refused body); then it is a
    /// dead letter. Default 3. Range 1–100. Example: 5.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) retry_attempts: u32,
    /// Pause after such an answer, and first bound of the pause after a temporary failure: that is a random part of a bound
    /// that doubles each time. Default 1. Unit: seconds. Range 0.1–60. Example: 2.5.
    #[schemars(range(min = 0.1, max = 60))]
    pub(in crate::config) retry_delay: f64,
    /// Longest pause after temporary failures. Default 60. Unit: seconds. Range 0.1–3600. Example: 300.
    #[schemars(range(min = 0.1, max = 3600))]
    pub(in crate::config) max_retry_delay: f64,
    /// Age at which an alert expires that no temporary failure of a receiver has let through; 0: such failures count as
    /// permanent ones. Default 86400. Unit: seconds. Range 0–2592000. Example: 3600.
    #[schemars(range(min = 0, max = 2_592_000))]
    pub(in crate::config) max_age_seconds: f64,
    /// Most alerts that wait for one handler. Default 10000. Range 1–1000000. Example: 100000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) max_queued: u32,
    /// What a handler's full queue gives up for a new alert: `drop_lowest_level`, the oldest one of the lowest level, which
    /// may be the new one; `drop_oldest`, the oldest one; `block`, none: a source that ends waits for room. One that is
    /// live never waits, and its alerts count as with `drop_lowest_level`. Default drop_lowest_level.
    /// Example: drop_oldest.
    pub(in crate::config) when_full: Overflow,
    /// What is kept of accepted alerts. Default: see its keys. Example: {durability: memory}.
    pub(in crate::config) outbox: Outbox,
    /// What is kept of the frames that raise alerts. Default: see its keys. Example: {keep_days: 7}.
    pub(in crate::config) pictures: Pictures,
    /// Where alerts go: names, or names with settings. Default [console]. Example: [console, {name: file}].
    #[schemars(length(max = 64))]
    pub(in crate::config) handlers: Vec<HandlerEntry>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            enabled: true,
            throttle_seconds: 60.0,
            repeat_seconds: 0.0,
            burst_threshold: 3,
            burst_window_seconds: 10.0,
            max_alerts_per_minute: 10,
            max_critical_per_minute: 60,
            min_confidence: 0.5,
            level: Level::Medium,
            quiet_hours: OneOrMany::default(),
            source_lost_seconds: 30.0,
            rules: BTreeMap::new(),
            retry_attempts: 3,
            retry_delay: 1.0,
            max_retry_delay: 60.0,
            max_age_seconds: 86_400.0,
            max_queued: 10_000,
            when_full: Overflow::DropLowestLevel,
            outbox: Outbox::default(),
            pictures: Pictures::default(),
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

/// One handler: a bare name, or a map.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct HandlerEntry(pub(in crate::config) Handler);

/// One handler, written as a map: what every handler has, and what a module has.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::config) struct Handler {
    pub(in crate::config) head: HandlerHead,
    pub(in crate::config) module: Module,
}

/// What every handler has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(in crate::config) struct HandlerHead {
    /// Its name, unique; also its kind where `type` is not set. Default none. Example: webhook.
    #[schemars(length(min = 1, max = 100))]
    pub(in crate::config) name: String,
    /// Its kind, for a second handler of one kind. Default its name. Example: webhook.
    #[serde(default, rename = "type")]
    #[schemars(extend("enum" = words_or_nothing()))]
    pub(in crate::config) kind: Option<String>,
    /// Whether alerts go there. Default true. Example: false.
    #[serde(default = "yes")]
    pub(in crate::config) enabled: bool,
    /// Its settings. Default: see its keys. Example: {url: "${env:ALERT_WEBHOOK}"}.
    #[serde(default)]
    pub(in crate::config) config: HandlerSettings,
    /// Which alerts go there. Default all. Example: {min_level: high, sources: ["gate*"]}.
    #[serde(default, rename = "where")]
    pub(in crate::config) filter: Where,
    /// Age at which its alerts expire, instead of `alerts.max_age_seconds`. Default none. Unit: seconds. Range 0–2592000.
    /// Example: 600.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub(in crate::config) max_age_seconds: Option<f64>,
}

/// Which alerts go to a handler: those that pass every key. In a name, `*` is any text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Where {
    /// The lowest level that goes there. Default low. Example: high.
    pub(in crate::config) min_level: Level,
    /// Only alerts of these sources; `engine` is the engine itself. Default all. Example: [gate, "yard-*"].
    #[schemars(length(max = 1024))]
    pub(in crate::config) sources: Vec<String>,
    /// No alerts of these sources. Default none. Example: ["test-*"].
    #[schemars(length(max = 1024))]
    pub(in crate::config) not_sources: Vec<String>,
    /// Only alerts of these rules. Default all. Example: [intrusion, "line-*"].
    #[schemars(length(max = 1024))]
    pub(in crate::config) rules: Vec<String>,
    /// No alerts of these rules. Default none. Example: ["system.*"].
    #[schemars(length(max = 1024))]
    pub(in crate::config) not_rules: Vec<String>,
    /// Only alerts with one of these tags. Default all. Example: [night, "dock-*"].
    #[schemars(length(max = 1024))]
    pub(in crate::config) tags: Vec<String>,
}

impl Default for Where {
    fn default() -> Self {
        let (sources, not_sources, rules, not_rules, tags) = Default::default();
        Self { min_level: Level::Low, sources, not_sources, rules, not_rules, tags }
    }
}

impl Handler {
    fn named(name: &str) -> Self {
        let head = HandlerHead {
            name: name.to_owned(),
            kind: None,
            enabled: true,
            config: HandlerSettings::default(),
            filter: Where::default(),
            max_age_seconds: None,
        };
        Self { head, module: Module::default() }
    }
}

fn yes() -> bool {
    true
}

fn words_or_nothing() -> Value {
    handlers::words().map(Value::from).chain([Value::Null]).collect()
}

impl Serialize for Handler {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { head, module } = self;
        let mut map = written(head).map_err(S::Error::custom)?;
        map.extend(written(module).map_err(S::Error::custom)?);
        map.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Handler {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = Map::deserialize(deserializer)?;
        let head = read(&map).map_err(D::Error::custom)?;
        Ok(Self { head, module: read(&map).map_err(D::Error::custom)? })
    }
}

impl JsonSchema for Handler {
    fn schema_name() -> Cow<'static, str> {
        "Handler".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let shapes = [Shape::of::<HandlerHead>(), Shape::of::<Module>()];
        union(generator, "One handler, written as a map.", shapes)
    }
}

// A word or a map: hand-written, because serde's `untagged` loses the location and the reason of an error.
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
            "anyOf": [{ "type": "string", "enum": handlers::words().collect::<Vec<_>>() }, map]
        })
    }
}

/// What a full queue gives up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Overflow {
    DropLowestLevel,
    DropOldest,
    Block,
}
