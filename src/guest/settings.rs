//! The settings that a plugin declares, in `plugin.toml` or in a script's leading comments: their types, ranges,
//! defaults and meanings. A configuration is checked against them before the plugin's code runs.
//!
//! ```text
//! ---@setting zone string required -- name of the zone to watch
//! ---@setting seconds number = 10 in 0..3600 -- how long is allowed
//! ---@setting level "low"|"high" = "high" -- how much an alert matters
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::nearest;
use crate::error::{Code, Error};

/// Maximum declared settings of a plugin.
const SETTINGS_MAX: usize = 128;
/// Longest part of a value in a message.
const SHOWN_BYTES_MAX: usize = 60;

/// A declared setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// What a value may be: one of these.
    kinds: Vec<Kind>,
    /// The value where the configuration has none.
    pub default: Option<Value>,
    /// Whether the configuration must have one.
    pub required: bool,
    /// The range of a number, ends included.
    range: Option<(f64, f64)>,
    /// What it means; may be empty.
    pub help: String,
}

/// One kind of value.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Any,
    Boolean,
    Integer,
    Number,
    String,
    /// A map.
    Table,
    /// This word.
    Word(String),
    List(Box<Kind>),
}

/// The declared settings, by name; empty = none are declared, and any is accepted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings(pub BTreeMap<String, Setting>);

/// A setting in `plugin.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Toml {
    #[serde(rename = "type")]
    kind: String,
    default: Option<Value>,
    #[serde(default)]
    required: bool,
    range: Option<(f64, f64)>,
    #[serde(default)]
    help: String,
}

impl Kind {
    fn parse(word: &str) -> Result<Self, String> {
        let word = word.trim();
        if let Some(of) = word.strip_suffix("[]") {
            return Ok(Self::List(Box::new(Self::parse(of)?)));
        }
        for quote in ['"', '\''] {
            if let Some(text) = word.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
                return Ok(Self::Word(text.to_owned()));
            }
        }
        Ok(match word {
            "any" => Self::Any,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "string" => Self::String,
            "table" => Self::Table,
            other => {
                return Err(format!(
                    "'{other}' is no type: expected number, integer, boolean, string, table, any, a list such as \
                     string[], or words such as \"low\"|\"high\""
                ));
            }
        })
    }

    fn fits(&self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Boolean => value.is_boolean(),
            Self::Integer => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            Self::Number => value.is_number(),
            Self::String => value.is_string(),
            Self::Table => value.is_object(),
            Self::Word(word) => value.as_str() == Some(word),
            Self::List(of) => value.as_array().is_some_and(|items| items.iter().all(|item| of.fits(item))),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Boolean => f.write_str("boolean"),
            Self::Integer => f.write_str("integer"),
            Self::Number => f.write_str("number"),
            Self::String => f.write_str("string"),
            Self::Table => f.write_str("table"),
            Self::Word(word) => write!(f, "\"{word}\""),
            Self::List(of) => write!(f, "{of}[]"),
        }
    }
}

impl Setting {
    /// Checks a declaration.
    fn new(kind: &str, default: Option<Value>, required: bool, range: Option<(f64, f64)>) -> Result<Self, String> {
        let kinds = kind.split('|').map(Kind::parse).collect::<Result<Vec<_>, _>>()?;
        if required && default.is_some() {
            return Err("a setting that is required has no default".to_owned());
        }
        if range.is_some_and(|(from, to)| !from.is_finite() || !to.is_finite() || from > to) {
            return Err("a range goes from a number to one that is not smaller".to_owned());
        }
        let setting = Self { kinds, default, required, range, help: String::new() };
        match &setting.default {
            Some(default) => setting.check(default).map_err(|what| format!("its default {what}")).map(|()| setting),
            None => Ok(setting),
        }
    }

    /// Its type, as it is declared.
    pub fn kind(&self) -> String {
        self.kinds.iter().map(Kind::to_string).collect::<Vec<_>>().join(" | ")
    }

