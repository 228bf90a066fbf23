//! Silences: for which alerts nobody is notified, from when to when, and why. Pure: time is an argument.
//!
//! A silence holds back the alerts that all of its matchers match, by the capture time of their frames: for a live
//! source that is the wall clock, and a recording is judged as it was recorded, so that it is judged equally each time.
//! A critical alert is held back by a silence that names the level only. A digest is never held back: what it stands
//! for was raised outside of the silence.

mod matcher;
mod request;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

pub use self::matcher::Matcher;
use self::request::Checked;
pub use self::request::{SilenceError, SilenceRequest};
use crate::types::{Alert, Level, Zone, rfc3339};

/// Maximum silences, ended ones included.
pub const SILENCES_MAX: usize = 1_000;
/// Maximum regular expressions of all silences.
const REGEXES_MAX: usize = 256;
/// How long a silence is listed after its end.
const KEPT_MS: u64 = 5 * 24 * 60 * 60 * 1_000;

/// One silence. It lasts from `starts_ms` until before `ends_ms`, in Unix milliseconds.
#[derive(Debug, Clone)]
pub struct Silence {
    id: Arc<str>,
    matchers: Vec<Matcher>,
    starts_ms: u64,
    ends_ms: u64,
    created_by: String,
    comment: String,
    /// Alerts held back in this process.
    suppressed: u64,
}

/// A silence as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SilenceBody {
    /// Its id.
    pub id: String,
    /// `pending`, `active` or `ended`.
    pub state: &'static str,
    /// What it matches: all of these, as they are written in a request.
    pub matchers: Vec<String>,
    /// When it starts, RFC 3339 UTC.
    #[schema(format = DateTime)]
    pub starts_at: String,
    /// When it ends, RFC 3339 UTC.
    #[schema(format = DateTime)]
    pub ends_at: String,
    /// Who created it: the name of the token, after the person's if the request has it.
    pub created_by: String,
    /// Why it was created.
    pub comment: String,
    /// Alerts that it has held back since the engine started.
    pub suppressed: u64,
}

/// A silence as it is saved.
#[derive(Debug, Serialize, Deserialize)]
struct SavedSilence {
    matchers: Vec<String>,
    starts_ms: u64,
    ends_ms: u64,
    created_by: String,
    comment: String,
}

impl Silence {
    /// Its id.
    pub(super) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Its JSON, for [`Silence::read`].
    pub(super) fn contents(&self) -> Option<Arc<str>> {
        let saved = SavedSilence {
            matchers: self.matchers.iter().map(ToString::to_string).collect(),
            starts_ms: self.starts_ms,
            ends_ms: self.ends_ms,
            created_by: self.created_by.clone(),
            comment: self.comment.clone(),
        };
        serde_json::to_string(&saved).ok().map(Arc::from)
    }

    /// Reads a saved one.
    fn read(id: Arc<str>, contents: &str) -> Result<Self, String> {
        let saved: SavedSilence = serde_json::from_str(contents).map_err(|error| error.to_string())?;
        let SavedSilence { matchers, starts_ms, ends_ms, created_by, comment } = saved;
        let matchers: Result<_, _> = matchers.iter().map(|matcher| Matcher::parse(matcher)).collect();
        let matchers = matchers.map_err(|error| error.message)?;
        Ok(Self { id, matchers, starts_ms, ends_ms, created_by, comment, suppressed: 0 })
    }

    /// How it is at this time.
    pub fn body(&self, now_ms: u64) -> SilenceBody {
        let state = match (now_ms < self.ends_ms, now_ms < self.starts_ms) {
            (false, _) => "ended",
            (true, true) => "pending",
            (true, false) => "active",
        };
        SilenceBody {
            id: self.id.to_string(),
            state,
            matchers: self.matchers.iter().map(ToString::to_string).collect(),
            starts_at: rfc3339(self.starts_ms),
            ends_at: rfc3339(self.ends_ms),
            created_by: self.created_by.clone(),
            comment: self.comment.clone(),
            suppressed: self.suppressed,
        }
    }

    fn has_ended(&self, now_ms: u64) -> bool {
        now_ms >= self.ends_ms
    }

    fn is_active(&self, at_ms: u64) -> bool {
        (self.starts_ms..self.ends_ms).contains(&at_ms)
    }

    fn regexes(&self) -> usize {
        self.matchers.iter().filter(|matcher| matcher.is_regex()).count()
    }

    /// Whether it matches this alert of a source with these zones, whenever it was raised.
    fn matches(&self, alert: &Alert, zones: &[Zone]) -> bool {
        let may_match = alert.level != Level::Critical || self.matchers.iter().any(Matcher::is_about_level);
        may_match && self.matchers.iter().all(|matcher| matcher.matches(alert, zones))
    }
}

/// How many silences hold now, for the status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct SilenceCount {
    /// Silences that hold now.
    pub active: usize,
    /// When the last of them ends, RFC 3339 UTC; null while none holds.
    #[schema(format = DateTime)]
    pub until: Option<String>,
}

