//! Reads accepted alerts and what became of them, while another process may write.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;

use super::again::GIVEN_AWAY;
use super::database::{Row, SELECT, SELECT_SAVED, deliveries, read, saved_from_sql};
use crate::alert::again::has_failed;
use crate::alert::records::{CANDIDATES_MAX, candidates};
use crate::alert::{Case, CaseState, SavedKind, Settlement};
use crate::error::{Code, Error};
use crate::types::{Alert, Level, rfc3339};

/// The outcome until a handler is done with an alert; the database has none then.
const PENDING: &str = "pending";

/// What became of an alert at one handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// The handler.
    pub handler: Arc<str>,
    /// `delivered`, `given_up`, `expired`, `queue_full` or `handler_removed`; `given_away` where another handler got it
    /// instead; `pending` until the handler is done with it.
    pub outcome: String,
    /// The latest attempts that failed, oldest first, a hundred at most; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
}

impl Delivered {
    /// Whether the handler is done with the alert, and neither delivered it nor gave it to another one.
    pub fn is_undelivered(&self) -> bool {
        has_failed(&self.outcome)
    }
}

/// A delivery that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// When, RFC 3339 UTC with milliseconds.
    pub at: String,
    /// The error.
    pub error: String,
}

/// Maximum failed attempts of one handler that are read.
const ATTEMPTS_MAX: u32 = 100;

/// An accepted alert and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kept {
    /// The alert.
    pub alert: Alert,
    /// Its handlers, in the order of its acceptance.
    pub handlers: Vec<Delivered>,
    /// What people and rules did about it.
    pub case: Case,
}

/// Which alerts are wanted; the default is all of them.
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery<'a> {
    /// Only those that a handler is not done with.
    pub pending: bool,
    /// Only those that a handler did not deliver and is done with.
    pub undelivered: bool,
    /// Only those whose case is in this state.
    pub state: Option<CaseState>,
    /// Only those of this source.
    pub source: Option<&'a str>,
    /// Only those of this rule.
    pub rule: Option<&'a str>,
    /// Only those of this level.
    pub level: Option<Level>,
}

impl HistoryQuery<'_> {
    /// Whether an alert is one of them, as far as the database does not know.
    fn admits(&self, Kept { alert, case, .. }: &Kept) -> bool {
        self.state.is_none_or(|state| case.state == state)
            && self.rule.is_none_or(|rule| *alert.rule == *rule)
            && self.level.is_none_or(|level| alert.level == level)
    }
}

/// The alerts in a database.
#[derive(Debug, Clone)]
pub struct History {
    file: PathBuf,
}

impl History {
    /// The alerts in the database `file`; it is opened when it is read.
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// The newest `most` alerts that are wanted, newest first.
    ///
    /// # Errors
    /// [`Code::Io`] when the database does not exist or cannot be read.
    pub fn list(&self, most: usize, wanted: &HistoryQuery<'_>) -> Result<Vec<Kept>, Error> {
        let pending = if wanted.pending { "finished = 0" } else { "1" };
        let undelivered = match wanted.undelivered {
            true => format!(
                "EXISTS (SELECT 1 FROM deliveries WHERE deliveries.ordinal = alerts.ordinal \
                 AND outcome NOT IN ('{}', '{GIVEN_AWAY}'))",
                Settlement::Delivered.as_str()
            ),
            false => "1".to_owned(),
        };
        read(&self.file, |db| {
            let its = "(?1 IS NULL OR source = ?1)";
            let query = format!("{SELECT} WHERE {pending} AND {undelivered} AND {its} ORDER BY ordinal DESC");
            let mut rows = db.prepare(&query)?;
            // Read one after the other until there are enough.
            let rows = rows
                .query_map([wanted.source], Row::from_sql)?
                .map(|row| kept(db, &row?))
                .filter_map(Result::transpose);
            rows.filter(|kept| kept.as_ref().map_or(true, |kept| wanted.admits(kept))).take(most).collect()
        })
    }

