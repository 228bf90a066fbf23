//! The case of an accepted alert: what people and rules did about it, when its condition was seen, and whether it was
//! true. A pure value: time is an argument.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{Alert, one_line};

/// Changes that a case remembers, the newest.
pub const CASE_CHANGES_MAX: usize = 20;
/// Maximum bytes of a note.
pub const NOTE_BYTES_MAX: usize = 1_000;
/// Maximum bytes of the name of who changed it.
const WHO_BYTES_MAX: usize = 256;

/// Where a case stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CaseState {
    /// Nobody has taken it up.
    #[default]
    Open,
    /// Somebody has taken it up.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl CaseState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Open, Self::Acknowledged, Self::Resolved];

    /// The word used in JSON and by the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

impl FromStr for CaseState {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or(())
    }
}

impl fmt::Display for CaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What can be done with a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CaseStep {
    /// To take it up.
    Acknowledge,
    /// To end it.
    Resolve,
    /// To open it again.
    Reopen,
    /// To say that the alert was true.
    True,
    /// To say that the alert was false.
    False,
}

impl CaseStep {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
            Self::Reopen => "reopen",
            Self::True => "true",
            Self::False => "false",
        }
    }

    /// The state that it leads to; `None` for a verdict.
    fn leads_to(self) -> Option<CaseState> {
        match self {
            Self::Acknowledge => Some(CaseState::Acknowledged),
            Self::Resolve => Some(CaseState::Resolved),
            Self::Reopen => Some(CaseState::Open),
            Self::True | Self::False => None,
        }
    }
}

/// Who changes a case, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct By {
    /// The token's name, `loopback` or `command line`, after the name of the person if that was given: `Ana (loopback)`;
    /// or `rule` and the rule's name.
    pub who: String,
    /// When, RFC 3339 UTC with milliseconds.
    #[serde(with = "instant")]
    #[schema(value_type = String)]
    pub at: u64,
    /// Why, if it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub note: Option<String>,
}

impl By {
    /// Shortens what is too long.
    pub fn new(who: &str, at_ms: u64, note: Option<&str>) -> Self {
        let short = |text: &str, most: usize| one_line(&text[..text.floor_char_boundary(most)]).into_owned();
        let note = note.map(str::trim).filter(|note| !note.is_empty()).map(|note| short(note, NOTE_BYTES_MAX));
        Self { who: short(who, WHO_BYTES_MAX), at: at_ms, note }
    }

    /// The name for a change by this person, if one is named, with what it came by: a token, the command line.
    pub fn person(name: Option<&str>, by: &str) -> String {
        match name.map(str::trim).filter(|name| !name.is_empty()) {
            // Shortened, so that what it came by stays.
            Some(name) => format!("{} ({by})", &name[..name.floor_char_boundary(WHO_BYTES_MAX / 2)]),
            None => by.to_owned(),
        }
    }

    /// A rule, which ended the condition itself.
    pub fn rule(rule: &str, at_ms: u64) -> Self {
        Self::new(&format!("rule {rule}"), at_ms, None)
    }
}

/// One change of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CaseChange {
    /// What was done.
    pub step: CaseStep,
    /// By whom, when and why.
    pub by: By,
}

/// Whether an alert was true, as a person said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CaseVerdict {
    /// Whether it was.
    pub correct: bool,
    /// Who said so, when and why.
    pub by: By,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Case {
    /// Where it stands.
    pub state: CaseState,
    /// When its condition was first seen, RFC 3339 UTC with milliseconds.
    #[serde(with = "instant")]
    #[schema(value_type = String)]
    pub first: u64,
    /// When its condition was last seen.
    #[serde(with = "instant")]
    #[schema(value_type = String)]
    pub last: u64,
    /// How often its condition was raised again, and suppressed, since the alert.
    pub count: u64,
    /// Whether the alert was true, if anybody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub verdict: Option<CaseVerdict>,
    /// What was done, oldest first; the last twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<CaseChange>,
}

/// Why a step is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CaseRefused {
    /// No alert has this id.
    #[error("there is no alert with this id among those that are kept")]
    Unknown,
    /// It is over.
    #[error("it is resolved already: reopen it first")]
    Resolved,
}

impl Case {
    /// The case of an alert about which nothing was done.
    pub fn of(alert: &Alert) -> Self {
        let (first, last) = match &alert.digest {
            Some(digest) => (&digest.first, &digest.last),
            None => (&alert.time, &alert.time),
        };
        let ms = |time: &str| instant::parse(time).unwrap_or(alert.id.unix_ns() / 1_000_000);
        let state = CaseState::Open;
        Self { state, first: ms(first), last: ms(last), count: 0, verdict: None, changes: Vec::new() }
    }

