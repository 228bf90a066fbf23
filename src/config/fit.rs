//! Fits a located tree to the schema: unknown keys, wrong types, values out of range, all with their place.
//!
//! What comes out is plain JSON that the schema's structs accept, so the second pass through serde cannot fail for a
//! reason that was not reported here with a better message.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value as Json};

use super::nearest::nearest;
use super::problem::{Place, Problems};
use super::secret;
use super::tree::{Key, Node, Style, Value};

/// Where each key and value stands, by path (`sources[0].uri`).
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    found: BTreeMap<String, Found>,
}

/// One path of the configuration that was set.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) key: Place,
    pub(super) value: Place,
    /// The text before `${…}` was replaced, where it was.
    pub(super) template: Option<String>,
}

impl Places {
    pub(super) fn is_set(&self, path: &str) -> bool {
        self.found.contains_key(path)
    }

    /// Where the value of a path stands; of its nearest parent, where it was not written itself.
    pub(super) fn value(&self, path: &str) -> Place {
        self.nearest(path).map_or_else(Place::nowhere, |found| found.value)
    }

    /// Where the key of a path stands; of its nearest parent, where it was not written itself.
    pub(super) fn key(&self, path: &str) -> Place {
        self.nearest(path).map_or_else(Place::nowhere, |found| found.key)
    }

    /// Every path that was set, in order of path.
    pub(super) fn set(&self) -> impl Iterator<Item = (&str, &Found)> {
        self.found.iter().map(|(path, found)| (path.as_str(), found))
    }

    /// The text before `${…}` was replaced, where it was.
    pub(super) fn template(&self, path: &str) -> Option<&str> {
        self.found.get(path)?.template.as_deref()
    }

    /// What was set below `prefix`, the prefix taken off.
    pub(super) fn below<'p>(&'p self, prefix: &'p str) -> impl Iterator<Item = &'p str> {
        self.found.range(prefix.to_owned()..).map_while(move |(path, _)| path.strip_prefix(prefix))
    }

    fn nearest(&self, path: &str) -> Option<&Found> {
        let mut path = path;
        loop {
            if let Some(found) = self.found.get(path) {
                return Some(found);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

/// `pipeline` + `width` → `pipeline.width`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The path as people read it: the whole configuration has no name.
fn named(path: &str) -> String {
    if path.is_empty() { "the configuration".to_owned() } else { format!("`{path}`") }
}

/// One pass over a tree.
pub(super) struct Fit<'a> {
    pub(super) problems: &'a mut Problems,
    pub(super) places: &'a mut Places,
    /// The whole schema, to say where a misplaced key belongs.
    pub(super) whole: &'a Json,
    /// An entry of a list did not fit and is missing from what came out: positions there tell nothing any more.
    pub(super) gaps: bool,
}

impl Fit<'_> {
    /// Fits a value. `None` when nothing was written, or what was written does not fit.
    pub(super) fn value(&mut self, node: &Node, key: Place, schema: &Json, path: &str) -> Option<Json> {
        if node.is_nothing() {
            return None;
        }
        if !path.is_empty() {
            let found = Found { key, value: node.place, template: node.template.clone() };
            self.places.found.insert(path.to_owned(), found);
        }
        let schema = choose(schema, node);
        if is_free(schema) {
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
            // A misspelt key is reported once, as that.
            if !written && !out.contains_key(key) {
                self.problems.at_value(
                    Place { width: 1, ..node.place },
                    format!("{} has no `{key}`", named(path)),
                    format!("`{key}` is needed"),
                );
            }
        }
        Json::Object(out)
    }

    /// Reports a key that is none. What stands under it is read as if the nearest key had been written, so that one
    /// typing error neither hides another nor is reported a second time as a missing key.
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
        let Some((name, schema)) = nearest(word, properties.keys().map(String::as_str))
            .and_then(|name| properties.get(name).map(|schema| (name.to_owned(), schema)))
        else {
            let label = match homes(self.whole, word).first() {
                Some(home) => format!("`{word}` belongs {home}"),
                None => list_of(properties),
            };
            self.problems.at_key(key.place, message, label);
            return None;
        };
        self.problems.at_key(key.place, message, format!("did you mean `{name}`?"));
        let meant = join(path, &name);
        if self.places.is_set(&meant) {
            return None;
        }
        self.value(value, key.place, schema, &meant).map(|json| (name, json))
    }

    fn list(&mut self, node: &Node, items: &[Node], schema: &Json, path: &str) -> Option<Json> {
        let count = items.len() as u64;
        let (min, max) = (schema.get("minItems").and_then(Json::as_u64), schema.get("maxItems").and_then(Json::as_u64));
        if min.is_some_and(|min| count < min) || max.is_some_and(|max| count > max) {
            let expected = expectation(schema);
            let place = Place { width: 1, ..node.place };
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
            if matches!(node.value, Value::Scalar { .. }) { node.place } else { Place { width: 1, ..node.place } };
        let expected = expectation(schema);
        self.problems.at_value(
            place,
            format!("{} has the wrong type", named(path)),
            format!("got {got}, expected {expected}"),
        );
        if let Value::Scalar { text, style } = &node.value {
            if let Some(note) = advice(text, *style, schema) {
                self.problems.note(note);
            }
        }
        None
    }

    /// The value as it may be shown: the template where secrets were put in, masked under a secret's key.
    fn shown(&self, node: &Node, text: &str, path: &str) -> String {
        let key = path.rsplit('.').next().unwrap_or(path);
        match &node.template {
            Some(template) => template.clone(),
            None if secret::is_secret_key(key) => secret::MASK.to_owned(),
            None => secret::in_text(text),
        }
    }

    /// A value of a free map: typed by how it is written.
    fn free(&mut self, node: &Node) -> Json {
        match &node.value {
            Value::Scalar { text, style } => free_scalar(text, *style),
            Value::List(items) => Json::Array(items.iter().map(|item| self.free(item)).collect()),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|(key, value)| (key.text.clone(), self.free(value))).collect())
            }
        }
    }
}

