//! How a draft of an alert was decided on: who raised it, and the stages that it passed. Values only; `explained` reads
//! them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{Alert, AlertId, HeldBy, Level, one_line, rfc3339, seconds};

/// Maximum characters of a text that a draft brings along: its key, its message.
const TEXT_MAX: usize = 300;

/// The decision on one draft. Every stage but the last let it pass; the last one accepted it or held it back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Chain {
    /// The strategy that raised it; absent for a digest, and for the engine's own alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub by: Option<RaisedBy>,
    /// Its level.
    pub level: Level,
    /// Its key, up to 300 characters.
    pub key: String,
    /// Its message, up to 300 characters.
    pub message: String,
    /// The frame's sequence number in its source.
    pub seq: u64,
    /// How many equal decisions were made since the last one that was logged, and are not logged themselves.
    #[serde(default)]
    pub more: u64,
    /// The stages, in order.
    pub stages: Vec<Stage>,
}

/// The strategy that raised a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RaisedBy {
    /// Its name.
    pub strategy: String,
    /// The version that it declares.
    pub version: String,
    /// Its generation: how often it was replaced.
    pub generation: u64,
    /// The line of the script that raised it, `scripts/x.lua:12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub line: Option<String>,
}

/// What a draft is to its condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Novelty {
    /// The condition begins.
    New,
    /// It has a level, label or zone that the condition did not have.
    Changed,
    /// `alerts.repeat_seconds` have passed since its last alert.
    Reminder,
    /// The condition lasts, and this tells nothing new.
    Repeat,
}

/// One stage of a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// `alerts.enabled` is false.
    Disabled,
    /// Quiet hours hold lesser alerts back.
    QuietHours {
        /// Which entry of `alerts.quiet_hours`, from 1.
        entry: usize,
        /// The lowest level that passes.
        min_level: Level,
    },
    /// `alerts.min_confidence`.
    Confidence {
        /// Score of the best detection.
        #[serde(serialize_with = "short")]
        best: f32,
        /// The minimum.
        #[serde(serialize_with = "short")]
        min: f32,
    },
    /// Its condition: source, rule and key.
    Condition {
        /// What it is to its condition.
        is: Novelty,
        /// What is new: `level high`, `label car`, `zone yard`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        news: Option<String>,
        /// When the condition's last alert was raised, in Unix milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        told_ms: Option<u64>,
        /// How long the condition lasts without being raised, in milliseconds.
        window_ms: u64,
        /// Repeats since the condition's last alert.
        repeats: u64,
    },
    /// A silence of an operator.
    Silenced {
        /// The silence.
        id: String,
    },
    /// The limit on alerts of one rule of one source.
    Burst {
        /// `burst` or `critical`.
        by: HeldBy,
        /// Maximum alerts in the window.
        limit: u64,
        /// The window, in milliseconds.
        window_ms: u64,
        /// Alerts sent in the window, with this one if it was sent.
        used: u64,
    },
    /// It is a digest: it stands for alerts that a limit held back.
    Digest {
        /// The limit.
        by: HeldBy,
        /// How many.
        count: u64,
        /// The ids that they would have had; the first hundred.
        ids: Vec<AlertId>,
    },
    /// `alerts.max_alerts_per_minute`.
    Rate {
        /// Maximum alerts of all sources in a minute, or of its source if that is what held it back.
        limit: u64,
        /// Alerts sent in the last minute, with this one if it was sent.
        used: u64,
        /// Those of its source.
        of_source: u64,
    },
    /// Too many rules wait for their digest.
    DigestsFull,
    /// An alert with its id is still being delivered.
    Duplicate,
    /// A queue is full.
    QueueFull {
        /// Which.
        why: String,
    },
    /// It is accepted.
    Accepted {
        /// The handlers that get it.
        handlers: Vec<String>,
        /// The handlers whose `where` leaves it out.
        left_out: Vec<String>,
    },
}

impl Stage {
    /// The word used in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::QuietHours { .. } => "quiet_hours",
            Self::Confidence { .. } => "confidence",
            Self::Condition { .. } => "condition",
            Self::Silenced { .. } => "silenced",
            Self::Burst { .. } => "burst",
            Self::Digest { .. } => "digest",
            Self::Rate { .. } => "rate",
            Self::DigestsFull => "digests_full",
            Self::Duplicate => "duplicate",
            Self::QueueFull { .. } => "queue_full",
            Self::Accepted { .. } => "accepted",
        }
    }
}

impl Chain {
    /// The decision on a draft, without stages.
    pub fn new(by: Option<RaisedBy>, level: Level, key: &str, message: &str, seq: u64) -> Self {
        Self { by, level, key: cut(key), message: cut(message), seq, more: 0, stages: Vec::new() }
    }

    /// The decision on a digest.
    pub fn of_digest(alert: &Alert) -> Self {
        let mut chain = Self::new(None, alert.level, &alert.key, &alert.message, alert.seq);
        chain.stages.extend(alert.digest.as_ref().map(|digest| Stage::Digest {
            by: digest.reason,
            count: digest.count,
            ids: digest.ids.clone(),
        }));
        chain
    }

    /// The last stage: the one that accepted it or held it back.
    pub fn last(&self) -> Option<&Stage> {
        self.stages.last()
    }

    /// Whether it became an alert.
    pub fn is_accepted(&self) -> bool {
        matches!(self.last(), Some(Stage::Accepted { .. }))
    }

