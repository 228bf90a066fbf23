//! Options inside a URI, `key=value`.

use crate::config::nearest::nearest;
use crate::config::secret;
use crate::config::source_uri::Refusal;

pub(super) fn pairs<'t>(text: &'t str, separators: &[char]) -> Result<Vec<(&'t str, &'t str)>, Refusal> {
    text.split(separators)
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.split_once('=').ok_or_else(|| {
                (format!("the option `{}` has no value", secret::in_text(part)), "options are written key=value".into())
            })
        })
        .collect()
}

pub(super) fn parse_integer(key: &str, value: &str, min: u64, max: u64) -> Result<u64, Refusal> {
    value
        .parse()
        .ok()
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| refuse(key, value, &format!("a whole number from {min} to {max}")))
}

pub(super) fn parse_bool(key: &str, value: &str) -> Result<bool, Refusal> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(refuse(key, value, "`true` or `false`")),
    }
}

/// Frames per second, as a number or a fraction.
pub(super) fn framerate(value: &str) -> Result<f64, Refusal> {
    let parsed = match value.split_once('/') {
        Some((n, d)) => n.parse::<f64>().ok().zip(d.parse::<f64>().ok()).map(|(n, d)| n / d),
        None => value.parse().ok(),
    };
    parsed
        .filter(|fps| (0.01..=240.0).contains(fps))
        .ok_or_else(|| refuse("framerate", value, "a number or fraction from 0.01 to 240"))
}

pub(super) fn refuse(key: &str, value: &str, expected: &str) -> Refusal {
    (format!("`{key}` cannot be `{value}`"), format!("expected {expected}"))
}

pub(super) fn unknown_option(word: &str, known: &[&str], kind: &str) -> Refusal {
    let label = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}", known.join(", ")),
    };
    (format!("a {kind} source has no option `{word}`"), label)
}
