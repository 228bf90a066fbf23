//! One condition of a silence on an alert: `FIELD OPERATOR "VALUE"`, as Alertmanager writes it. Pure.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::SilenceError;
use crate::types::{Alert, Level, Zone};

/// Maximum bytes of one matcher.
const MATCHER_BYTES_MAX: usize = 1_024;
/// Maximum bytes of one compiled regular expression.
const REGEX_BYTES_MAX: usize = 128 << 10;

/// The names of the fields.
const NAMES: [&str; 6] = ["source", "rule", "level", "key", "label", "zone"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Source,
    Rule,
    Level,
    Key,
    /// The label of any detection.
    Label,
    /// A zone of the source with the foot of any detection in it.
    Zone,
}

const FIELDS: [Field; 6] = [Field::Source, Field::Rule, Field::Level, Field::Key, Field::Label, Field::Zone];

#[derive(Debug, Clone)]
enum Test {
    Is,
    IsNot,
    Fits(Regex),
    FitsNot(Regex),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Matcher {
    field: Field,
    test: Test,
    value: String,
}

impl Matcher {
    /// Reads a matcher: `source="gate"`, `rule=~"system\..*"`, `level!="low"`. The quotation marks may be left out.
    ///
    /// # Errors
    /// What is wrong with it, naming the matcher.
    pub fn parse(text: &str) -> Result<Self, SilenceError> {
        if text.len() > MATCHER_BYTES_MAX {
            let start: String = text.chars().take(40).collect();
            let what = format!("is longer than {MATCHER_BYTES_MAX} bytes");
            return Err(wrong(&start, &what, "write several silences, or a shorter regular expression"));
        }
        let trimmed = text.trim();
        let end =
            trimmed.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(trimmed.len());
        let (name, rest) = trimmed.split_at(end);
        let rest = rest.trim_start();
        // The longer ones first.
        let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| rest.starts_with(operator));
        let Some(operator) = operator else {
            return Err(wrong(text, "has no operator", "write FIELD=VALUE, with one of =, !=, =~ and !~"));
        };
        let field = FIELDS.into_iter().zip(NAMES).find(|(_, known)| *known == name).map(|(field, _)| field);
        let Some(field) = field else {
            let what = if name.is_empty() { "names no field".to_owned() } else { format!("names no field: `{name}`") };
            return Err(wrong(text, &what, &format!("the fields are {}", NAMES.join(", "))));
        };
        let value = unquoted(rest[operator.len()..].trim_start()).map_err(|what| wrong(text, what, QUOTES))?;
        if field == Field::Level && matches!(operator, "=" | "!=") && value.parse::<Level>().is_err() {
            let levels = Level::ALL.map(Level::as_str).join(", ");
            return Err(wrong(text, "names no level", &format!("the levels are {levels}")));
        }
        let test = match operator {
            "=" => Test::Is,
            "!=" => Test::IsNot,
            "=~" => Test::Fits(anchored(text, &value)?),
            _ => Test::FitsNot(anchored(text, &value)?),
        };
        Ok(Self { field, test, value })
    }

    /// The field and its value, if it matches that only.
    pub fn exactly(&self) -> Option<(&'static str, &str)> {
        let name = FIELDS.into_iter().zip(NAMES).find(|(field, _)| *field == self.field)?.1;
        matches!(self.test, Test::Is).then_some((name, &*self.value))
    }

    pub(super) fn is_regex(&self) -> bool {
        matches!(self.test, Test::Fits(_) | Test::FitsNot(_))
    }

    pub(super) fn is_about_level(&self) -> bool {
        self.field == Field::Level
    }

    /// Whether it matches an alert that has nothing in its field: alone, such a matcher matches nearly every alert. A
    /// matcher of the level is meant so.
    pub(super) fn matches_nothing(&self) -> bool {
        self.field != Field::Level && self.test("")
    }

    /// Whether it matches an alert of a source with these zones.
    pub(super) fn matches(&self, alert: &Alert, zones: &[Zone]) -> bool {
        match self.field {
            Field::Source => self.test(alert.source.as_str()),
            Field::Rule => self.test(&alert.rule),
            Field::Level => self.test(alert.level.as_str()),
            Field::Key => self.test(&alert.key),
            Field::Label => self.test_all(alert.detections.iter().map(|detection| &*detection.label)),
            Field::Zone => {
                let feet = alert.detections.iter().map(|detection| detection.bbox.bottom_center());
                let feet: Vec<_> = feet.collect();
                let inside = zones.iter().filter(|zone| feet.iter().any(|foot| zone.polygon.contains(*foot)));
                self.test_all(inside.map(|zone| &*zone.name))
            }
        }
    }

    /// Tests a field with any number of values: one that fits is enough, and one that is refused too many.
    fn test_all<'v>(&self, values: impl Iterator<Item = &'v str>) -> bool {
        let mut values = values.peekable();
        match (values.peek().is_none(), &self.test) {
            (true, _) => self.test(""),
            (false, Test::Is | Test::Fits(_)) => values.any(|value| self.test(value)),
            (false, Test::IsNot | Test::FitsNot(_)) => values.all(|value| self.test(value)),
        }
    }

    fn test(&self, text: &str) -> bool {
        match &self.test {
            Test::Is => text == self.value,
            Test::IsNot => text != self.value,
            Test::Fits(regex) => regex.is_match(text),
            Test::FitsNot(regex) => !regex.is_match(text),
        }
    }

    fn operator(&self) -> &'static str {
        match self.test {
            Test::Is => "=",
            Test::IsNot => "!=",
            Test::Fits(_) => "=~",
            Test::FitsNot(_) => "!~",
        }
    }
}

/// As [`Matcher::parse`] reads it.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FIELDS.into_iter().zip(NAMES).find(|(field, _)| *field == self.field).map_or("", |(_, name)| name);
        let value = self.value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(f, "{name}{}\"{value}\"", self.operator())
    }
}

const QUOTES: &str = "write the value in quotation marks, as in source=\"gate\", and a quotation mark in it as \\\"";

/// The value without its quotation marks. A backslash before a letter that it does not change stays, as in `\d`.
fn unquoted(text: &str) -> Result<String, &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        return if text.contains('"') { Err("has a quotation mark in its value") } else { Ok(text.to_owned()) };
    };
    let (mut value, mut letters) = (String::new(), quoted.chars());
    loop {
        match letters.next() {
            None => return Err("has no quotation mark at its end"),
            Some('"') if letters.as_str().is_empty() => return Ok(value),
            Some('"') => return Err("goes on after its quotation mark"),
            Some('\\') => match letters.next() {
                Some('n') => value.push('\n'),
                Some(letter @ ('\\' | '"')) => value.push(letter),
                Some(letter) => value.extend(['\\', letter]),
                None => return Err("has no quotation mark at its end"),
            },
            Some(letter) => value.push(letter),
        }
    }
}

/// A regular expression that fits whole values only.
fn anchored(text: &str, pattern: &str) -> Result<Regex, SilenceError> {
    let build =
        |pattern: &str| RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build();
    // Alone first: a surplus parenthesis would take the anchors apart.
    build(pattern).and_then(|_| build(&format!(r"\A(?:{pattern})\z"))).map_err(|error| {
        let reason = match error {
            regex::Error::CompiledTooBig(_) => "it becomes too large".to_owned(),
            error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        };
        wrong(text, &format!("has no regular expression: {reason}"), "a value that is not one is compared with = or !=")
    })
}

fn wrong(matcher: &str, what: &str, hint: &str) -> SilenceError {
    SilenceError::new(&format!("the matcher `{}` {what}", crate::types::one_line(matcher)), hint)
}
