//! The journal over the database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use sha2::{Digest as _, Sha256};

use super::again;
use super::database::{self, Row, SELECT, SELECT_SAVED, deliveries, empty_log, is_damage, saved_from_sql};
use crate::alert::{Decided, Entry, Journal, JournalError, Pending, Saved, SavedKind, Settlement};
use crate::types::{Alert, AlertId, Clock};

/// Settled alerts removed per batch at most, so that a batch stays short.
const FORGET_MAX: i64 = 1_024;
/// Decisions of the policy that are kept per alert that is kept.
const DECISIONS_PER_ALERT: u64 = 10;
/// The kind of the values of cases.
const CASE: &str = SavedKind::Case.as_str();

/// How long alerts are kept after every handler is done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Age, by the time of writing.
    pub age: Duration,
    /// Number of alerts, oldest removed first.
    pub alerts: u64,
}

/// Keeps accepted alerts in an SQLite database, and what became of them.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use dsengine::alert::check::check_journal;
/// use dsengine::engine::SystemClock;
/// use dsengine::sqlite::{Keep, SqliteJournal};
///
/// check_journal(|| {
///     let dir = tempfile::tempdir().unwrap();
///     let keep = Keep { age: Duration::from_secs(3600), alerts: 1000 };
///     move || SqliteJournal::open(&dir.path().join("alerts.db"), keep, Arc::new(SystemClock::new()))
/// })
/// .unwrap();
/// ```
pub struct SqliteJournal {
    /// Closed after an error, so that what the disk really has is read anew.
    db: Option<Connection>,
    /// Whether all that is in the database's log is on the disk for certain: it was empty once.
    has_sound_log: bool,
    file: PathBuf,
    keep: Keep,
    clock: Arc<dyn Clock>,
}

impl SqliteJournal {
    /// Opens the database `file`, and creates it, readable by its owner only, if there is none. A damaged one is
    /// renamed to `FILE.damaged-N`, and what can be read of it is taken over. `clock` tells the age of alerts.
    ///
    /// # Errors
    /// When the file cannot be opened or written, is no database of this kind, or was written by a later version.
    pub fn open(file: &Path, keep: Keep, clock: Arc<dyn Clock>) -> Result<Self, JournalError> {
        Ok(Self { db: Some(database::open(file)?), has_sound_log: false, file: file.to_owned(), keep, clock })
    }

    fn db(&mut self) -> Result<&mut Connection, JournalError> {
        if self.db.is_none() {
            self.db = Some(database::open(&self.file)?);
        }
        self.db.as_mut().ok_or_else(|| JournalError("no database".into()))
    }

    /// Empties the log that was there when the database was opened.
    fn empty_log(&mut self) -> Result<(), JournalError> {
        if !self.has_sound_log {
            let emptied = empty_log(self.db()?);
            emptied.map_err(|error| self.failed(&error))?;
            self.has_sound_log = true;
        }
        Ok(())
    }

    /// Closes the database after an error; a damaged one is replaced.
    fn failed(&mut self, error: &rusqlite::Error) -> JournalError {
        self.db = None;
        self.has_sound_log = false;
        if is_damage(error) {
            match database::replace(&self.file) {
                // The batch is written again, into the new one.
                Ok(db) => self.db = Some(db),
                Err(error) => return error,
            }
        }
        JournalError(format!("{}: {error}", self.file.display()))
    }
}

impl std::fmt::Debug for SqliteJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteJournal").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Journal for SqliteJournal {
    fn recover(&mut self) -> Result<Vec<Pending>, JournalError> {
        // A full disk or a reader may prevent it: what is there can be delivered nevertheless.
        let _ = self.empty_log();
        let file = self.file.clone();
        pending(self.db()?, &file).map_err(|error| self.failed(&error))
    }

    fn saved(&mut self) -> Result<Vec<Saved>, JournalError> {
        let values = saved(self.db()?);
        values.map_err(|error| self.failed(&error))
    }

    fn newest(&mut self, most: usize) -> Result<Vec<Arc<Alert>>, JournalError> {
        let alerts = newest(self.db()?, most);
        alerts.map_err(|error| self.failed(&error))
    }

    fn write(&mut self, batch: &[Entry]) -> Result<(), JournalError> {
        self.empty_log()?;
        let (keep, now_ns) = (self.keep, self.clock.unix_ns());
        let written = write(self.db()?, batch, keep, now_ns);
        written.map_err(|error| self.failed(&error))
    }
}

