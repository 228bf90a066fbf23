//! The effective configuration, for display: every key with its default, secrets masked, and its hash.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::load::generic;
use super::places::Places;
use super::schema::Config;
use super::{fit, keys, reference, secret};

/// The whole configuration with defaults, secrets masked.
pub(super) fn effective(config: &Config, places: &Places) -> Json {
    let mut json = serde_json::to_value(config).unwrap_or_default();
    mask(&mut json, "", false, places);
    json
}

fn mask(json: &mut Json, path: &str, hidden: bool, places: &Places) {
    if let Some(template) = places.template(path) {
        *json = Json::String(match hidden {
            true => reference::in_secret_template(template),
            false => reference::in_template(template),
        });
        return;
    }
    match json {
        Json::Object(map) => {
            map.retain(|_, value| !value.is_null());
            for (key, value) in map {
                let child = fit::join(path, key);
                let hidden = hidden
                    || (secret::is_secret_key(key) && !secret::is_list(&child))
                    || child.ends_with(".config.headers")
                    || (child.contains("].settings.") && secret::is_secret_setting(&child));
                mask(value, &child, hidden, places);
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                mask(item, &format!("{path}[{index}]"), hidden, places);
            }
        }
        Json::String(_) | Json::Number(_) if hidden => *json = Json::String(secret::MASK.to_owned()),
        Json::String(text) => *text = secret::in_text(text),
        _ => {}
    }
}

/// The same without the defaults of keys that have no effect yet: they would read as if they acted. Those that were set
/// stay, since a warning names them.
pub(super) fn shown(mut effective: Json, places: &Places) -> Json {
    leave_out(&mut effective, "", places);
    effective
}

fn leave_out(json: &mut Json, path: &str, places: &Places) {
    match json {
        Json::Object(map) => map.retain(|key, value| {
            let child = fit::join(path, key);
            if keys::not_built(&generic(&child)).is_some() {
                return places.is_set(&child) || places.below(&format!("{child}.")).next().is_some();
            }
            let was_empty = is_empty(value);
            leave_out(value, &child, places);
            was_empty || !is_empty(value)
        }),
        Json::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                leave_out(item, &format!("{path}[{index}]"), places);
            }
        }
        _ => {}
    }
}

fn is_empty(json: &Json) -> bool {
    json.as_object().is_some_and(serde_json::Map::is_empty)
}

/// SHA-256 of the effective configuration with sorted keys, so that equal settings give equal hashes.
pub(super) fn hash(effective: &Json) -> String {
    let mut text = String::new();
    canonical(effective, &mut text);
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn canonical(json: &Json, out: &mut String) {
    match json {
        Json::Object(map) => {
            let sorted: BTreeMap<&String, &Json> = map.iter().collect();
            out.push('{');
            for (key, value) in sorted {
                out.push_str(&Json::String(key.clone()).to_string());
                out.push(':');
                canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Json::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}
