//! In a trial of a handler, a field that alerts never have is a breach of the contract, where it is nil otherwise.

use std::sync::Arc;

use mlua::{Lua, Table, Value};

use crate::config::nearest;
use crate::guest::Trial;

/// The fields of an alert, with those that may be absent.
const ALERT: [&str; 16] = [
    "id",
    "level",
    "rule",
    "source",
    "key",
    "time",
    "pts_ns",
    "seq",
    "message",
    "detections",
    "suppressed",
    "digest",
    "tags",
    "picture",
    "evidence",
    "expires_seconds",
];
/// The fields of a detection, with those that may be absent.
const DETECTION: [&str; 6] = ["label", "class_id", "confidence", "bbox", "track_id", "attributes"];
/// Maximum length of a name in a message.
const NAME_CHARS_MAX: usize = 100;

/// The alert whose fields, and those of its detections, are watched in a trial.
pub(super) fn alert(lua: &Lua, alert: Value, trial: Option<&Arc<Trial>>) -> mlua::Result<Value> {
    if let (Value::Table(table), Some(trial)) = (&alert, trial) {
        watch(lua, table, trial, "an alert", &ALERT)?;
        for detection in table.raw_get::<Vec<Table>>("detections")? {
            watch(lua, &detection, trial, "a detection", &DETECTION)?;
        }
    }
    Ok(alert)
}

fn watch(
    lua: &Lua,
    table: &Table,
    trial: &Arc<Trial>,
    what: &'static str,
    known: &'static [&'static str],
) -> mlua::Result<()> {
    let (metatable, trial) = (lua.create_table()?, Arc::clone(trial));
    let missing = lua.create_function(move |_, (_, name): (Value, Value)| {
        let Value::String(name) = &name else { return Ok(Value::Nil) };
        let name: String = name.to_string_lossy().chars().take(NAME_CHARS_MAX).collect();
        if known.contains(&name.as_str()) {
            return Ok(Value::Nil);
        }
        trial.breaks();
        let near = nearest(&name, known.iter().copied());
        let near = near.map(|near| format!(" (did you mean '{near}'?)")).unwrap_or_default();
        Err(mlua::Error::runtime(format!("{what} has no field '{name}'{near}; it has {}", known.join(", "))))
    })?;
    metatable.raw_set("__index", missing)?;
    table.set_metatable(Some(metatable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Alert, BBox, Detection, Digest, HeldBy, InEvidence, Value as Attribute};

    #[test]
    fn every_field_is_known() {
        let bbox = BBox { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
        let mut person = Detection { track_id: Some(1), ..Detection::new("person", 0, 0.9, bbox) };
        person.attributes.insert("colour".into(), Attribute::Boolean(true));
        let digest = Digest {
            reason: HeldBy::Burst,
            count: 1,
            first: String::new(),
            last: String::new(),
            ids: Vec::new(),
            keys: Vec::new(),
        };
        let alert = Alert {
            detections: vec![person],
            digest: Some(digest),
            tags: vec!["a".into()],
            picture: true,
            evidence: Some(InEvidence { stream: "detect".into(), offset_ms: 0.0, offset_by: "arrival".into() }),
            expires_seconds: Some(5),
            ..Alert::sample("m")
        };
        let json = serde_json::to_value(&alert).unwrap();
        let names = |value: &serde_json::Value| -> std::collections::BTreeSet<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(names(&json), ALERT.iter().map(ToString::to_string).collect());
        assert_eq!(names(&json["detections"][0]), DETECTION.iter().map(ToString::to_string).collect());
    }
}
