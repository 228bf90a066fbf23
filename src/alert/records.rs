//! The log behind `explain`, as it was read: of one alert, how it was decided on and what became of it; of a source and
//! a time, what was raised and what held it back. Values only: the log is in memory (`recent`) or in a journal.

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::Decided;
use super::chain::{Chain, Stage};
use super::seen::{Seen, Work};
use crate::types::{Alert, AlertId, count, one_line, rfc3339};

pub use page::{Asked, Page, REVIEW_MAX, REVIEW_USUAL};

/// A failed delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Attempt {
    /// The alert.
    pub id: AlertId,
    /// The handler.
    pub handler: String,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// What the receiver answered, or why it did not.
    pub error: String,
}

/// What became of an alert at one handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Settled {
    /// The alert.
    pub id: AlertId,
    /// The handler.
    pub handler: String,
    /// `delivered`, `given_up`, `queue_full`, `handler_removed` or `pending`.
    pub how: String,
    /// When, in Unix milliseconds, if it is known.
    #[schema(nullable = true)]
    pub at_ms: Option<u64>,
}

/// A part of the log, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Decisions on drafts.
    pub decided: Vec<Arc<Decided>>,
    /// Failed deliveries.
    pub attempts: Vec<Attempt>,
    /// Outcomes.
    pub settled: Vec<Settled>,
    /// Accepted alerts whose decisions may be gone from the log.
    pub alerts: Vec<Alert>,
}

/// How an alert, or a draft that became none, was decided on and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Explained {
    /// Its id.
    pub id: AlertId,
    /// Its source.
    pub source: String,
    /// Its rule.
    pub rule: String,
    /// Capture time of its frame, RFC 3339 UTC with milliseconds.
    pub time: String,
    /// The decision; null if the log has it no more.
    pub chain: Option<Chain>,
    /// The digest that tells of it, if a limit held it back and the digest is in the log.
    pub told_in: Option<AlertId>,
    /// Failed deliveries.
    pub attempts: Vec<Attempt>,
    /// What became of it at each handler.
    pub handlers: Vec<Settled>,
    /// The same in sentences.
    pub lines: Vec<String>,
}

/// Why there is not one alert to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOne {
    /// None has this id.
    None,
    /// More than one has it in their ids: these, in words.
    Many(String),
}

/// The first alerts of several that may be meant.
pub fn candidates<'a>(ids: impl IntoIterator<Item = &'a AlertId>) -> String {
    let ids: Vec<&str> = ids.into_iter().take(CANDIDATES_MAX + 1).map(AlertId::as_str).collect();
    let more = if ids.len() > CANDIDATES_MAX { ", …" } else { "" };
    format!("{}{more}", ids[..ids.len().min(CANDIDATES_MAX)].join(", "))
}

/// Maximum alerts that are listed where more than one may be meant.
pub const CANDIDATES_MAX: usize = 5;

/// What was raised on a source in some time, and what held it back.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Review {
    /// The source.
    pub source: String,
    /// The time, in Unix milliseconds.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// More was decided before that time, up to this moment: give it as `to` for the next page. Null if nothing was.
    pub next_ms: Option<u64>,
    /// Decisions of one kind, those of each rule together.
    pub groups: Vec<Group>,
    /// Frames that were judged, as far as the log says: it says so once a minute.
    pub frames: u64,
    /// What each strategy did with them.
    pub strategies: BTreeMap<String, Work>,
}

/// Decisions that ended at the same stage.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Group {
    /// The rule.
    pub rule: String,
    /// The stage at which they ended; `accepted` for those that became alerts.
    pub stage: String,
    /// How many.
    pub count: u64,
    /// Capture time of the first, in Unix milliseconds.
    pub first_ms: u64,
    /// Capture time of the last.
    pub last_ms: u64,
    /// The newest one.
    pub newest: AlertId,
    /// What the stage said of it.
    pub text: String,
}

/// Whether an id begins or ends so.
fn is_it(id: &AlertId, part: &str) -> bool {
    id.as_str().starts_with(part) || id.as_str().ends_with(part)
}

fn chain_of(decided: &Decided) -> Option<Chain> {
    if decided.rule.is_empty() { None } else { serde_json::from_str(&decided.contents).ok() }
}

impl Records {
    /// Adds newer records, which may contain some of the same.
    #[must_use]
    pub fn with(mut self, newer: Self) -> Self {
        let known: BTreeSet<(&AlertId, &str)> =
            self.decided.iter().map(|decided| (&decided.id, decided.contents.as_str())).collect();
        let is_new = |decided: &Arc<Decided>| !known.contains(&(&decided.id, decided.contents.as_str()));
        let new: Vec<_> = newer.decided.into_iter().filter(is_new).collect();
        self.decided.extend(new);
        self.attempts.extend(newer.attempts);
        self.settled.extend(newer.settled);
        self.alerts.extend(newer.alerts);
        self
    }

