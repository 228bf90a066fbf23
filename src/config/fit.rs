//! Fits a located tree to the schema: reports unknown keys, wrong types and values out of range with their location.
//!
//! The result is plain JSON that the schema's structs accept, so that the second pass, through serde, can only fail for
//! reasons already reported here with a better message.

use serde_json::{Map, Value as Json};

use super::nearest::nearest;
use super::places::{Found, Places};
use super::problem::{Location, Problems};
use super::scalar::{Kind, Limit, advice, allows, expectation, free_scalar, kind_of, limits, typed};
use super::tree::{Key, Node, Style, Value};
use super::{reference, secret};

/// The number of problems after which the others are checked in less detail: nobody reads so many.
const ADVISED_MAX: usize = 200;

/// `pipeline` + `width` → `pipeline.width`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The path for display; the whole configuration has none.
fn named(path: &str) -> String {
    if path.is_empty() { "the configuration".to_owned() } else { format!("`{path}`") }
}

/// One pass over a tree.
pub(super) struct Fit<'a> {
    pub(super) problems: &'a mut Problems,
    pub(super) places: &'a mut Places,
    /// The whole schema, to suggest where a misplaced key belongs.
    pub(super) whole: &'a Json,
    /// An entry of a list did not fit and is missing from the result: indices into it are no longer valid.
    pub(super) gaps: bool,
}