/// The unfinished alerts. Rows that are not what was written are moved to `damaged`.
fn pending(db: &mut Connection, file: &Path) -> rusqlite::Result<Vec<Pending>> {
    let transaction = db.transaction()?;
    let rows: Vec<Row> = transaction
        .prepare(&format!("{SELECT} WHERE finished = 0 ORDER BY ordinal"))?
        .query_map([], Row::from_sql)?
        .collect::<Result<_, _>>()?;
    let mut found = Vec::new();
    for row in rows {
        let Some(alert) = row.alert() else {
            tracing::error!("{}: alert {} is damaged and is not delivered", file.display(), row.id);
            transaction
                .execute("INSERT INTO damaged SELECT id, contents FROM alerts WHERE ordinal = ?1", [row.ordinal])?;
            remove_case(&transaction, row.ordinal)?;
            remove(&transaction, row.ordinal)?;
            continue;
        };
        let (waiting, settled): (Vec<_>, Vec<_>) =
            deliveries(&transaction, row.ordinal)?.into_iter().partition(|(_, outcome)| outcome.is_none());
        let handlers = waiting.into_iter().map(|(handler, _)| handler).collect();
        let hows = settled.iter().filter_map(|(_, outcome)| Settlement::from_word(outcome.as_deref()?));
        let worst = hows.max().unwrap_or_default();
        let accepted_ms = row.written_ms.try_into().unwrap_or_default();
        found.push(Pending { alert: Arc::new(alert), handlers, worst, accepted_ms });
    }
    transaction.commit()?;
    Ok(found)
}

fn write(db: &mut Connection, batch: &[Entry], keep: Keep, now_ns: u64) -> rusqlite::Result<()> {
    let now_ms = i64::try_from(now_ns / 1_000_000).unwrap_or(i64::MAX);
    let transaction = db.transaction()?;
    for entry in batch {
        match entry {
            Entry::Accepted { alert, handlers, at_ms } => {
                accept(&transaction, alert, handlers, i64::try_from(*at_ms).unwrap_or(i64::MAX))?;
            }
            Entry::Reopened { id, handler, from, at_ms } => {
                let at_ms = i64::try_from(*at_ms).unwrap_or(i64::MAX);
                match from {
                    Some(from) => again::give(&transaction, id, (&**from, &**handler), at_ms)?,
                    None => again::reopen(&transaction, id, handler, at_ms)?,
                }
            }
            Entry::Settled { id, handler, how } => settle(&transaction, id, handler, how.as_str())?,
            Entry::Attempted { id, handler, at_ms, error } => attempted(&transaction, id, handler, *at_ms, error)?,
            Entry::Decided(decided) => log(&transaction, decided)?,
            Entry::Saved(value) => save(&transaction, value)?,
        }
    }
    forget(&transaction, keep, now_ms)?;
    transaction.commit()
}

