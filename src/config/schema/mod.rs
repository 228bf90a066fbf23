//! The configuration's structs, from whose doc comments the JSON Schema is generated.
//!
//! Ranges and enum values are in `schemars` attributes; `super::fit` checks a file against the resulting schema, so
//! each limit is written once. `super::build` determines what a key means to the engine, and `super::keys` whether it
//! is built yet.

mod alerts;
mod detection;
mod evidence;
mod guests;
mod hours;
mod monitoring;
mod outbox;
mod overrides;
mod pictures;
mod pipeline;
mod recovery;
mod sources;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{keys, plan};

pub(super) use alerts::{Alerts, Handler, HandlerEntry, Overflow, Where};
pub(super) use detection::{Detection, InputShape, StrategyEntry};
pub(super) use guests::{Grants, Limits, Mode, OnFailure};
pub(super) use hours::{HoursEntry, OneOrMany, ProfileEntry, QuietEntry};
pub(super) use monitoring::{LogFormat, Logging, Monitoring, PublicPart, Token};
pub(super) use outbox::{Durability, Outbox};
pub(super) use overrides::{RuleAlerts, SourceAlerts};
pub(super) use pictures::Pictures;
pub(super) use pipeline::{Pipeline, ProcessingMode};
pub(super) use recovery::Recovery;
pub(super) use sources::{SourceEntry, SourceType};

/// A closed line around an area: at least three points `[x, y]`, each 0..1 of the picture, origin at the top left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Outline(#[schemars(length(min = 3, max = 1000))] pub(super) Vec<Corner>);

/// A point of an outline, `[x, y]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Corner(#[schemars(inner(range(min = 0.0, max = 1.0)))] pub(super) [f64; 2]);

/// Configuration of dsengine. Every key is optional.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    /// The deployment's name, shown in status. Default "dsengine". Example: "gate 4".
    #[schemars(length(min = 1, max = 200))]
    pub(super) name: String,
    /// The configuration's own version, shown in status and metrics. Default none. Example: "1.2.0".
    pub(super) version: Option<String>,
    /// Log at level `debug` unless `logging.level` is set. Default false. Example: true.
    pub(super) debug: bool,
    /// What kind of deployment this is, shown in status and metrics. Default development. Example: production.
    pub(super) environment: Environment,
    /// The zone of local times, hours and days, a name of the IANA database. Default UTC. Example: Europe/Vienna.
    #[schemars(length(min = 1, max = 100))]
    pub(super) timezone: Option<String>,
    /// Inference workers, one thread each. Default none, one per core. Range 1–1024. Example: 4.
    #[schemars(range(min = 1, max = 1024))]
    pub(super) thread_pool_size: Option<u32>,
    /// Most sources that may be enabled at once. Default 1024. Range 1–1024. Example: 16.
    #[schemars(range(min = 1, max = 1024))]
    pub(super) max_concurrent_sources: u32,
    /// Bound on ending after the first signal. Default 30. Unit: seconds. Range 1–300. Example: 10.
    #[schemars(range(min = 1, max = 300))]
    pub(super) graceful_shutdown_timeout: f64,
    /// How frames are batched. Default: see its keys. Example: {batch_size: 8}.
    pub(super) pipeline: Pipeline,
    /// What finds objects and what judges them. Default: see its keys. Example: {confidence_threshold: 0.4}.
    pub(super) detection: Detection,
    /// Which alerts are sent, and where. Default: see its keys. Example: {handlers: [console, file]}.
    pub(super) alerts: Alerts,
    /// Metrics, health and pages. Default: see its keys. Example: {prometheus: {port: 9100}}.
    pub(super) monitoring: Monitoring,
    /// Logs. Default: see its keys. Example: {level: debug}.
    pub(super) logging: Logging,
    /// How sources are restarted. Default: see its keys. Example: {max_retry_delay: 30}.
    pub(super) recovery: Recovery,
    /// The runtime that runs neural networks. Default: see its keys. Example: {ort_library: /opt/ort/libonnxruntime.so}.
    pub(super) inference: Inference,
    /// What to watch. Default none. Example: [{id: gate, uri: "rtsp://10.0.0.7/stream"}].
    #[schemars(length(max = 1024))]
    pub(super) sources: Vec<SourceEntry>,
    /// A folder whose scripts and components judge as they lie there. Default: see its keys.
    /// Example: {folder: plugins}.
    pub(super) plugins: Plugins,
    /// Areas by name, known to every source. Default none. Example: {door: [[0.4, 0.2], [0.6, 0.2], [0.6, 0.9]]}.
    pub(super) zones: BTreeMap<String, Outline>,
    /// Parts of a configuration by name, of which `profile` lays one over the rest. Default none.
    /// Example: {night: {detection: {confidence_threshold: 0.4}}}.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) profiles: BTreeMap<String, serde_json::Map<String, Value>>,
    /// The profile that applies. Default none. Example: night.
    #[schemars(length(min = 1, max = 100))]
    pub(super) profile: Option<String>,
    /// Hours in `timezone` in which a profile applies by itself, the first that holds. It is switched when they begin and
    /// end; a switch by hand lasts until then. Default none. Example: [{profile: night, from: "22:00", to: "06:00"}].
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub(super) profile_schedule: OneOrMany<ProfileEntry>,
    /// Free room for settings of your own. Default none. Example: {site: {floor: 3}}.
    pub(super) extensions: serde_json::Map<String, Value>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "dsengine".to_owned(),
            version: None,
            debug: false,
            environment: Environment::Development,
            timezone: None,
            thread_pool_size: None,
            max_concurrent_sources: 1024,
            graceful_shutdown_timeout: 30.0,
            pipeline: Pipeline::default(),
            detection: Detection::default(),
            alerts: Alerts::default(),
            monitoring: Monitoring::default(),
            logging: Logging::default(),
            recovery: Recovery::default(),
            inference: Inference::default(),
            sources: Vec::new(),
            plugins: Plugins::default(),
            zones: BTreeMap::new(),
            profiles: BTreeMap::new(),
            profile: None,
            profile_schedule: OneOrMany::default(),
            extensions: serde_json::Map::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Environment {
    Development,
    Staging,
    Production,
}