impl Fit<'_> {
    /// Fits a value. `None` if it is empty or does not fit.
    pub(super) fn value(&mut self, node: &Node, key: Location, schema: &Json, path: &str) -> Option<Json> {
        if node.is_nothing() {
            return None;
        }
        if !path.is_empty() {
            let found = Found { key, value: node.place, template: node.template.clone() };
            self.places.insert(path, found);
        }
        secret::within(node, path).into_iter().for_each(|secret| self.hide(secret));
        let schema = choose(schema, node);
        let is_map = matches!(node.value, Value::Map(_));
        if is_free(schema) && (is_map || !allows(schema, "object")) {
            return Some(self.free(node));
        }
        match &node.value {
            Value::Map(entries) if allows(schema, "object") => Some(self.map(node, entries, schema, path)),
            Value::List(items) if allows(schema, "array") => self.list(node, items, schema, path),
            Value::Scalar { text, style: Style::Raw } if allows(schema, "array") => {
                let items: Vec<Node> = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Node { template: node.template.clone(), ..Node::scalar(item, Style::Raw, node.place) })
                    .collect();
                self.list(node, &items, schema, path)
            }
            Value::Scalar { text, style } => self.scalar(node, text, *style, schema, path),
            Value::Map(_) => self.wrong(node, "a map", schema, path),
            Value::List(_) => self.wrong(node, "a list", schema, path),
        }
    }

    fn map(&mut self, node: &Node, entries: &[(Key, Node)], schema: &Json, path: &str) -> Json {
        let mut out = Map::new();
        let none = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&none);
        let others = schema.get("additionalProperties").filter(|s| s.is_object() || **s == Json::Bool(true));
        for (key, value) in entries {
            let child = join(path, &key.text);
            let Some(schema) = properties.get(&key.text).or(others) else {
                if let Some((name, json)) = self.unknown(key, value, properties, path) {
                    out.entry(name).or_insert(json);
                }
                continue;
            };
            if let Some(json) = self.value(value, key.place, schema, &child) {
                out.insert(key.text.clone(), json);
            }
        }
        for key in schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
            let written = entries.iter().any(|(k, node)| k.text == key && !node.is_nothing());
            // A misspelt key is reported once, as such.
            if !written && !out.contains_key(key) {
                self.problems.at_value(
                    Location { width: 1, ..node.place },
                    format!("{} has no `{key}`", named(path)),
                    format!("`{key}` is needed"),
                );
            }
        }
        Json::Object(out)
    }

    /// Reports an unknown key. Its value is read as if the nearest key had been written, so that a typo neither hides
    /// another one nor is reported again as a missing key.
    fn unknown(
        &mut self,
        key: &Key,
        value: &Node,
        properties: &Map<String, Json>,
        path: &str,
    ) -> Option<(String, Json)> {
        let word = &key.text;
        let message = format!("unknown key `{word}` in {}", named(path));
        if word == "<<" {
            let label = "merge keys are not supported: repeat the keys, or alias a whole value";
            self.problems.at_key(key.place, message, label);
            return None;
        }
        let near = meant(word, properties).or_else(|| nearest(word, properties.keys().map(String::as_str)));
        let Some((name, schema)) = near.and_then(|name| properties.get(name).map(|schema| (name.to_owned(), schema)))
        else {
            let advised = self.problems.list.len() < ADVISED_MAX;
            let label = match advised.then(|| parents_of(self.whole, word)) {
                None => "no such key is known here".to_owned(),
                Some(parents) => match parents.first() {
                    Some(parent) => format!("`{word}` belongs {parent}"),
                    None => list_of(properties),
                },
            };
            self.hide_unknown(key, value, path);
            self.problems.at_key(key.place, message, label);
            return None;
        };
        self.problems.at_key(key.place, message, format!("did you mean `{name}`?"));
        self.hide_unknown(key, value, path);
        let meant = join(path, &name);
        if self.places.is_set(&meant) {
            return None;
        }
        self.value(value, key.place, schema, &meant).map(|json| (name, json))
    }

    /// Hides the value of an unknown key that may be a secret: by its name, or since others beside it are.
    fn hide_unknown(&mut self, key: &Key, value: &Node, path: &str) {
        match secret::is_list(path) || secret::is_secret_path(path) {
            true => self.hide(value),
            false => self.hide_misspelt(key, value),
        }
    }

    fn hide_misspelt(&mut self, key: &Key, value: &Node) {
        if secret::nearly_secret_key(&key.text) {
            self.hide(value);
        }
    }

    /// Hides everything below a value in excerpts; a lone reference reveals nothing.
    fn hide(&mut self, node: &Node) {
        match &node.value {
            Value::Scalar { text, .. } => {
                let written = node.template.as_ref().unwrap_or(text);
                if !reference::is_lone(written) || written.contains(":-") {
                    self.problems.hide(node.place);
                }
            }
            Value::List(items) => items.iter().for_each(|item| self.hide(item)),
            Value::Map(entries) => entries.iter().for_each(|(_, value)| self.hide(value)),
        }
    }

    fn list(&mut self, node: &Node, items: &[Node], schema: &Json, path: &str) -> Option<Json> {
        if is_zone(path)
            && let Some((corner, text)) = items.iter().find_map(beyond)
        {
            let label = format!(
                "got {text}: corners are shares of the picture (0..1), not pixels: divide by its width and height"
            );
            self.problems.at_value(corner.place, format!("`{path}` is outside the picture"), label);
            return None;
        }
        let count = items.len() as u64;
        let (min, max) = (schema.get("minItems").and_then(Json::as_u64), schema.get("maxItems").and_then(Json::as_u64));
        if min.is_some_and(|min| count < min) || max.is_some_and(|max| count > max) {
            let expected = expectation(schema);
            let place = Location { width: 1, ..node.place };
            let entries = if count == 1 { "entry" } else { "entries" };
            self.problems.at_value(
                place,
                format!("{} has {count} {entries}", named(path)),
                format!("expected {expected}"),
            );
            return None;
        }
        let any = Json::Bool(true);
        let schema = schema.get("items").unwrap_or(&any);
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let child = format!("{path}[{index}]");
            if item.is_nothing() {
                self.problems.at_value(item.place, format!("`{child}` is empty"), "remove the entry or write a value");
                continue;
            }
            match self.value(item, item.place, schema, &child) {
                Some(json) => out.push(json),
                None => self.gaps = true,
            }
        }
        Some(Json::Array(out))
    }

    fn scalar(&mut self, node: &Node, text: &str, style: Style, schema: &Json, path: &str) -> Option<Json> {
        let json = typed(text, style, schema);
        let Some(json) = json else {
            let got = match kind_of(text, style) {
                Kind::Text => "the text ",
                Kind::Number => "the number ",
                Kind::Boolean => "",
            };
            let quotes = if style == Style::Quoted { "\"" } else { "" };
            let shown = self.shown(node, text, path);
            return self.wrong(node, &format!("{got}`{quotes}{shown}{quotes}`"), schema, path);
        };
        if let Some(fault) = limits(&json, schema) {
            let shown = self.shown(node, text, path);
            let expected = expectation(schema);
            let (message, label) = match fault {
                Limit::Range => (format!("`{path}` is out of range"), format!("got {shown}, expected {expected}")),
                Limit::Word => {
                    let words = schema.get("enum").and_then(Json::as_array).into_iter().flatten();
                    let expected = offered(schema, path).unwrap_or(expected);
                    let label = match nearest(text, words.filter_map(Json::as_str)) {
                        Some(word) => format!("did you mean `{word}`? Expected {expected}"),
                        None => format!("expected {expected}"),
                    };
                    (format!("`{path}` cannot be `{shown}`"), label)
                }
                Limit::Text => (format!("`{path}` cannot be `{shown}`"), format!("expected {expected}")),
            };
            self.problems.at_value(node.place, message, label);
            return None;
        }
        Some(json)
    }

    fn wrong(&mut self, node: &Node, got: &str, schema: &Json, path: &str) -> Option<Json> {
        let place =
            if matches!(node.value, Value::Scalar { .. }) { node.place } else { Location { width: 1, ..node.place } };
        let expected = expectation(schema);
        self.problems.at_value(
            place,
            format!("{} has the wrong type", named(path)),
            format!("got {got}, expected {expected}"),
        );
        if let Value::Scalar { text, style } = &node.value
            && let Some(note) = advice(text, *style, schema).filter(|_| !secret::is_secret(node, path))
        {
            self.problems.note(note);
        }
        None
    }

    /// The value for display: its template if secrets were substituted, masked under a secret's key.
    fn shown(&self, node: &Node, text: &str, path: &str) -> String {
        match &node.template {
            Some(template) if secret::is_secret(node, path) => reference::in_secret_template(template),
            Some(template) => reference::in_template(template),
            None if secret::is_secret(node, path) => secret::MASK.to_owned(),
            None => secret::in_text(text),
        }
    }

    /// A value of a free map: its type follows from how it is written.
    fn free(&mut self, node: &Node) -> Json {
        match &node.value {
            Value::Scalar { text, style } => free_scalar(text, *style),
            Value::List(items) => Json::Array(items.iter().map(|item| self.free(item)).collect()),
            Value::Map(entries) => {
                for (key, value) in entries {
                    self.hide_misspelt(key, value);
                }
                // A password of digits is text, also in a list.
                let plain = |node: &Node| match &node.value {
                    Value::Scalar { text, style: Style::Raw } => Some(Json::String(text.clone())),
                    _ => None,
                };
                let mut typed = |key: &Key, value: &Node| match &value.value {
                    _ if !secret::is_secret_key(&key.text) => self.free(value),
                    Value::List(items) => {
                        Json::Array(items.iter().map(|item| plain(item).unwrap_or_else(|| self.free(item))).collect())
                    }
                    _ => plain(value).unwrap_or_else(|| self.free(value)),
                };
                Json::Object(entries.iter().map(|(key, value)| (key.text.clone(), typed(key, value))).collect())
            }
        }
    }
}