    /// Its range, as it is declared.
    pub fn range(&self) -> Option<String> {
        self.range.map(|(from, to)| format!("{from}..{to}"))
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        if !self.kinds.iter().any(|kind| kind.fits(value)) {
            let is_word = |kind: &Kind| matches!(kind, Kind::Word(_));
            let what = match value {
                Value::String(_) if self.kinds.iter().any(is_word) => "another word".to_owned(),
                value => shown(value),
            };
            return Err(format!("is {what}, expected {}", self.kind()));
        }
        match (self.range, value.as_f64()) {
            (Some((from, to)), Some(number)) if !(from..=to).contains(&number) => {
                Err(format!("is out of range: got {number}, expected {from}..{to}"))
            }
            _ => Ok(()),
        }
    }
}

/// What a value is, for a message. A text may be a secret, so it is not repeated.
fn shown(value: &Value) -> String {
    match value {
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
        other => {
            let text = other.to_string();
            text[..text.floor_char_boundary(SHOWN_BYTES_MAX)].to_owned()
        }
    }
}

impl Settings {
    /// The settings of a `plugin.toml`.
    pub(super) fn of_toml(all: BTreeMap<String, Toml>) -> Result<Self, String> {
        let mut settings = Self::default();
        for (name, Toml { kind, default, required, range, help }) in all {
            let setting = Setting::new(&kind, default, required, range);
            let setting = setting.map_err(|what| format!("settings.{name}: {what}"))?;
            settings.add(name, Setting { help, ..setting })?;
        }
        Ok(settings)
    }

    /// Adds a `---@setting` line without its tag.
    pub(super) fn add_line(&mut self, line: &str) -> Result<(), String> {
        let (line, help) = line.split_once(" -- ").unwrap_or((line, ""));
        let (name, rest) = line.trim().split_once(char::is_whitespace).ok_or("expected a name and a type")?;
        let rest = rest.trim_start();
        let end = [" = ", " in ", " required"].iter().filter_map(|word| rest.find(word)).min().unwrap_or(rest.len());
        let (kind, mut rest) = (&rest[..end], rest[end..].trim());
        let required = rest.strip_prefix("required").inspect(|after| rest = after.trim_start()).is_some();
        let mut default = None;
        if let Some(text) = rest.strip_prefix('=') {
            let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
            let value = values.next().and_then(Result::ok);
            let value = value.ok_or("a default is written as in JSON: 10, true, \"text\", [\"a\"]")?;
            (default, rest) = (Some(value), text[values.byte_offset()..].trim_start());
        }
        let mut range = None;
        if let Some(text) = rest.strip_prefix("in ") {
            let ends = text.trim().split_once("..");
            let ends = ends.and_then(|(from, to)| Some((from.trim().parse().ok()?, to.trim().parse().ok()?)));
            (range, rest) = (Some(ends.ok_or("a range is written as `in 0..3600`")?), "");
        }
        if !rest.is_empty() {
            return Err(format!("'{rest}' is not expected there"));
        }
        let setting = Setting { help: help.trim().to_owned(), ..Setting::new(kind, default, required, range)? };
        self.add(name.to_owned(), setting)
    }

    fn add(&mut self, name: String, setting: Setting) -> Result<(), String> {
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if name.is_empty() || !is_name(&name) {
            return Err(format!("'{name}' is no name of a setting: letters, digits, _ and -"));
        }
        if self.0.len() >= SETTINGS_MAX {
            return Err(format!("a plugin declares at most {SETTINGS_MAX} settings"));
        }
        match self.0.insert(name.clone(), setting) {
            None => Ok(()),
            Some(_) => Err(format!("the setting `{name}` is declared twice")),
        }
    }

