//! A webhook's body: JSON text with `{{field}}` in place of an alert's fields.

use serde::Serialize;
use serde_json::Value;

use crate::types::{Alert, AlertId, BBox, Detection, Level};

/// Reads a field of an alert.
type Read = fn(&Alert) -> Field;

/// The fields that a template may name.
const FIELDS: &[(&str, Read)] = &[
    ("alert", |alert| Field::json(alert)),
    ("id", |alert| Field::text(alert.id.as_str())),
    ("level", |alert| Field::text(alert.level.as_str())),
    ("rule", |alert| Field::text(&alert.rule)),
    ("source", |alert| Field::text(alert.source.as_str())),
    ("key", |alert| Field::text(&alert.key)),
    ("time", |alert| Field::text(&alert.time)),
    ("pts_ns", |alert| Field::json(&alert.pts_ns)),
    ("seq", |alert| Field::json(&alert.seq)),
    ("message", |alert| Field::text(&alert.message)),
    ("detections", |alert| Field::json(&alert.detections)),
    ("suppressed", |alert| Field::json(&alert.suppressed)),
    ("digest", |alert| Field::json(&alert.digest)),
    ("tags", |alert| Field::json(&alert.tags)),
];

/// A field's value.
enum Field {
    Text(String),
    /// Anything but a text, as JSON.
    Json(String),
}

impl Field {
    fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn json(value: &impl Serialize) -> Self {
        // An alert's parts are always JSON.
        Self::Json(serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()))
    }
}

/// A JSON text with placeholders. Whatever an alert holds, the result is JSON: inside a string, a placeholder becomes
/// the field's text, escaped; elsewhere it becomes a JSON value.
#[derive(Debug, Clone)]
pub struct BodyTemplate {
    text: String,
    parts: Vec<Part>,
}

impl PartialEq for BodyTemplate {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Field { value: Read, in_string: bool },
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A placeholder names no field of an alert.
    #[error("`{{{{{0}}}}}` names no field of an alert")]
    Unknown(String),
    /// A `{{` without its `}}`.
    #[error("a `{{{{` is not closed by `}}}}`")]
    Open,
    /// A `\` directly before a placeholder.
    #[error("a `\\` stands before a placeholder")]
    Escaped,
    /// It is no JSON once its placeholders are filled in; the line.
    #[error("it is no JSON with its placeholders filled in, at its line {0}")]
    Json(usize),
}

impl BodyTemplate {
    /// Parses a template, and checks that it makes JSON.
    ///
    /// # Errors
    /// A [`BodyError`], which shows nothing of the text but a placeholder's name.
    pub fn parse(text: &str) -> Result<Self, BodyError> {
        let (mut parts, mut rest, mut place) = (Vec::new(), text, Place::default());
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or(BodyError::Open)?;
            place.pass(before);
            if place.escaped {
                return Err(BodyError::Escaped);
            }
            let name = name.trim();
            let field = FIELDS.iter().find(|(field, _)| *field == name);
            let (_, value) = field.ok_or_else(|| BodyError::Unknown(shown(name)))?;
            parts.extend([Part::Text(before.to_owned()), Part::Field { value: *value, in_string: place.in_string }]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let template = Self { text: text.to_owned(), parts };
        for sample in samples() {
            serde_json::from_slice::<Value>(&template.render(&sample))
                .map_err(|error| BodyError::Json(error.line()))?;
        }
        Ok(template)
    }

    /// The body for an alert.
    pub fn render(&self, alert: &Alert) -> Vec<u8> {
        let mut out = String::with_capacity(self.text.len() + 256);
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { value, in_string } => match (value(alert), in_string) {
                    (Field::Json(json), false) => out.push_str(&json),
                    (Field::Text(text), false) => out.push_str(&Value::String(text).to_string()),
                    (Field::Json(text) | Field::Text(text), true) => {
                        let quoted = Value::String(text).to_string();
                        out.push_str(&quoted[1..quoted.len() - 1]);
                    }
                },
            }
        }
        out.into_bytes()
    }

    /// The names of all fields.
    pub fn fields() -> impl Iterator<Item = &'static str> + Clone {
        FIELDS.iter().map(|(name, _)| *name)
    }
}