    /// The alert with this id, or the only one whose id begins or ends so.
    ///
    /// # Errors
    /// [`Code::Io`] when the database cannot be read; [`Code::NoAlert`] when there is none or more than one such alert.
    pub fn find(&self, id: &str) -> Result<Kept, Error> {
        let missing = || {
            Error::new(Code::NoAlert, format!("there is no alert {id:?} among those of this configuration"))
                .hint("dsengine alerts list prints their ids; dsengine explain --source ID what was held back")
        };
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let id = id.to_ascii_lowercase();
        let most = CANDIDATES_MAX + 1;
        let found = read(&self.file, |db| {
            let exact = db.query_row(&format!("{SELECT} WHERE id = ?1"), [&id], Row::from_sql).optional()?;
            let rows = match exact {
                Some(row) => vec![row],
                None => {
                    let mut rows =
                        db.prepare(&format!("{SELECT} WHERE id LIKE ?1 || '%' OR id LIKE '%' || ?1 LIMIT {most}"))?;
                    rows.query_map([&id], Row::from_sql)?.collect::<Result<_, _>>()?
                }
            };
            rows.iter().filter_map(|row| kept(db, row).transpose()).collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let several = (found.len() > 1).then(|| candidates(found.iter().map(|kept| &kept.alert.id)));
        match (found.into_iter().next(), several) {
            (_, Some(ids)) => {
                Err(Error::new(Code::NoAlert, format!("more than one alert has {id:?} in its id: {ids}"))
                    .hint("give more of it"))
            }
            (Some(kept), None) => Ok(kept),
            (None, None) => Err(missing()),
        }
    }
}

/// The alert in a row with its deliveries; `None` if it is damaged.
fn kept(db: &Connection, row: &Row) -> rusqlite::Result<Option<Kept>> {
    let Some(alert) = row.alert() else { return Ok(None) };
    let delivered = |(handler, outcome): (Arc<str>, Option<String>)| {
        let attempts = attempts(db, &row.id, &handler)?;
        Ok(Delivered { handler, outcome: outcome.unwrap_or_else(|| PENDING.into()), attempts })
    };
    let handlers = deliveries(db, row.ordinal)?.into_iter().map(delivered).collect::<rusqlite::Result<_>>()?;
    let case = case(db, &row.id)?.unwrap_or_else(|| Case::of(&alert));
    Ok(Some(Kept { alert, handlers, case }))
}

/// The latest attempts of a handler that failed, oldest first.
fn attempts(db: &Connection, id: &str, handler: &str) -> rusqlite::Result<Vec<Attempt>> {
    // A database of version 1 has no such table.
    let Ok(mut rows) = db.prepare_cached(
        "SELECT at_ms, error FROM attempts WHERE id = ?1 AND handler = ?2 ORDER BY number DESC LIMIT ?3",
    ) else {
        return Ok(Vec::new());
    };
    let attempt = |row: &rusqlite::Row<'_>| {
        let at_ms: i64 = row.get(0)?;
        Ok(Attempt { at: rfc3339(at_ms.try_into().unwrap_or_default()), error: row.get(1)? })
    };
    let mut attempts: Vec<Attempt> = rows.query_map((id, handler, ATTEMPTS_MAX), attempt)?.collect::<Result<_, _>>()?;
    attempts.reverse();
    Ok(attempts)
}

/// The saved case of an alert; `None` if nothing was done about it, or what is saved is damaged.
fn case(db: &Connection, id: &str) -> rusqlite::Result<Option<Case>> {
    // A database of version 1 has no such table.
    let Ok(mut rows) = db.prepare_cached(&format!("{SELECT_SAVED} WHERE kind = ?1 AND name = ?2")) else {
        return Ok(None);
    };
    let saved = rows.query_row([SavedKind::Case.as_str(), id], saved_from_sql).optional()?.flatten();
    let contents = saved.and_then(|saved| saved.contents);
    Ok(contents.and_then(|contents| serde_json::from_str(&contents).ok()))
}