/// The schema that applies to a value, where there are several: a map takes the map's, a word the word's.
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

fn allows(schema: &Json, kind: &str) -> bool {
    match schema.get("type") {
        Some(Json::String(one)) => one == kind,
        Some(Json::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    }
}

/// Every place in the schema where a key of this name is known.
fn homes(schema: &Json, word: &str) -> Vec<String> {
    let mut found = Vec::new();
    visit(schema, "", &mut |path, _| match path.rsplit_once('.') {
        Some((home, key)) if key == word => found.push(format!("under `{home}`")),
        None if path == word => found.push("at the top".to_owned()),
        _ => {}
    });
    found
}

/// Walks every key of a schema, `sources[].uri` and so on, parents first.
pub(super) fn visit<'s>(schema: &'s Json, path: &str, on_key: &mut dyn FnMut(&str, &'s Json)) {
    for option in schema.get("anyOf").and_then(Json::as_array).into_iter().flatten() {
        visit(option, path, on_key);
    }
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

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Number,
    Boolean,
}

fn kind_of(text: &str, style: Style) -> Kind {
    match style {
        Style::Quoted => Kind::Text,
        Style::Plain | Style::Raw if boolean(text).is_some() => Kind::Boolean,
        Style::Plain | Style::Raw if is_number(text) => Kind::Number,
        Style::Plain | Style::Raw => Kind::Text,
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Decimal digits without leading zeros or separators: what means the same to everybody.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sound = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    sound && (digits == "0" || !digits.starts_with('0'))
}

fn is_number(text: &str) -> bool {
    if is_integer(text) {
        return true;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, part) = match mantissa.split_once('.') {
        Some((whole, part)) => (whole, part),
        None => (mantissa, ""),
    };
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    (mantissa.contains('.') || exponent.is_some())
        && digits(whole)
        && digits(part)
        && !(whole.is_empty() && part.is_empty())
        && (whole.len() < 2 || !whole.starts_with('0'))
        && exponent.is_none_or(|e| {
            let e = e.strip_prefix(['-', '+']).unwrap_or(e);
            !e.is_empty() && digits(e)
        })
}

fn number(text: &str) -> Option<Number> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if is_integer(text) {
        if let Ok(n) = text.parse::<i64>() {
            return Some(n.into());
        }
        if let Ok(n) = text.parse::<u64>() {
            return Some(n.into());
        }
    }
    if is_number(text) { text.parse::<f64>().ok().and_then(Number::from_f64) } else { None }
}

/// The value of a scalar under a key that expects something, or `None` when it is something else.
fn typed(text: &str, style: Style, schema: &Json) -> Option<Json> {
    let open = style != Style::Quoted;
    if open && allows(schema, "boolean") {
        let word = if style == Style::Raw { raw_boolean(text) } else { boolean(text) };
        if let Some(word) = word {
            return Some(Json::Bool(word));
        }
    }
    let is_text = allows(schema, "string") || (schema.get("enum").is_some() && schema.get("type").is_none());
    // A key that takes text or a number keeps it as written.
    if is_text && (style != Style::Plain || kind_of(text, style) == Kind::Text) {
        return Some(Json::String(text.to_owned()));
    }
    if is_text && kind_of(text, style) == Kind::Number && (allows(schema, "integer") || allows(schema, "number")) {
        return Some(Json::String(text.to_owned()));
    }
    if open && allows(schema, "integer") && is_integer(text) {
        return number(text).map(Json::Number);
    }
    if open && allows(schema, "number") {
        return number(text).map(Json::Number);
    }
    None
}

/// In the environment and on the command line, where everything is text, the usual words are taken as well.
fn raw_boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn free_scalar(text: &str, style: Style) -> Json {
    if style != Style::Plain {
        return Json::String(text.to_owned());
    }
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Json::Null;
    }
    if let Some(word) = boolean(text) {
        return Json::Bool(word);
    }
    match is_number(text).then(|| number(text)).flatten() {
        Some(number) => Json::Number(number),
        None => Json::String(text.to_owned()),
    }
}

enum Limit {
    Range,
    Word,
    Text,
}