/// Inserts an alert. A finished one with the same id, of a recording that is played again, is replaced.
pub(super) fn accept(
    db: &Transaction<'_>,
    alert: &Alert,
    handlers: &[Arc<str>],
    written_ms: i64,
) -> rusqlite::Result<()> {
    let known: Option<(i64, bool)> = db
        .prepare_cached("SELECT ordinal, finished FROM alerts WHERE id = ?1")?
        .query_row([alert.id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match known {
        Some((_, false)) => return Ok(()),
        // A batch that is written twice settles it again.
        Some((ordinal, true)) => remove(db, ordinal)?,
        None => {}
    }
    let contents =
        serde_json::to_string(alert).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let (id, source, sha256) = (alert.id.as_str(), alert.source.as_str(), Sha256::digest(&contents));
    db.prepare_cached(
        "INSERT INTO alerts (id, source, contents, sha256, written_ms, finished) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![id, source, contents, &sha256[..], written_ms, handlers.is_empty()])?;
    let ordinal = db.last_insert_rowid();
    let mut insert = db.prepare_cached("INSERT INTO deliveries (ordinal, position, handler) VALUES (?1, ?2, ?3)")?;
    for (position, handler) in (0_i64..).zip(handlers) {
        insert.execute(params![ordinal, position, &**handler])?;
    }
    Ok(())
}

/// Notes that a handler is done with an alert.
pub(super) fn settle(db: &Transaction<'_>, id: &AlertId, handler: &str, outcome: &str) -> rusqlite::Result<()> {
    let ordinal = db
        .prepare_cached("SELECT ordinal FROM alerts WHERE id = ?1 AND finished = 0")?
        .query_row([id.as_str()], |row| row.get::<_, i64>(0))
        .optional()?;
    let Some(ordinal) = ordinal else { return Ok(()) };
    let settled = db
        .prepare_cached("UPDATE deliveries SET outcome = ?3 WHERE ordinal = ?1 AND handler = ?2 AND outcome IS NULL")?
        .execute(params![ordinal, handler, outcome])?;
    let failed = settled > 0 && outcome != Settlement::Delivered.as_str();
    db.prepare_cached(
        "UPDATE alerts SET failed = failed OR ?2, finished = NOT EXISTS \
         (SELECT 1 FROM deliveries WHERE ordinal = ?1 AND outcome IS NULL) WHERE ordinal = ?1",
    )?
    .execute(params![ordinal, failed])?;
    Ok(())
}

/// The values for a later process. What is not what was written is left out.
fn saved(db: &Connection) -> rusqlite::Result<Vec<Saved>> {
    let mut rows = db.prepare(SELECT_SAVED)?;
    let values: Vec<Option<Saved>> = rows.query_map([], saved_from_sql)?.collect::<Result<_, _>>()?;
    let damaged = values.iter().filter(|value| value.is_none()).count();
    if damaged > 0 {
        tracing::error!(values = damaged, "values of a former run are damaged and not used");
    }
    Ok(values.into_iter().flatten().collect())
}

/// The newest alerts, oldest first. Rows that are not what was written are left out. Removes the cases of alerts that
/// are gone.
fn newest(db: &Connection, most: usize) -> rusqlite::Result<Vec<Arc<Alert>>> {
    let removed = db.execute("DELETE FROM saved WHERE kind = ?1 AND name NOT IN (SELECT id FROM alerts)", [CASE]);
    // A full disk may prevent it: what is there can be read nevertheless.
    if let Err(error) = removed
        && is_damage(&error)
    {
        return Err(error);
    }
    let mut rows = db.prepare(&format!("{SELECT} ORDER BY ordinal DESC LIMIT ?1"))?;
    let rows = rows.query_map([i64::try_from(most).unwrap_or(i64::MAX)], Row::from_sql)?;
    let alerts = rows.map(|row| Ok(row?.alert().map(Arc::new))).collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(alerts.into_iter().rev().flatten().collect())
}

/// Saves or removes a value for a later process.
pub(super) fn save(db: &Transaction<'_>, value: &Saved) -> rusqlite::Result<()> {
    let (kind, name) = (value.kind.as_str(), &*value.name);
    match value.contents.as_deref() {
        Some(contents) => db
            .prepare_cached("INSERT OR REPLACE INTO saved (kind, name, contents, sha256) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![kind, name, contents, &Sha256::digest(contents)[..]])?,
        None => db.prepare_cached("DELETE FROM saved WHERE kind = ?1 AND name = ?2")?.execute(params![kind, name])?,
    };
    Ok(())
}

/// Adds a failed delivery, once.
fn attempted(db: &Transaction<'_>, id: &AlertId, handler: &str, at_ms: u64, error: &str) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO attempts (id, handler, at_ms, error) SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS \
         (SELECT 1 FROM attempts WHERE id = ?1 AND handler = ?2 AND at_ms = ?3)",
    )?
    .execute(params![id.as_str(), handler, i64::try_from(at_ms).unwrap_or(i64::MAX), error])?;
    Ok(())
}

/// Adds a decision of the policy.
fn log(db: &Transaction<'_>, decided: &Decided) -> rusqlite::Result<()> {
    let Decided { source, rule, at_ms, id, contents } = decided;
    let at_ms = i64::try_from(*at_ms).unwrap_or(i64::MAX);
    db.prepare_cached("INSERT INTO decisions (id, source, rule, at_ms, contents) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![id.as_str(), source.as_str(), rule, at_ms, contents])?;
    Ok(())
}

/// Removes the oldest finished alerts that are not to be kept, some per call.
fn forget(db: &Transaction<'_>, keep: Keep, now_ms: i64) -> rusqlite::Result<()> {
    let last: Option<i64> = db.prepare_cached("SELECT max(ordinal) FROM alerts")?.query_row([], |row| row.get(0))?;
    let Some(last) = last else { return forget_decisions(db, keep, now_ms) };
    let first = last.saturating_sub(i64::try_from(keep.alerts).unwrap_or(i64::MAX));
    let since_ms = now_ms.saturating_sub(i64::try_from(keep.age.as_millis()).unwrap_or(i64::MAX));
    let oldest: Vec<(i64, i64)> = db
        .prepare_cached("SELECT ordinal, written_ms FROM alerts WHERE finished = 1 ORDER BY ordinal LIMIT ?1")?
        .query_map([FORGET_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (ordinal, _) in oldest.into_iter().take_while(|(ordinal, at)| *ordinal <= first || *at <= since_ms) {
        remove_case(db, ordinal)?;
        remove(db, ordinal)?;
    }
    forget_decisions(db, keep, now_ms)
}

/// Removes the oldest decisions beyond ten per alert that is kept, and those that are older than alerts may be, some
/// per call. Their age is that of their frames, so a recording's are not older than the newest of it.
fn forget_decisions(db: &Transaction<'_>, keep: Keep, now_ms: i64) -> rusqlite::Result<()> {
    let at = |order: &str| -> rusqlite::Result<Option<i64>> {
        let query = format!("SELECT at_ms FROM decisions ORDER BY number {order} LIMIT 1");
        db.prepare_cached(&query)?.query_row([], |row| row.get(0)).optional()
    };
    let (Some(oldest_ms), Some(newest_ms)) = (at("ASC")?, at("DESC")?) else { return Ok(()) };
    let age_ms = i64::try_from(keep.age.as_millis()).unwrap_or(i64::MAX);
    let since_ms = newest_ms.min(now_ms).saturating_sub(age_ms);
    if oldest_ms < since_ms {
        db.prepare_cached(
            "DELETE FROM decisions WHERE at_ms < ?1 AND number IN \
             (SELECT number FROM decisions ORDER BY number LIMIT ?2)",
        )?
        .execute(params![since_ms, FORGET_MAX])?;
    }
    let most = i64::try_from(keep.alerts.saturating_mul(DECISIONS_PER_ALERT)).unwrap_or(i64::MAX);
    db.prepare_cached(
        "DELETE FROM decisions WHERE number IN (SELECT number FROM decisions WHERE number <= \
         (SELECT max(number) FROM decisions) - ?1 ORDER BY number LIMIT ?2)",
    )?
    .execute(params![most, FORGET_MAX])?;
    Ok(())
}

/// Removes what people did with an alert that is removed.
fn remove_case(db: &Connection, ordinal: i64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM saved WHERE kind = ?1 AND name = (SELECT id FROM alerts WHERE ordinal = ?2)")?
        .execute(params![CASE, ordinal])?;
    Ok(())
}

fn remove(db: &Connection, ordinal: i64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM attempts WHERE id = (SELECT id FROM alerts WHERE ordinal = ?1)")?
        .execute([ordinal])?;
    db.prepare_cached("DELETE FROM deliveries WHERE ordinal = ?1")?.execute([ordinal])?;
    db.prepare_cached("DELETE FROM alerts WHERE ordinal = ?1")?.execute([ordinal])?;
    Ok(())
}
