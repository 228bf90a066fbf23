//! A kind's keys in a form for tables: the struct's schema, and how to type its values.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The keys of one struct.
#[derive(Clone, Copy)]
pub(in crate::config) struct Shape {
    schema: fn(&mut SchemaGenerator) -> Schema,
    typed: Typed,
}

type Typed = fn(&Map<String, Value>) -> serde_json::Result<Map<String, Value>>;

impl Shape {
    pub(in crate::config) const fn of<T: JsonSchema + Serialize + DeserializeOwned>() -> Self {
        Self { schema: T::json_schema, typed: typed::<T> }
    }

    /// Its keys, in alphabetical order.
    pub(in crate::config) fn keys(self) -> Vec<String> {
        let mut settings = SchemaSettings::draft2020_12();
        settings.inline_subschemas = true;
        let schema = (self.schema)(&mut settings.into_generator());
        let properties = schema.get("properties").and_then(Value::as_object);
        properties.into_iter().flat_map(Map::keys).cloned().collect()
    }
}

/// One object with the keys of all shapes; the first shape that has a key describes it.
pub(in crate::config) fn union(
    generator: &mut SchemaGenerator,
    description: &str,
    shapes: impl IntoIterator<Item = Shape>,
) -> Schema {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for shape in shapes {
        let mut schema = (shape.schema)(generator);
        if let Some(Value::Object(own)) = schema.remove("properties") {
            for (key, child) in own {
                properties.entry(key).or_insert(child);
            }
        }
        if let Some(Value::Array(own)) = schema.remove("required") {
            required.extend(own);
        }
    }
    let mut union = Schema::default();
    union.insert("description".to_owned(), description.into());
    union.insert("type".to_owned(), "object".into());
    union.insert("properties".to_owned(), properties.into());
    union.insert("additionalProperties".to_owned(), false.into());
    if !required.is_empty() {
        union.insert("required".to_owned(), json!(required));
    }
    union
}

/// Reads a struct from its own keys of a map; ignores those of other structs.
pub(in crate::config) fn read<T: DeserializeOwned>(map: &Map<String, Value>) -> serde_json::Result<T> {
    serde_json::from_value(Value::Object(map.clone()))
}

/// The keys of all shapes, with the types of the structs: `10` of a fractional number becomes `10.0`.
pub(in crate::config) fn typed_by(
    map: &Map<String, Value>,
    shapes: impl IntoIterator<Item = Shape>,
) -> serde_json::Result<Map<String, Value>> {
    let mut out = Map::new();
    for shape in shapes {
        out.extend((shape.typed)(map)?);
    }
    Ok(out)
}

/// A struct as a map.
pub(in crate::config) fn written<T: Serialize>(part: &T) -> serde_json::Result<Map<String, Value>> {
    match serde_json::to_value(part)? {
        Value::Object(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

fn typed<T: Serialize + DeserializeOwned>(map: &Map<String, Value>) -> serde_json::Result<Map<String, Value>> {
    let mut out = written(&read::<T>(map)?)?;
    out.retain(|_, value| !value.is_null());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// One.
    #[derive(Serialize, Deserialize, JsonSchema, Default)]
    #[serde(default)]
    struct One {
        /// first of one
        both: Option<f64>,
        own: Option<u32>,
    }

    /// Two.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Two {
        /// first of two
        both: Option<f64>,
        #[serde(rename = "needed-key")]
        needed: String,
    }

    const SHAPES: [Shape; 2] = [Shape::of::<One>(), Shape::of::<Two>()];

    #[test]
    fn the_keys_are_those_of_the_struct_as_they_are_written() {
        assert_eq!(SHAPES[0].keys(), ["both", "own"]);
        assert_eq!(SHAPES[1].keys(), ["both", "needed-key"]);
    }

    #[test]
    fn the_union_takes_the_keys_of_all_and_no_other() {
        let schema = union(&mut SchemaGenerator::default(), "Both.", SHAPES).to_value();
        assert_eq!(schema["description"], "Both.");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"], json!(["needed-key"]));
        assert_eq!(schema["properties"]["both"]["description"], "first of one");
        let keys: Vec<&String> = schema["properties"].as_object().map(|keys| keys.keys().collect()).unwrap_or_default();
        assert_eq!(keys, ["both", "needed-key", "own"]);
    }

    #[test]
    fn values_get_the_types_of_the_structs() {
        let map = json!({"both": 10, "needed-key": "x"});
        let map = map.as_object().expect("a map");
        let typed = typed_by(map, SHAPES).expect("typed");
        assert_eq!(Value::Object(typed), json!({"both": 10.0, "needed-key": "x"}));
        assert!(typed_by(&Map::new(), SHAPES).is_err(), "what is needed is missing");
    }
}
