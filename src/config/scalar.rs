//! Types a scalar by its key: strictly, because `yes`, `0755` and `1_000` mean different things to different parsers;
//! also its limits and the wording for messages.

use serde_json::{Number, Value as Json};

use super::tree::Style;

/// Whether a schema accepts values of a kind.
pub(super) fn allows(schema: &Json, kind: &str) -> bool {
    match schema.get("type") {
        Some(Json::String(one)) => one == kind,
        Some(Json::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    }
}

/// The kind of a scalar by its notation.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Text,
    Number,
    Boolean,
}

/// The kind of a scalar by its notation, for messages.
pub(super) fn kind_of(text: &str, style: Style) -> Kind {
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

/// Decimal digits without leading zeros or separators, which mean the same in every parser.
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

/// The typed value of a scalar for a schema, or `None` if it does not match.
pub(super) fn typed(text: &str, style: Style, schema: &Json) -> Option<Json> {
    let open = style != Style::Quoted;
    if open && allows(schema, "boolean") {
        let word = if style == Style::Raw { raw_boolean(text) } else { boolean(text) };
        if let Some(word) = word {
            return Some(Json::Bool(word));
        }
    }
    let is_text = allows(schema, "string") || (schema.get("enum").is_some() && schema.get("type").is_none());
    // A key that accepts text or a number keeps it as written.
    if is_text && (style != Style::Plain || kind_of(text, style) == Kind::Text) {
        return Some(Json::String(text.to_owned()));
    }
    if is_text && kind_of(text, style) == Kind::Number && (allows(schema, "integer") || allows(schema, "number")) {
        return Some(Json::String(text.to_owned()));
    }
    if open && allows(schema, "integer") && is_integer(text) {
        return number(text).filter(|n| !n.is_f64()).map(Json::Number);
    }
    if open && allows(schema, "number") {
        return number(text).map(Json::Number);
    }
    None
}

/// The environment and the command line have only text, so the usual words are accepted as well.
fn raw_boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The largest integer up to which a script's numbers are exact.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// A scalar of any type, typed by its notation. A value from a reference or the environment has no quotes, so it is
/// typed as if written plainly; but a telephone number, a number with an exponent, or one with more digits than a
/// script's number can hold, remains text.
pub(super) fn free_scalar(text: &str, style: Style) -> Json {
    if style == Style::Quoted {
        return Json::String(text.to_owned());
    }
    if style == Style::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Json::Null;
    }
    if let Some(word) = boolean(text) {
        return Json::Bool(word);
    }
    let exact = |number: &Number| {
        let written = !text.contains(|c: char| !matches!(c, '0'..='9' | '.' | '-')) && !text.ends_with('.');
        written && number.as_f64().is_some_and(|value| value.abs() < INTEGER_MAX)
    };
    match is_number(text).then(|| number(text)).flatten() {
        Some(number) if style == Style::Plain || exact(&number) => Json::Number(number),
        _ => Json::String(text.to_owned()),
    }
}

/// A kind of violated limit.
pub(super) enum Limit {
    Range,
    Word,
    Text,
}

/// The limit that a value violates, if any.
pub(super) fn limits(json: &Json, schema: &Json) -> Option<Limit> {
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
            // The only pattern in use requires a prefix.
            let start = schema.get("pattern").and_then(Json::as_str).and_then(|p| p.strip_prefix('^'));
            let elsewhere = start.is_some_and(|start| !text.starts_with(start));
            (short || long || elsewhere).then_some(Limit::Text)
        }
        _ => None,
    }
}

/// Describes what a key expects.
pub(super) fn expectation(schema: &Json) -> String {
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

/// Advice for a value that other parsers read as a number or boolean.
pub(super) fn advice(text: &str, style: Style, schema: &Json) -> Option<String> {
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
        let unit = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%' || c == ' ');
        if unit != text && is_number(unit) && style != Style::Quoted {
            return Some("write the number alone; its unit is that of the key".to_owned());
        }
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
            assert!(!free_scalar(text, Style::Plain).is_number(), "{text}");
        }
        assert_eq!(free_scalar("yes", Style::Plain), Json::String("yes".into()));
        assert_eq!(free_scalar("true", Style::Plain), Json::Bool(true));
        assert_eq!(free_scalar("true", Style::Quoted), Json::String("true".into()));
        assert_eq!(free_scalar("0.25", Style::Raw), Json::from(0.25));
        assert_eq!(free_scalar("-90210", Style::Raw), Json::from(-90210));
        for text in ["", "+4930123456", "123456789012345678", "123456789012345678901234567890", "12e5", "5."] {
            assert_eq!(free_scalar(text, Style::Raw), Json::String(text.into()));
        }
    }
}