/// All silences, in the order in which they were created.
#[derive(Debug, Default)]
pub(super) struct Silences {
    all: Vec<Silence>,
}

impl Silences {
    /// The id of the silence that holds this alert of a source with these zones back; it counts the alert then.
    pub(super) fn holds(&mut self, alert: &Alert, zones: &[Zone]) -> Option<String> {
        if self.all.is_empty() || alert.digest.is_some() {
            return None;
        }
        let at_ms = alert.id.unix_ns() / 1_000_000;
        let silence = self.all.iter_mut().find(|silence| silence.is_active(at_ms) && silence.matches(alert, zones))?;
        silence.suppressed += 1;
        Some(silence.id.to_string())
    }

    /// Checks and adds a silence.
    #[cfg(test)]
    fn add(
        &mut self,
        request: &SilenceRequest,
        created_by: &str,
        now_ms: u64,
        forgotten: &mut Vec<Arc<str>>,
    ) -> Result<Silence, SilenceError> {
        self.add_checked(request, request.check(now_ms)?, created_by, now_ms, forgotten)
    }

    /// Adds a silence whose request was checked. Ended ones make room for it: their ids are added to `forgotten`.
    pub(super) fn add_checked(
        &mut self,
        request: &SilenceRequest,
        checked: Checked,
        created_by: &str,
        now_ms: u64,
        forgotten: &mut Vec<Arc<str>>,
    ) -> Result<Silence, SilenceError> {
        let wanted = checked.matchers.iter().filter(|matcher| matcher.is_regex()).count();
        self.forget(now_ms, forgotten);
        while self.all.len() >= SILENCES_MAX || self.regexes() + wanted > REGEXES_MAX {
            let ended = self.all.iter().enumerate().filter(|(_, silence)| silence.has_ended(now_ms));
            let Some((oldest, _)) = ended.min_by_key(|(_, silence)| silence.ends_ms) else {
                return Err(SilenceError::full(&match self.all.len() >= SILENCES_MAX {
                    true => format!("there are {SILENCES_MAX} silences already"),
                    false => format!("the silences have {REGEXES_MAX} regular expressions already"),
                }));
            };
            forgotten.push(self.all.remove(oldest).id);
        }
        let silence = Silence {
            id: self.new_id(request, now_ms),
            matchers: checked.matchers,
            starts_ms: checked.starts_ms,
            ends_ms: checked.ends_ms,
            created_by: created_by.to_owned(),
            comment: request.comment.clone(),
            suppressed: 0,
        };
        self.all.push(silence.clone());
        Ok(silence)
    }

    fn regexes(&self) -> usize {
        self.all.iter().map(Silence::regexes).sum()
    }

    /// An id that no other one has: from the time and the text.
    fn new_id(&self, request: &SilenceRequest, now_ms: u64) -> Arc<str> {
        let ids = (0_u64..).map(|round| {
            let mut digest = Sha256::new();
            digest.update(now_ms.to_le_bytes());
            digest.update(round.to_le_bytes());
            request.matchers.iter().for_each(|matcher| digest.update(matcher));
            digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>()
        });
        let mut free = ids.filter(|id| self.all.iter().all(|silence| *silence.id != **id));
        free.next().unwrap_or_default().into()
    }

    /// Ends a silence now; one that has ended stays as it is. `None` if there is no such silence.
    pub(super) fn end(&mut self, id: &str, now_ms: u64) -> Option<Silence> {
        let silence = self.all.iter_mut().find(|silence| *silence.id == *id)?;
        silence.ends_ms = silence.ends_ms.min(now_ms);
        silence.starts_ms = silence.starts_ms.min(silence.ends_ms);
        Some(silence.clone())
    }

    /// All silences, the newest first.
    pub(super) fn list(&self) -> impl Iterator<Item = &Silence> {
        self.all.iter().rev()
    }

    /// How many hold at this time.
    pub(super) fn count(&self, now_ms: u64) -> SilenceCount {
        let active = || self.all.iter().filter(|silence| silence.is_active(now_ms));
        let until = active().map(|silence| silence.ends_ms).max();
        SilenceCount { active: active().count(), until: until.map(rfc3339) }
    }

    /// Forgets the silences that ended long ago, and adds their ids to `forgotten`.
    pub(super) fn forget(&mut self, now_ms: u64, forgotten: &mut Vec<Arc<str>>) {
        let is_old = |silence: &mut Silence| now_ms.saturating_sub(silence.ends_ms) > KEPT_MS;
        forgotten.extend(self.all.extract_if(.., is_old).map(|silence| silence.id));
    }

    /// Adds a silence that an earlier process saved; the text says why it cannot.
    pub(super) fn restore(&mut self, id: Arc<str>, contents: &str) -> Result<(), String> {
        let silence = Silence::read(id, contents)?;
        if self.all.len() >= SILENCES_MAX || self.regexes() + silence.regexes() > REGEXES_MAX {
            return Err("there are too many".to_owned());
        }
        // In their order again: ids have none.
        let at = self.all.partition_point(|other| other.starts_ms <= silence.starts_ms);
        self.all.insert(at, silence);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