    /// Explains the alert with this id, or the only one whose id begins or ends so.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn explain(&self, part: &str) -> Result<Explained, NotOne> {
        let part = part.to_ascii_lowercase();
        if part.is_empty() {
            return Err(NotOne::None);
        }
        let decided = self.decided.iter().filter(|decided| !decided.rule.is_empty()).map(|decided| &decided.id);
        let ids: BTreeSet<&AlertId> =
            decided.chain(self.alerts.iter().map(|alert| &alert.id)).filter(|id| is_it(id, &part)).collect();
        let exact = ids.iter().find(|id| id.as_str() == part).copied();
        match exact.or_else(|| ids.first().copied()) {
            None => Err(NotOne::None),
            Some(_) if exact.is_none() && ids.len() > 1 => Err(NotOne::Many(candidates(ids))),
            Some(id) => self.explained(id).ok_or(NotOne::None),
        }
    }

    /// Explains every alert in the log, in order of time.
    pub fn explain_all(&self) -> Vec<Explained> {
        // The last one of an id: a recording that is played again gives the same ids.
        let drafts = self.decided.iter().filter(|decided| !decided.rule.is_empty());
        let last: BTreeMap<&AlertId, &Arc<Decided>> = drafts.map(|decided| (&decided.id, decided)).collect();
        let mut all: Vec<&Arc<Decided>> = last.into_values().collect();
        all.sort_by_key(|decided| (decided.at_ms, decided.source.as_str(), decided.id.as_str()));
        let digests = self.digests();
        all.into_iter().map(|decided| self.of_draft(decided, &digests)).collect()
    }

    fn explained(&self, id: &AlertId) -> Option<Explained> {
        let decided = self.decided.iter().rev().find(|decided| decided.id == *id && !decided.rule.is_empty());
        if let Some(decided) = decided {
            return Some(self.of_draft(decided, &self.digests()));
        }
        let alert = self.alerts.iter().find(|alert| alert.id == *id)?;
        Some(self.with_outcome(id, alert.source.as_str(), &alert.rule, id.unix_ns() / 1_000_000, None, None))
    }

    fn of_draft(&self, decided: &Decided, digests: &[(&Decided, Chain)]) -> Explained {
        let Decided { id, source, rule, at_ms, .. } = decided;
        let chain = chain_of(decided);
        let told_in = told_in(decided, chain.as_ref(), digests);
        self.with_outcome(id, source.as_str(), rule, *at_ms, chain, told_in)
    }

    fn with_outcome(
        &self,
        id: &AlertId,
        source: &str,
        rule: &str,
        at_ms: u64,
        chain: Option<Chain>,
        told_in: Option<AlertId>,
    ) -> Explained {
        let mut explained = Explained {
            id: id.clone(),
            source: source.to_owned(),
            rule: rule.to_owned(),
            time: rfc3339(at_ms),
            told_in,
            chain,
            attempts: self.attempts.iter().filter(|attempt| attempt.id == *id).cloned().collect(),
            handlers: self.settled.iter().filter(|settled| settled.id == *id).cloned().collect(),
            lines: Vec::new(),
        };
        explained.lines = explained.sentences();
        explained
    }

    /// The decisions on digests.
    fn digests(&self) -> Vec<(&Decided, Chain)> {
        let is_digest = |stage: &Stage| matches!(stage, Stage::Digest { .. });
        // Most decisions are of no digest, and need not be read.
        let maybe = self.decided.iter().filter(|decided| decided.contents.contains("\"digest\""));
        let read = maybe.filter_map(|decided| Some((&**decided, chain_of(decided)?)));
        read.filter(|(_, chain)| chain.stages.iter().any(is_digest)).collect()
    }

    /// What was raised on a source between two moments (Unix milliseconds, both included), of one rule or of all.
    pub fn review(&self, source: &str, rule: Option<&str>, from_ms: u64, to_ms: u64) -> Review {
        let is_in =
            |decided: &&Arc<Decided>| decided.source.as_str() == source && (from_ms..=to_ms).contains(&decided.at_ms);
        let mut groups: BTreeMap<(&str, &'static str), Group> = BTreeMap::new();
        let (mut frames, mut strategies) = (0, BTreeMap::<String, Work>::new());
        for decided in self.decided.iter().filter(is_in) {
            if decided.rule.is_empty() {
                let Ok(seen) = serde_json::from_str::<Seen>(&decided.contents) else { continue };
                frames += seen.frames;
                for (name, work) in seen.strategies {
                    strategies.entry(name).or_default().add(&work);
                }
                continue;
            }
            let Some(chain) = chain_of(decided).filter(|_| rule.is_none_or(|rule| rule == decided.rule)) else {
                continue;
            };
            let Some(stage) = chain.last() else { continue };
            let group = groups.entry((&decided.rule, stage.as_str())).or_insert_with(|| Group {
                rule: decided.rule.clone(),
                stage: stage.as_str().to_owned(),
                count: 0,
                first_ms: decided.at_ms,
                last_ms: decided.at_ms,
                newest: decided.id.clone(),
                text: String::new(),
            });
            group.count += 1 + chain.more;
            group.first_ms = group.first_ms.min(decided.at_ms);
            if decided.at_ms >= group.last_ms {
                (group.last_ms, group.newest, group.text) = (decided.at_ms, decided.id.clone(), stage.to_string());
            }
        }
        let groups = groups.into_values().collect();
        Review { source: source.to_owned(), from_ms, to_ms, next_ms: None, groups, frames, strategies }
    }
}