impl From<Environment> for plan::Environment {
    fn from(word: Environment) -> Self {
        match word {
            Environment::Development => Self::Development,
            Environment::Staging => Self::Staging,
            Environment::Production => Self::Production,
        }
    }
}

/// The runtime that runs neural networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Inference {
    /// libonnxruntime to open. Default none, searched for. Example: /opt/ort/libonnxruntime.so.
    pub(super) ort_library: Option<PathBuf>,
}

/// A folder whose scripts and components judge as they lie there, without grants, after the strategies that are listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Plugins {
    /// The folder. What is put in, changed or taken away while the engine runs is noticed. Default none.
    /// Example: plugins.
    pub(super) folder: Option<PathBuf>,
    /// Only these sources, by id. Default none, all. Example: [gate].
    #[schemars(length(max = 1024))]
    pub(super) sources: Vec<String>,
}

/// The schema of the whole configuration, JSON Schema 2020-12.
pub(super) fn whole() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = false;
    let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
    schema["title"] = "dsengine configuration".into();
    plain_defaults(&mut schema);
    mark_not_built(&mut schema);
    schema
}

/// Marks the keys that have no effect yet, in the definitions that contain them.
fn mark_not_built(schema: &mut Value) {
    let whole = schema.clone();
    for (key, _) in keys::table().filter(|(_, proof)| proof.is_none()) {
        let Some(at) = property(&whole, key) else { continue };
        let Some(Value::Object(found)) = schema.pointer_mut(&at) else { continue };
        found.insert("x-not-built".to_owned(), true.into());
        let text = found.get("description").and_then(Value::as_str).unwrap_or_default();
        let text = format!("Not built yet. {text}").trim_end().to_owned();
        found.insert("description".to_owned(), text.into());
    }
}

/// The JSON pointer to a key's own schema; `None` if the schema does not contain it.
fn property(schema: &Value, key: &str) -> Option<String> {
    let mut at = String::new();
    for step in key.split('.') {
        let (name, is_list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        at = format!("{}/properties/{name}", map_at(schema, at)?);
        schema.pointer(&at)?;
        if is_list {
            at = format!("{}/items", map_at(schema, at)?);
        }
    }
    Some(at)
}

/// Follows references, and the alternative that is a map or list, to the schema with keys or items.
fn map_at(schema: &Value, at: String) -> Option<String> {
    let here = schema.pointer(&at)?;
    if here.get("properties").is_some() || here.get("items").is_some() {
        return Some(at);
    }
    if let Some(to) = here.get("$ref").and_then(Value::as_str) {
        return map_at(schema, to.strip_prefix('#')?.to_owned());
    }
    let options = here.get("anyOf").or_else(|| here.get("oneOf"))?.as_array()?;
    let word = if here.get("anyOf").is_some() { "anyOf" } else { "oneOf" };
    (0..options.len()).find_map(|number| map_at(schema, format!("{at}/{word}/{number}")))
}

/// Keeps informative defaults only: removes `null` and defaults of whole sections.
fn plain_defaults(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let is_plain = |default: &Value| match default {
                Value::Null | Value::Object(_) => false,
                Value::Array(items) => items.iter().all(|item| !item.is_object()),
                Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
            };
            // `properties` may contain a key of this name; the keyword's value is never a schema.
            let is_keyword = map.get("default").is_some_and(|d| d.get("type").is_none() && d.get("$ref").is_none());
            if is_keyword && !map.get("default").is_some_and(is_plain) {
                map.remove("default");
            }
            map.values_mut().for_each(plain_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(plain_defaults),
        _ => {}
    }
}

/// The schema without references, for code that walks it.
pub(super) fn inlined<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.into_generator().into_root_schema_for::<T>().to_value()
}
