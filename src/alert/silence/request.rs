//! What a request for a silence has to say, and how it is checked. Pure: time is an argument.

use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Matcher;

/// Maximum matchers of one silence.
const MATCHERS_MAX: usize = 16;
/// Maximum characters of a comment.
const COMMENT_CHARS_MAX: usize = 1_000;
/// Longest time from now to the end of a silence.
const AHEAD_MAX_MS: u64 = 366 * 24 * 60 * 60 * 1_000;

/// A silence to create. Its end is a time or a duration.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SilenceRequest {
    /// What it matches, 1 to 16 of `FIELD OPERATOR "VALUE"`, all of which must match. The field is `source`, `rule`,
    /// `level`, `key`, `label` or `zone` (of any detection), the operator `=`, `!=`, `=~` or `!~` (a regular expression
    /// that fits the whole value).
    pub matchers: Vec<String>,
    /// When it starts, RFC 3339; now where it is left out.
    #[serde(default)]
    #[schema(format = DateTime, nullable = true)]
    pub starts_at: Option<String>,
    /// When it ends, RFC 3339.
    #[serde(default)]
    #[schema(format = DateTime, nullable = true)]
    pub ends_at: Option<String>,
    /// How long it lasts, as in `2h` or `1day 30m`.
    #[serde(default)]
    #[schema(nullable = true)]
    pub duration: Option<String>,
    /// Why it is created, up to 1,000 characters.
    #[serde(default)]
    pub comment: String,
    /// Who creates it: a person's name, kept before that of the token.
    #[serde(default)]
    #[schema(nullable = true)]
    pub by: Option<String>,
}

/// Why a silence is not created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilenceError {
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// Whether there are too many silences, and nothing is wrong with this one.
    pub is_full: bool,
}

impl SilenceError {
    pub(super) fn new(message: &str, hint: &str) -> Self {
        Self { message: message.to_owned(), hint: hint.to_owned(), is_full: false }
    }

    pub(super) fn full(message: &str) -> Self {
        Self { is_full: true, ..Self::new(message, "end one first: `dsengine silence list` shows them") }
    }
}

/// A request that was checked.
#[derive(Debug)]
pub(in crate::alert) struct Checked {
    pub(super) matchers: Vec<Matcher>,
    pub(super) starts_ms: u64,
    pub(super) ends_ms: u64,
}

impl SilenceRequest {
    pub(in crate::alert) fn check(&self, now_ms: u64) -> Result<Checked, SilenceError> {
        if self.matchers.is_empty() || self.matchers.len() > MATCHERS_MAX {
            let message = format!("a silence has 1 to {MATCHERS_MAX} matchers, not {}", self.matchers.len());
            return Err(SilenceError::new(&message, "write what to silence, as in source=\"gate\""));
        }
        let matchers: Result<Vec<_>, _> = self.matchers.iter().map(|text| Matcher::parse(text)).collect();
        let matchers = matchers?;
        if matchers.iter().all(Matcher::matches_nothing) {
            let message = "the matchers match an alert that has nothing in their fields: it would silence nearly all";
            let hint = "add one with a value, as in source=\"gate\" or rule=~\".+\"";
            return Err(SilenceError::new(message, hint));
        }
        if self.comment.chars().count() > COMMENT_CHARS_MAX {
            let message = format!("comment: longer than {COMMENT_CHARS_MAX} characters");
            return Err(SilenceError::new(&message, "say it in fewer words"));
        }
        let (starts_ms, ends_ms) = self.times(now_ms)?;
        Ok(Checked { matchers, starts_ms, ends_ms })
    }

    fn times(&self, now_ms: u64) -> Result<(u64, u64), SilenceError> {
        let starts_ms = self.starts_at.as_deref().map_or(Ok(now_ms), |text| time("starts_at", text))?;
        let ends_ms = match (self.ends_at.as_deref(), self.duration.as_deref()) {
            (Some(text), None) => time("ends_at", text)?,
            (None, Some(text)) => starts_ms.saturating_add(duration(text)?),
            (Some(_), Some(_)) => {
                return Err(SilenceError::new("both `ends_at` and `duration` are given", "leave one of them out"));
            }
            (None, None) => {
                return Err(SilenceError::new("the end is missing", "say `duration`, as in 2h, or `ends_at`"));
            }
        };
        if ends_ms <= starts_ms || ends_ms <= now_ms {
            let what = if ends_ms <= starts_ms { "it ends before it starts" } else { "it has ended already" };
            return Err(SilenceError::new(what, "times are RFC 3339, with their zone"));
        }
        if ends_ms - now_ms > AHEAD_MAX_MS {
            let hint = "a rule that nobody wants is switched off with `enabled: false`";
            return Err(SilenceError::new("it ends more than a year from now", hint));
        }
        Ok((starts_ms, ends_ms))
    }
}

fn time(key: &str, text: &str) -> Result<u64, SilenceError> {
    let parsed: Option<Timestamp> = text.parse().ok();
    parsed.and_then(|time| u64::try_from(time.as_millisecond()).ok()).ok_or_else(|| {
        let message = format!("{key}: `{}` is no time", crate::types::one_line(text));
        SilenceError::new(&message, "write it as RFC 3339, as in 2026-01-31T18:00:00Z")
    })
}

fn duration(text: &str) -> Result<u64, SilenceError> {
    let parsed = humantime::parse_duration(text).ok();
    parsed.and_then(|long| u64::try_from(long.as_millis()).ok()).ok_or_else(|| {
        let message = format!("duration: `{}` is no duration", crate::types::one_line(text));
        SilenceError::new(&message, "write it as 45m, 2h or 1day 6h")
    })
}