    /// The settings of a configuration with the declared defaults. A plugin that declares none gets them unchanged.
    ///
    /// # Errors
    /// [`Code::Plugin`] about the setting that is unknown, missing, of another type or out of range.
    pub fn fill(&self, plugin: &str, config: &Value) -> Result<Value, Error> {
        if self.0.is_empty() {
            return Ok(config.clone());
        }
        let wrong = |name: &str, what: String| {
            Error::new(Code::Plugin, format!("{plugin}: {what}")).about(format!(".config.{name}"))
        };
        let mut filled: Map<String, Value> = config.as_object().cloned().unwrap_or_default();
        filled.retain(|_, value| !value.is_null());
        for (name, value) in &filled {
            let Some(setting) = self.0.get(name) else {
                let known = self.0.keys().map(String::as_str);
                let hint = match nearest(name, known.clone()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("its settings: {}", known.collect::<Vec<_>>().join(", ")),
                };
                return Err(wrong(name, format!("there is no setting `{name}`")).hint(hint));
            };
            setting.check(value).map_err(|what| wrong(name, format!("the setting `{name}` {what}")))?;
        }
        for (name, setting) in self.0.iter().filter(|(name, _)| config.get(name).is_none_or(Value::is_null)) {
            match &setting.default {
                Some(default) => drop(filled.insert(name.clone(), default.clone())),
                None if setting.required => {
                    let means = if setting.help.is_empty() { String::new() } else { format!(": {}", setting.help) };
                    return Err(wrong(name, format!("config.{name} is missing{means}")));
                }
                None => {}
            }
        }
        Ok(Value::Object(filled))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn declared(lines: &[&str]) -> Settings {
        let mut settings = Settings::default();
        lines.iter().for_each(|line| settings.add_line(line).unwrap());
        settings
    }

    fn loitering() -> Settings {
        declared(&[
            "zone string required -- name of the zone to watch",
            "seconds number = 10 in 0..3600 -- how long is allowed",
            "labels string|string[] = [\"person\"]",
            "level \"low\"|\"high\" = \"high\" -- how much it matters",
            "most integer in 1..9",
        ])
    }

    #[test]
    fn declared_settings_are_checked_and_their_defaults_filled_in() {
        let filled = loitering().fill("loitering", &json!({ "zone": "door", "seconds": 2.5, "level": null })).unwrap();
        assert_eq!(filled, json!({ "zone": "door", "seconds": 2.5, "labels": ["person"], "level": "high" }));
        assert_eq!(Settings::default().fill("any", &json!({ "x": [1] })).unwrap(), json!({ "x": [1] }));
        for (config, message, hint) in [
            (json!({ "zone": "a", "secnds": 1 }), "there is no setting `secnds`", Some("did you mean `seconds`?")),
            (
                json!({ "zone": "a", "elephant": 1 }),
                "there is no setting `elephant`",
                Some("its settings: labels, level, most, seconds, zone"),
            ),
            (json!({ "zone": "a", "seconds": "1" }), "the setting `seconds` is a text, expected number", None),
            (
                json!({ "zone": "a", "seconds": 3601 }),
                "the setting `seconds` is out of range: got 3601, expected 0..3600",
                None,
            ),
            (
                json!({ "zone": "a", "level": "hgih" }),
                "the setting `level` is another word, expected \"low\" | \"high\"",
                None,
            ),
            (json!({ "zone": "a", "labels": [1] }), "the setting `labels` is a list, expected string | string[]", None),
            (json!({ "zone": "a", "most": 1.5 }), "the setting `most` is 1.5, expected integer", None),
            (json!({ "seconds": 1 }), "config.zone is missing: name of the zone to watch", None),
        ] {
            let error = loitering().fill("loitering", &config).unwrap_err();
            assert_eq!((error.message(), error.remedy()), (&*format!("loitering: {message}"), hint));
            assert!(error.part().is_some_and(|part| part.starts_with(".config.")), "{error:?}");
        }
    }

    #[test]
    fn a_declaration_that_makes_no_sense_is_refused() {
        for (line, part) in [
            ("zone", "expected a name and a type"),
            ("zone strng", "'strng' is no type"),
            ("n number = ten", "a default is written as in JSON"),
            ("n number = 11 in 0..10", "its default is out of range"),
            ("n number = \"a\"", "its default is a text"),
            ("n number in 0-10", "a range is written as"),
            ("n number in 9..0", "a range goes from"),
            ("n number = 1 2", "'2' is not expected there"),
            ("n.m number", "is no name of a setting"),
            ("seconds number", "is declared twice"),
        ] {
            let error = declared(&["seconds number"]).add_line(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