/// Where in a JSON text a placeholder stands.
#[derive(Default)]
struct Place {
    in_string: bool,
    escaped: bool,
}

impl Place {
    fn pass(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = self.in_string,
                b'"' => self.in_string = !self.in_string,
                _ => {}
            }
        }
    }
}

/// A placeholder's name for a message; what does not look like one may be a secret.
fn shown(name: &str) -> String {
    let is_name = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_name { name.to_owned() } else { "…".to_owned() }
}

/// Alerts that differ in what decides whether the result is JSON: whether texts and numbers are empty or zero.
fn samples() -> [Alert; 2] {
    let seen = Detection::new("a \"b\"", 0, 0.5, BBox { x: 0.0, y: 0.0, width: 0.5, height: 0.5 });
    [("", 0, vec![]), ("\"\\\n{{x}}", 7, vec![seen])].map(|(text, number, detections)| Alert {
        id: AlertId::new(0, [0; 10]),
        level: Level::High,
        rule: text.into(),
        source: text.into(),
        key: text.into(),
        time: text.into(),
        pts_ns: number,
        seq: number,
        message: text.into(),
        detections,
        suppressed: number,
        digest: None,
        tags: vec![],
        picture: false,
        evidence: None,
        expires_seconds: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str) -> Result<Value, BodyError> {
        let [_, alert] = samples();
        BodyTemplate::parse(template).map(|template| serde_json::from_slice(&template.render(&alert)).unwrap())
    }

    #[test]
    fn a_placeholder_is_a_value_or_a_part_of_a_text() {
        let text = "\"\\\n{{x}}";
        for (template, expected) in [
            (r#"{"a": {{message}}}"#, json!({ "a": text })),
            (r#"{"a": "say {{message}}!"}"#, json!({ "a": format!("say {text}!") })),
            (r#"{"a": "\"{{message}}\\"}"#, json!({ "a": format!("\"{text}\\") })),
            (r#"{"a":{"b":{"c":{{seq}}}}}"#, json!({ "a": { "b": { "c": 7 } } })),
            (r#"["{{ seq }}/{{pts_ns}}", {{level}}, "{{level}}"]"#, json!(["7/7", "high", "high"])),
            (r#"{"{{source}}": [{{detections}}, {{suppressed}}]}"#, json!({ text: [samples()[1].detections, 7] })),
            (r#"{{alert}}"#, json!(samples()[1])),
            (r#"{"raw": "{{alert}}"}"#, json!({ "raw": serde_json::to_string(&samples()[1]).unwrap() })),
            (r#"{"none": 1}"#, json!({ "none": 1 })),
        ] {
            assert_eq!(filled(template), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_makes_no_json_is_refused_and_shows_nothing_of_the_text() {
        for (template, error) in [
            (r#"{"a": {{mesage}}}"#, BodyError::Unknown("mesage".into())),
            (r#"{"a": {{C4n4ry 1}}}"#, BodyError::Unknown("…".into())),
            (r#"{"a": {{}}}"#, BodyError::Unknown(String::new())),
            (r#"{"a": {{message}"#, BodyError::Open),
            (r#"{"a": "\{{message}}"}"#, BodyError::Escaped),
            ("{\"a\": 1,\n\"b\" {{message}}}", BodyError::Json(2)),
            ("{{seq}}{{seq}}", BodyError::Json(1)),
            ("{{seq}}: 5", BodyError::Json(1)),
            ("{ {{seq}}: 5 }", BodyError::Json(1)),
            ("hello {{message}}", BodyError::Json(1)),
            ("", BodyError::Json(1)),
        ] {
            assert_eq!(filled(template), Err(error), "{template}");
        }
        assert_eq!(BodyError::Unknown("x".into()).to_string(), "`{{x}}` names no field of an alert");
        assert_eq!(BodyError::Open.to_string(), "a `{{` is not closed by `}}`");
    }

    #[test]
    fn every_field_of_an_alert_has_its_name() {
        let alert = json!(samples()[0]);
        let names: Vec<&String> = alert.as_object().unwrap().keys().collect();
        for name in names {
            assert!(BodyTemplate::fields().any(|field| field == name), "{name}");
        }
    }
}