    /// Approximate memory usage in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let of = |by: &By| by.who.len() + by.note.as_ref().map_or(0, String::len);
        let changes = self.changes.iter().map(|change| size_of::<CaseChange>() + of(&change.by)).sum::<usize>();
        size_of::<Self>() + changes + self.verdict.as_ref().map_or(0, |verdict| of(&verdict.by))
    }

    /// Notes that its condition was raised again. A clock that was set back changes nothing.
    pub fn seen(&mut self, at_ms: u64) {
        self.last = self.last.max(at_ms);
        self.count += 1;
    }

    /// Takes a step; returns whether it changed anything: a step that was taken already has no effect.
    ///
    /// # Errors
    /// [`CaseRefused::Resolved`] when a resolved one is to be acknowledged. Nothing has changed then.
    pub fn take(&mut self, step: CaseStep, by: By) -> Result<bool, CaseRefused> {
        match step.leads_to() {
            Some(CaseState::Acknowledged) if self.state == CaseState::Resolved => return Err(CaseRefused::Resolved),
            Some(state) if self.state == state => return Ok(false),
            Some(state) => self.state = state,
            None => {
                let correct = step == CaseStep::True;
                let is_same = |known: &CaseVerdict| known.correct == correct && known.by.note == by.note;
                if self.verdict.as_ref().is_some_and(is_same) {
                    return Ok(false);
                }
                self.verdict = Some(CaseVerdict { correct, by: by.clone() });
            }
        }
        if self.changes.len() >= CASE_CHANGES_MAX {
            self.changes.remove(0);
        }
        self.changes.push(CaseChange { step, by });
        Ok(true)
    }
}

/// Unix milliseconds as RFC 3339 text, in JSON.
mod instant {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use crate::types::{rfc3339, since_epoch};

    pub(super) fn parse(text: &str) -> Option<u64> {
        u64::try_from(since_epoch(text)?.as_millis()).ok()
    }

    pub(super) fn serialize<S: Serializer>(at_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(*at_ms))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| de::Error::custom("not a time as RFC 3339 writes it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::rfc3339;

    fn by(at: u64) -> By {
        By::new("ops", at, None)
    }

    #[test]
    fn a_step_leads_from_every_state_to_its_own_or_is_refused() {
        use CaseState::{Acknowledged, Open, Resolved};
        use CaseStep::{Acknowledge, Reopen, Resolve};
        for (from, step, want) in [
            (Open, Acknowledge, Ok((true, Acknowledged))),
            (Open, Resolve, Ok((true, Resolved))),
            (Open, Reopen, Ok((false, Open))),
            (Acknowledged, Acknowledge, Ok((false, Acknowledged))),
            (Acknowledged, Resolve, Ok((true, Resolved))),
            (Acknowledged, Reopen, Ok((true, Open))),
            (Resolved, Acknowledge, Err(CaseRefused::Resolved)),
            (Resolved, Resolve, Ok((false, Resolved))),
            (Resolved, Reopen, Ok((true, Open))),
        ] {
            let mut case = Case { state: from, ..Case::of(&Alert::sample("m")) };
            let before = case.clone();
            let taken = case.take(step, by(7));
            assert_eq!(taken.map(|changed| (changed, case.state)), want, "{from} {step:?}");
            match taken {
                Ok(true) => assert_eq!(case.changes, [CaseChange { step, by: by(7) }], "{from} {step:?}"),
                _ => assert_eq!(case, before, "{from} {step:?}"),
            }
        }
    }

    #[test]
    fn the_last_verdict_counts_and_changes_no_state() {
        let mut case = Case::of(&Alert::sample("m"));
        assert_eq!(case.take(CaseStep::Resolve, by(1)), Ok(true));
        assert_eq!(case.take(CaseStep::True, by(2)), Ok(true));
        assert_eq!(case.take(CaseStep::True, by(3)), Ok(false), "it was said already");
        let noted = By::new("ops", 4, Some(" a cat \n"));
        assert_eq!(case.take(CaseStep::False, noted.clone()), Ok(true));
        assert_eq!(case.verdict, Some(CaseVerdict { correct: false, by: noted }));
        assert_eq!(case.verdict.as_ref().and_then(|verdict| verdict.by.note.as_deref()), Some("a cat"));
        assert_eq!((case.state, case.changes.len()), (CaseState::Resolved, 3));
    }

    #[test]
    fn a_case_counts_what_is_raised_again_and_no_clock_takes_its_last_time_back() {
        let mut case = Case::of(&Alert::sample("m"));
        let first = case.first;
        assert_eq!(rfc3339(first), Alert::sample("m").time);
        case.seen(first + 5_000);
        case.seen(first - 9_000);
        assert_eq!((case.first, case.last, case.count), (first, first + 5_000, 2));
    }

    #[test]
    fn what_a_case_remembers_is_bounded_and_survives_json() {
        let mut case = Case::of(&Alert::sample("m"));
        let long = "é".repeat(NOTE_BYTES_MAX);
        for n in 0..2 * CASE_CHANGES_MAX as u64 {
            let step = if n % 2 == 0 { CaseStep::Resolve } else { CaseStep::Reopen };
            assert_eq!(case.take(step, By::new(&long, n, Some(&long))), Ok(true));
        }
        assert_eq!(case.changes.len(), CASE_CHANGES_MAX);
        assert_eq!(case.changes[0].by.at, CASE_CHANGES_MAX as u64, "the oldest are forgotten");
        let text = serde_json::to_string(&case).unwrap();
        assert!(text.len() < CASE_CHANGES_MAX * (NOTE_BYTES_MAX + WHO_BYTES_MAX + 100), "{}", text.len());
        assert_eq!(serde_json::from_str::<Case>(&text).unwrap(), case);
        assert!(text.contains("\"first\":\"2026-01-01T00:00:00.000Z\""), "{text}");
    }
}