fn limits(json: &Json, schema: &Json) -> Option<Limit> {
    if let Some(words) = schema.get("enum").and_then(Json::as_array) {
        return (!words.contains(json)).then_some(Limit::Word);
    }
    match json {
        Json::Number(n) => {
            let n = n.as_f64()?;
            let below = schema.get("minimum").and_then(Json::as_f64).is_some_and(|min| n < min);
            let above = schema.get("maximum").and_then(Json::as_f64).is_some_and(|max| n > max);
            (below || above).then_some(Limit::Range)
        }
        Json::String(text) => {
            let length = text.chars().count() as u64;
            let short = schema.get("minLength").and_then(Json::as_u64).is_some_and(|min| length < min);
            let long = schema.get("maxLength").and_then(Json::as_u64).is_some_and(|max| length > max);
            // The one pattern in use says what a text begins with.
            let start = schema.get("pattern").and_then(Json::as_str).and_then(|p| p.strip_prefix('^'));
            let elsewhere = start.is_some_and(|start| !text.starts_with(start));
            (short || long || elsewhere).then_some(Limit::Text)
        }
        _ => None,
    }
}

/// What a key expects, in words.
fn expectation(schema: &Json) -> String {
    if let Some(words) = schema.get("enum").and_then(Json::as_array) {
        let words: Vec<_> = words.iter().filter_map(Json::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(" or ");
    }
    if let Some(options) = schema.get("anyOf").and_then(Json::as_array) {
        let several: Vec<_> = options
            .iter()
            .filter(|option| option.get("type").and_then(Json::as_str) != Some("null"))
            .map(expectation)
            .collect();
        return several.join(" or ");
    }
    let bound = |key: &str| schema.get(key).and_then(Json::as_f64);
    let range = match (bound("minimum"), bound("maximum")) {
        (Some(min), Some(max)) => format!(" from {min} to {max}"),
        (Some(min), None) => format!(" of at least {min}"),
        _ => String::new(),
    };
    let items = |key: &str| schema.get(key).and_then(Json::as_u64);
    let mut kinds: Vec<String> = Vec::new();
    if allows(schema, "boolean") {
        kinds.push("`true` or `false`".to_owned());
    }
    if allows(schema, "string") {
        kinds.push(match schema.get("pattern").and_then(Json::as_str).and_then(|p| p.strip_prefix('^')) {
            Some(start) => format!("text that begins with `{start}`"),
            None => match (items("minLength"), items("maxLength")) {
                (Some(min), Some(max)) => format!("text of {min} to {max} characters"),
                _ => "text".to_owned(),
            },
        });
    }
    if allows(schema, "number") {
        kinds.push(format!("a number{range}"));
    } else if allows(schema, "integer") {
        kinds.push(format!("a whole number{range}"));
    }
    if allows(schema, "array") {
        kinds.push(match (items("minItems"), items("maxItems")) {
            (Some(min), Some(max)) if min == max => format!("a list of {min} entries"),
            (Some(min), Some(max)) => format!("a list of {min} to {max} entries"),
            (None, Some(max)) => format!("a list of at most {max} entries"),
            _ => "a list".to_owned(),
        });
    }
    if allows(schema, "object") {
        kinds.push("a map of keys".to_owned());
    }
    kinds.join(" or ")
}

/// How a value that other readers take for a number or boolean must be written.
fn advice(text: &str, style: Style, schema: &Json) -> Option<String> {
    let wants_number = allows(schema, "integer") || allows(schema, "number");
    if allows(schema, "string") && kind_of(text, style) != Kind::Text {
        return Some(format!("put it in quotes: \"{text}\""));
    }
    if style == Style::Quoted
        && ((wants_number && is_number(text)) || (allows(schema, "boolean") && boolean(text).is_some()))
    {
        return Some("remove the quotes".to_owned());
    }
    if allows(schema, "boolean") {
        return match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "1" => Some("write true".to_owned()),
            "no" | "off" | "n" | "0" => Some("write false".to_owned()),
            _ => None,
        };
    }
    if wants_number {
        let bare: String = text.chars().filter(|c| *c != '_').collect();
        if bare != text && is_number(&bare) {
            return Some(format!("write {bare}"));
        }
        let trimmed = text.trim_start_matches('0');
        if trimmed != text && is_integer(trimmed) {
            return Some(format!("a leading zero means octal to some readers and nothing to others: write {trimmed}"));
        }
        if let Some(hex) = text.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
            return Some(format!("write {hex}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_decimal_numbers_are_numbers() {
        for number in ["0", "7", "-3", "+4", "1.5", ".5", "2.", "1e3", "0.25"] {
            assert!(is_number(number), "{number}");
        }
        for text in ["0755", "1_000", "0x10", ".inf", "NaN", "1e", "", "-", "12:30", "1.2.3", "00.5"] {
            assert!(!is_number(text), "{text}");
            assert_eq!(free_scalar(text, Style::Plain).is_number(), false);
        }
        assert_eq!(free_scalar("yes", Style::Plain), Json::String("yes".into()));
        assert_eq!(free_scalar("true", Style::Plain), Json::Bool(true));
        assert_eq!(free_scalar("true", Style::Quoted), Json::String("true".into()));
    }
}