/// Common wrong keys and their replacements, where spelling does not help.
const MEANT: [(&str, &[&str]); 7] = [
    ("model", &["model_path", "model_engine_file"]),
    ("weights", &["model_path", "model_engine_file"]),
    ("labels", &["labels_path", "labels_file"]),
    ("classes", &["labels_path", "labels_file"]),
    ("script", &["module"]),
    ("rules", &["strategies"]),
    ("url", &["uri"]),
];

/// The key meant by a word of [`MEANT`].
fn meant<'p>(word: &str, properties: &'p Map<String, Json>) -> Option<&'p str> {
    let (_, keys) = MEANT.iter().find(|(other, _)| *other == word)?;
    keys.iter().find_map(|key| properties.get_key_value(*key)).map(|(key, _)| key.as_str())
}

/// The supported types of a source.
fn offered(schema: &Json, path: &str) -> Option<String> {
    let is_type = path.starts_with("sources[") && path.ends_with("].type");
    let words = schema.get("enum").and_then(Json::as_array).filter(|_| is_type)?;
    let built: Vec<&str> = words.iter().filter_map(Json::as_str).collect();
    Some(built.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "))
}

/// Whether a path is a zone's outline, or that of a blackout.
fn is_zone(path: &str) -> bool {
    path.rsplit_once("].blackout[").is_some_and(|(_, index)| index.matches('[').count() == 0)
        || path.rsplit_once('.').is_some_and(|(map, _)| map == "zones" || map.ends_with("].zones"))
}

/// A corner's first coordinate beyond the picture, and its text.
fn beyond(corner: &Node) -> Option<(&Node, &str)> {
    let Value::List(coordinates) = &corner.value else { return None };
    coordinates.iter().find_map(|at| match &at.value {
        Value::Scalar { text, .. } => {
            text.parse::<f64>().ok().filter(|value| *value > 1.0).map(|_| (at, text.as_str()))
        }
        _ => None,
    })
}

/// The alternative of a schema that applies to a value: the map's for a map, the string's for a word.
fn choose<'s>(schema: &'s Json, node: &Node) -> &'s Json {
    let Some(options) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array) else {
        return schema;
    };
    let wanted = match node.value {
        Value::Map(_) => "object",
        Value::List(_) => "array",
        Value::Scalar { .. } => "string",
    };
    let real = || options.iter().filter(|option| option.get("type").and_then(Json::as_str) != Some("null"));
    let chosen = real().find(|option| allows(option, wanted)).or_else(|| real().next()).unwrap_or(schema);
    if std::ptr::eq(chosen, schema) { schema } else { choose(chosen, node) }
}

