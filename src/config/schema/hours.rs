//! Hours of the week: `detection.strategies[].schedule`, `alerts.quiet_hours`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::alerts::Level;

/// Hours of some days of the week.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct HoursEntry {
    /// The days on which they begin: `mon` to `sun`, or a span such as `mon-fri`. Default none, every day.
    /// Example: [mon-fri, sun].
    pub(in crate::config) days: OneOrMany<String>,
    /// The time of day at which they begin. Default "00:00". Example: "22:00".
    pub(in crate::config) from: Option<String>,
    /// The time of day at which they end, on the next day if it is before `from`. Default "24:00". Example: "06:00".
    pub(in crate::config) to: Option<String>,
}

/// Hours in which only the gravest alerts are sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct QuietEntry {
    /// The days on which they begin: `mon` to `sun`, or a span such as `mon-fri`. Default none, every day.
    /// Example: [mon-fri].
    pub(in crate::config) days: OneOrMany<String>,
    /// The time of day at which they begin. Default "00:00". Example: "22:00".
    pub(in crate::config) from: Option<String>,
    /// The time of day at which they end, on the next day if it is before `from`. Default "24:00". Example: "06:00".
    pub(in crate::config) to: Option<String>,
    /// The lowest level that is sent all the same. Default critical. Example: high.
    pub(in crate::config) min_level: Level,
}

impl Default for QuietEntry {
    fn default() -> Self {
        Self { days: OneOrMany::default(), from: None, to: None, min_level: Level::Critical }
    }
}

/// Hours in which a profile applies by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ProfileEntry {
    /// The profile. Default none. Example: away.
    #[schemars(length(min = 1, max = 100))]
    pub(in crate::config) profile: String,
    /// The days on which they begin: `mon` to `sun`, or a span such as `mon-fri`. Default none, every day.
    /// Example: [mon-fri].
    #[serde(default)]
    pub(in crate::config) days: OneOrMany<String>,
    /// The time of day at which they begin. Default "00:00". Example: "22:00".
    #[serde(default)]
    pub(in crate::config) from: Option<String>,
    /// The time of day at which they end, on the next day if it is before `from`. Default "24:00". Example: "06:00".
    #[serde(default)]
    pub(in crate::config) to: Option<String>,
}

/// A list whose only item may stand without it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(in crate::config) struct OneOrMany<T>(pub(in crate::config) Vec<T>);

impl<T> OneOrMany<T> {
    pub(in crate::config) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

// Hand-written, because serde's `untagged` loses the location and the reason of an error.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an item or a list of items")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<OneOrMany<T>, E> {
                T::deserialize(StrDeserializer::new(word)).map(|item| OneOrMany(vec![item]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrMany<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|item| OneOrMany(vec![item]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<OneOrMany<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(OneOrMany)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [item, { "type": "array", "items": item, "maxItems": 64 }] })
    }
}