    /// One line per stage, each of which says whether it held the draft back.
    pub fn lines(&self) -> Vec<String> {
        let raised = self.by.as_ref().map(|by| {
            let line = by.line.as_ref().map_or_else(String::new, |line| format!(", at {}", one_line(line)));
            let version =
                if by.version == "0" { String::new() } else { format!(", version {}", one_line(&by.version)) };
            format!("raised by the strategy {}{version}{line}", one_line(&by.strategy))
        });
        let last = self.stages.len().saturating_sub(1);
        let stage = |(at, stage): (usize, &Stage)| match (at == last, stage) {
            (_, Stage::Accepted { .. } | Stage::Digest { .. }) => stage.to_string(),
            (true, _) => format!("{stage}: held back"),
            (false, _) => format!("{stage}: passed"),
        };
        let more = (self.more > 0).then(|| format!("{} more like it before it", self.more));
        raised.into_iter().chain(self.stages.iter().enumerate().map(stage)).chain(more).collect()
    }
}

/// The start of a text.
fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// Truncated, not rounded: 0.4999 is below 0.5.
fn score(value: f32) -> f32 {
    (value * 1e3).floor() / 1e3
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |ms: &u64| seconds(Duration::from_millis(*ms));
        match self {
            Self::Disabled => write!(f, "alerts are switched off (alerts.enabled)"),
            Self::QuietHours { entry, min_level } => {
                write!(f, "quiet hours (entry {entry} of alerts.quiet_hours) let alerts from level {min_level} on pass")
            }
            Self::Confidence { best, min } => {
                write!(f, "best detection {}, alerts.min_confidence is {min}", score(*best))
            }
            Self::Condition { is, news, told_ms, window_ms, repeats } => {
                condition(f, *is, news.as_deref(), *told_ms, &span(window_ms), *repeats)
            }
            Self::Silenced { id } => write!(f, "the silence {}", one_line(id)),
            Self::Burst { by, limit, window_ms, used } => write!(
                f,
                "{used} of at most {limit} alerts of this rule within {} are sent ({})",
                span(window_ms),
                by.key()
            ),
            Self::Digest { by, count, .. } => write!(f, "stands for {count} alerts that {} held back", by.key()),
            Self::Rate { limit, used, of_source } => write!(
                f,
                "{used} of at most {limit} alerts within a minute are sent, {of_source} of them of this source ({})",
                HeldBy::Rate.key()
            ),
            Self::DigestsFull => write!(f, "too many rules wait for their digest"),
            Self::Duplicate => write!(f, "an alert with this id is still being delivered"),
            Self::QueueFull { why } => write!(f, "{}", one_line(why)),
            Self::Accepted { handlers, left_out } => {
                match handlers.is_empty() {
                    true => write!(f, "accepted for no handler")?,
                    false => write!(f, "accepted for {}", one_line(&handlers.join(", ")))?,
                }
                match left_out.is_empty() {
                    true => Ok(()),
                    false => write!(f, "; left out by `where` of {}", one_line(&left_out.join(", "))),
                }
            }
        }
    }
}

fn condition(
    f: &mut fmt::Formatter<'_>,
    is: Novelty,
    news: Option<&str>,
    told_ms: Option<u64>,
    window: &str,
    repeats: u64,
) -> fmt::Result {
    let since = told_ms.map_or_else(String::new, |ms| format!(", told at {}", rfc3339(ms)));
    match is {
        Novelty::New if window == "0 s" => write!(f, "told each time (alerts.throttle_seconds is 0)"),
        Novelty::New => write!(f, "its condition begins, and lasts while it is raised within {window} again"),
        Novelty::Changed => {
            write!(f, "its condition lasts{since}, and has a new {}", one_line(news.unwrap_or("trait")))
        }
        Novelty::Reminder => write!(f, "its condition lasts{since}: a reminder is due (alerts.repeat_seconds)"),
        Novelty::Repeat => write!(f, "its condition lasts{since}: repeat {repeats}, none new within {window}"),
    }
}

/// A score with the digits that it is written with, also where it becomes a wider number.
fn short<S: serde::Serializer>(score: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(score.to_string().parse().unwrap_or_else(|_| f64::from(*score)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_keeps_its_word_in_json_and_says_something() {
        let stages = [
            Stage::Disabled,
            Stage::QuietHours { entry: 2, min_level: Level::High },
            Stage::Confidence { best: 0.4999, min: 0.5 },
            Stage::Condition { is: Novelty::Repeat, news: None, told_ms: Some(0), window_ms: 60_000, repeats: 3 },
            Stage::Silenced { id: "s1".into() },
            Stage::Burst { by: HeldBy::Burst, limit: 3, window_ms: 10_000, used: 3 },
            Stage::Digest { by: HeldBy::Rate, count: 4, ids: vec![AlertId::new(0, [1; 10])] },
            Stage::Rate { limit: 60, used: 60, of_source: 7 },
            Stage::DigestsFull,
            Stage::Duplicate,
            Stage::QueueFull { why: "full".into() },
            Stage::Accepted { handlers: vec!["a".into()], left_out: vec!["b".into()] },
        ];
        for stage in &stages {
            let json = serde_json::to_value(stage).unwrap();
            assert_eq!(json["stage"], stage.as_str());
            assert_eq!(serde_json::from_value::<Stage>(json).unwrap(), *stage);
            assert!(!stage.to_string().is_empty());
        }
        let mut chain = Chain::new(None, Level::Low, "k", "m", 0);
        chain.stages = stages[2..4].to_vec();
        assert_eq!(
            chain.lines(),
            [
                "best detection 0.499, alerts.min_confidence is 0.5: passed",
                "its condition lasts, told at 1970-01-01T00:00:00.000Z: repeat 3, none new within 60 s: held back",
            ]
        );
    }
}
