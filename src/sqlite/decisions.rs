//! Reads the log behind `explain`, while another process may write.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, ToSql, params};

use super::database::{Row, SELECT, deliveries, read};
use crate::alert::Decided;
use crate::alert::records::{Asked, Attempt, Page, REVIEW_MAX, Records, Settled};
use crate::error::Error;
use crate::types::{AlertId, SourceId};

/// Maximum ids that a part of an id is looked up for: two say that it is not unique.
const FOUND_MAX: usize = 8;
/// Maximum decisions that are read at once: those of a page, and more of its first moment.
const DECISIONS_MAX: usize = 2 * REVIEW_MAX;
/// Longest time after a draft in which its digest is looked for.
const DIGEST_WITHIN_MS: i64 = 3_600_000;

/// The log in a database.
#[derive(Debug, Clone)]
pub struct Decisions {
    file: PathBuf,
}

impl Decisions {
    /// The log in the database `file`; it is opened when it is read.
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// What the log has of the alerts and drafts whose id begins or ends so.
    ///
    /// # Errors
    /// [`Code::Io`](crate::error::Code::Io) when the database does not exist or cannot be read.
    pub fn of_alert(&self, part: &str) -> Result<Records, Error> {
        let part = part.to_ascii_lowercase();
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Records::default());
        }
        read(&self.file, |db| {
            let mut ids = ids(db, "id = ?1", &part)?;
            if ids.is_empty() {
                ids = self::ids(db, "id LIKE ?1 || '%' OR id LIKE '%' || ?1", &part)?;
            }
            let mut records = Records::default();
            for id in ids.iter().take(FOUND_MAX) {
                let own = decided(db, "id = ?1", &[id])?;
                for draft in &own {
                    records.decided.extend(digests(db, draft)?);
                }
                records.decided.extend(own);
                records.attempts.extend(attempts(db, id)?);
                outcomes(db, id, &mut records)?;
            }
            Ok(records)
        })
    }

    /// The newest decisions on a source between two moments.
    ///
    /// # Errors
    /// As [`Decisions::of_alert`].
    pub fn of_source(&self, asked: &Asked) -> Result<Page, Error> {
        let Asked { source, rule, from_ms, to_ms, most } = asked;
        let whole = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let (from_ms, to_ms) = (whole(*from_ms), whole(*to_ms));
        let others = most.clamp(&1, &REVIEW_MAX) - 1;
        let is_its = "source = ?1 AND (?2 IS NULL OR rule IN (?2, ''))";
        read(&self.file, |db| {
            // The oldest moment of the page, which is on it as a whole.
            let query = format!(
                "SELECT at_ms FROM decisions WHERE {is_its} AND at_ms BETWEEN ?3 AND ?4 ORDER BY at_ms DESC \
                 LIMIT 1 OFFSET {others}"
            );
            let first = db.query_row(&query, params![source, rule, from_ms, to_ms], |row| row.get(0)).optional()?;
            let first_ms = first.unwrap_or(from_ms);
            let is_in = format!("{is_its} AND at_ms BETWEEN ?3 AND ?4");
            let decided = decided(db, &is_in, &[source, rule, &first_ms, &to_ms])?;
            let query = format!("SELECT max(at_ms) FROM decisions WHERE {is_its} AND at_ms >= ?3 AND at_ms < ?4");
            let next: Option<i64> = db.query_row(&query, params![source, rule, from_ms, first_ms], |row| row.get(0))?;
            Ok(Page { decided, next_ms: next.and_then(|ms| u64::try_from(ms).ok()) })
        })
    }

    /// The sources that the log knows.
    ///
    /// # Errors
    /// As [`Decisions::of_alert`].
    pub fn sources(&self) -> Result<Vec<String>, Error> {
        read(&self.file, |db| {
            let mut rows = db.prepare("SELECT DISTINCT source FROM decisions ORDER BY source")?;
            rows.query_map([], |row| row.get(0))?.collect()
        })
    }
}

/// The ids of alerts and drafts to which `condition` applies, some more than two at most.
fn ids(db: &Connection, condition: &str, part: &str) -> rusqlite::Result<Vec<String>> {
    let most = FOUND_MAX as i64;
    let query = format!(
        "SELECT DISTINCT id FROM (SELECT id FROM decisions WHERE ({condition}) AND rule != '' UNION \
         SELECT id FROM alerts WHERE {condition}) ORDER BY id LIMIT ?2"
    );
    let mut rows = db.prepare(&query)?;
    rows.query_map(params![part, most], |row| row.get(0))?.collect()
}

/// The decisions to which `condition` applies, oldest first.
fn decided(db: &Connection, condition: &str, values: &[&dyn ToSql]) -> rusqlite::Result<Vec<Arc<Decided>>> {
    let query = format!(
        "SELECT id, source, rule, at_ms, contents FROM decisions WHERE {condition} ORDER BY number DESC LIMIT \
         {DECISIONS_MAX}"
    );
    let mut rows = db.prepare(&query)?;
    let rows = rows.query_map(values, |row| {
        let (id, source): (String, String) = (row.get(0)?, row.get(1)?);
        let at_ms = u64::try_from(row.get::<_, i64>(3)?).unwrap_or_default();
        let id = AlertId::from_text(id);
        let source = SourceId::from(source.as_str());
        Ok(Arc::new(Decided { source, rule: row.get(2)?, at_ms, id, contents: row.get(4)? }))
    })?;
    let mut decided: Vec<_> = rows.collect::<Result<_, _>>()?;
    decided.reverse();
    Ok(decided)
}

/// Decisions that may be on the digest that tells of a draft.
fn digests(db: &Connection, draft: &Decided) -> rusqlite::Result<Vec<Arc<Decided>>> {
    let from_ms = i64::try_from(draft.at_ms).unwrap_or(i64::MAX);
    let to_ms = from_ms.saturating_add(DIGEST_WITHIN_MS);
    let (source, rule, id) = (draft.source.as_str(), &draft.rule, draft.id.as_str());
    let is_its = "source = ?1 AND at_ms BETWEEN ?2 AND ?3 AND rule = ?4 AND id != ?5 AND instr(contents, ?5) > 0";
    decided(db, is_its, &[&source, &from_ms, &to_ms, rule, &id])
}

fn attempts(db: &Connection, id: &str) -> rusqlite::Result<Vec<Attempt>> {
    let mut rows = db.prepare_cached("SELECT handler, at_ms, error FROM attempts WHERE id = ?1 ORDER BY number")?;
    let attempt = |row: &rusqlite::Row<'_>| {
        let at_ms = u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default();
        Ok(Attempt { id: AlertId::from_text(id.to_owned()), handler: row.get(0)?, at_ms, error: row.get(2)? })
    };
    rows.query_map([id], attempt)?.collect()
}

/// Adds an accepted alert, and what became of it.
fn outcomes(db: &Connection, id: &str, records: &mut Records) -> rusqlite::Result<()> {
    let mut rows = db.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
    let rows: Vec<Row> = rows.query_map([id], Row::from_sql)?.collect::<Result<_, _>>()?;
    for row in rows {
        let Some(alert) = row.alert() else { continue };
        for (handler, outcome) in deliveries(db, row.ordinal)? {
            let how = outcome.unwrap_or_else(|| "pending".to_owned());
            records.settled.push(Settled { id: alert.id.clone(), handler: handler.to_string(), how, at_ms: None });
        }
        records.alerts.push(alert);
    }
    Ok(())
}