fn is_free(schema: &Json) -> bool {
    match schema {
        Json::Bool(free) => *free,
        Json::Object(map) => {
            let bare = !map.contains_key("type") && !map.contains_key("enum") && !map.contains_key("anyOf");
            bare || (allows(schema, "object") && map.get("additionalProperties") == Some(&Json::Bool(true)))
        }
        _ => false,
    }
}

/// Every location in the schema that has a key of this name.
fn parents_of(schema: &Json, word: &str) -> Vec<String> {
    let mut found = Vec::new();
    visit(schema, "", &mut |path, _| match path.rsplit_once('.') {
        Some((parent, key)) if key == word => found.push(format!("under `{parent}`")),
        None if path == word => found.push("at the top".to_owned()),
        _ => {}
    });
    found
}

/// Visits every key of a schema, `sources[].uri` and so on, parents first.
pub(super) fn visit<'s>(schema: &'s Json, path: &str, on_key: &mut dyn FnMut(&str, &'s Json)) {
    let options = || schema.get("anyOf").and_then(Json::as_array).into_iter().flatten();
    // A list whose only item may stand without it has the keys of that item once.
    let is_list = options().any(|option| option.get("items").is_some());
    options().filter(|option| !is_list || option.get("properties").is_none()).for_each(|o| visit(o, path, on_key));
    for (key, child) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let path = join(path, key);
        on_key(&path, child);
        visit(child, &path, on_key);
    }
    if let Some(items) = schema.get("items") {
        visit(items, &format!("{path}[]"), on_key);
    }
}

fn list_of(properties: &Map<String, Json>) -> String {
    let names: Vec<_> = properties.keys().map(|name| format!("`{name}`")).collect();
    format!("known are {}", names.join(", "))
}