/// The digest that names a draft, which a limit held back.
fn told_in(draft: &Decided, chain: Option<&Chain>, digests: &[(&Decided, Chain)]) -> Option<AlertId> {
    if !matches!(chain?.last(), Some(Stage::Burst { .. } | Stage::Rate { .. })) {
        return None;
    }
    let names = |stage: &Stage| matches!(stage, Stage::Digest { ids, .. } if ids.contains(&draft.id));
    let is_its = |digest: &Decided| digest.source == draft.source && digest.rule == draft.rule && digest.id != draft.id;
    let mut told = digests.iter().filter(|(digest, chain)| is_its(digest) && chain.stages.iter().any(names));
    told.next_back().map(|(digest, _)| digest.id.clone())
}

impl Explained {
    /// Whether it became an alert.
    pub fn is_accepted(&self) -> bool {
        self.chain.as_ref().map_or(!self.handlers.is_empty(), Chain::is_accepted)
    }

    fn sentences(&self) -> Vec<String> {
        let mut lines = match &self.chain {
            Some(chain) => chain.lines(),
            None => vec!["the log has its decision no more".to_owned()],
        };
        lines.extend(self.told_in.iter().map(|id| format!("the digest {id} tells of it")));
        for Attempt { handler, at_ms, error, .. } in &self.attempts {
            lines.push(format!("{}: failed at {}: {}", one_line(handler), rfc3339(*at_ms), one_line(error)));
        }
        for Settled { handler, how, at_ms, .. } in &self.handlers {
            let at = at_ms.map_or_else(String::new, |ms| format!(" at {}", rfc3339(ms)));
            lines.push(format!("{}: {}{at}", one_line(handler), how.replace('_', " ")));
        }
        lines
    }

    /// What it is, in one line.
    pub fn title(&self) -> String {
        let (id, time, rule, source) = (&self.id, &self.time, one_line(&self.rule), one_line(&self.source));
        let Some(chain) = &self.chain else { return format!("{id} {time} {source} {rule}") };
        let key = if chain.key.is_empty() { String::new() } else { format!(", key {}", one_line(&chain.key)) };
        format!("{id} {time} {:8} {source} {rule}{key}: {}", chain.level, one_line(&chain.message))
    }
}

impl Review {
    /// What it says, in sentences.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Group { rule, stage, count, first_ms, last_ms, newest, text } in &self.groups {
            let (rule, first, last) = (one_line(rule), rfc3339(*first_ms), rfc3339(*last_ms));
            let when = if first_ms == last_ms { format!("at {first}") } else { format!("from {first} to {last}") };
            let what = if stage == "accepted" { "became alerts" } else { "held back" };
            lines.push(format!("{rule}: {count} {what} {when}, newest {newest}: {text}"));
        }
        if self.groups.is_empty() {
            lines.push("nothing was raised".to_owned());
        }
        if self.frames > 0 {
            let were = if self.frames == 1 { "was" } else { "were" };
            lines.push(format!("{} {were} judged", count(self.frames, "frame")));
        }
        for (name, Work { judged, off, faults, raised }) in &self.strategies {
            let name = one_line(name);
            let mut parts = vec![format!("judged {} and raised {raised}", count(*judged, "frame"))];
            if *off > 0 {
                parts.push(format!("was off by its schedule for {off}"));
            }
            if *faults > 0 {
                parts.push(format!("failed on {faults}"));
            }
            lines.push(format!("the strategy {name} {}", parts.join(", ")));
        }
        if self.frames == 0 && self.groups.is_empty() {
            lines.push("no judged frame is logged: they are logged once a minute, and at the end".to_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests;
