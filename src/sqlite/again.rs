//! Alerts that are sent again, by the handler that did not deliver them or by another one.

use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::alert::Settlement;
use crate::alert::again::has_failed;
use crate::types::AlertId;

/// The outcome at a handler whose alert was given to another one.
pub(super) const GIVEN_AWAY: &str = "given_away";

/// Notes that a handler gets an alert once more, unless it had delivered it. Its age counts from now.
pub(super) fn reopen(db: &Transaction<'_>, id: &AlertId, handler: &str, now_ms: i64) -> rusqlite::Result<()> {
    if failed(outcome(db, id, handler)?) {
        set_outcome(db, id, handler, None)?;
        begin(db, id, now_ms)?;
    }
    Ok(())
}

/// Notes that the alert that one handler did not deliver is another one's from now on. Its age counts from now.
pub(super) fn give(db: &Transaction<'_>, id: &AlertId, (from, to): (&str, &str), now_ms: i64) -> rusqlite::Result<()> {
    // An entry that is written twice gives the alert once.
    if !failed(outcome(db, id, from)?) {
        return Ok(());
    }
    set_outcome(db, id, from, Some(GIVEN_AWAY))?;
    match outcome(db, id, to)? {
        Some(None) => return Ok(()),
        Some(Some(outcome)) if outcome == Settlement::Delivered.as_str() => return Ok(()),
        Some(Some(_)) => set_outcome(db, id, to, None)?,
        None => add(db, id, to)?,
    }
    begin(db, id, now_ms)
}

/// The outcome of an alert at a handler: `Some(None)` while it is pending, `None` if the handler never had it.
fn outcome(db: &Transaction<'_>, id: &AlertId, handler: &str) -> rusqlite::Result<Option<Option<String>>> {
    db.prepare_cached(
        "SELECT outcome FROM deliveries WHERE handler = ?2 AND ordinal = \
         (SELECT ordinal FROM alerts WHERE id = ?1)",
    )?
    .query_row([id.as_str(), handler], |row| row.get(0))
    .optional()
}

/// Whether a handler is done with an alert, and neither delivered it nor gave it to another one.
fn failed(outcome: Option<Option<String>>) -> bool {
    outcome.flatten().is_some_and(|outcome| has_failed(&outcome))
}

fn set_outcome(db: &Transaction<'_>, id: &AlertId, handler: &str, outcome: Option<&str>) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE deliveries SET outcome = ?3 WHERE handler = ?2 AND ordinal = \
         (SELECT ordinal FROM alerts WHERE id = ?1)",
    )?
    .execute(params![id.as_str(), handler, outcome])?;
    Ok(())
}

/// Adds a handler to those of an alert.
fn add(db: &Transaction<'_>, id: &AlertId, handler: &str) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO deliveries (ordinal, position, handler) SELECT alerts.ordinal, max(position) + 1, ?2 \
         FROM alerts JOIN deliveries ON deliveries.ordinal = alerts.ordinal WHERE id = ?1 GROUP BY alerts.ordinal",
    )?
    .execute(params![id.as_str(), handler])?;
    Ok(())
}

/// Opens the alert anew.
fn begin(db: &Transaction<'_>, id: &AlertId, now_ms: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE alerts SET finished = 0, written_ms = ?2 WHERE id = ?1")?
        .execute(params![id.as_str(), now_ms])?;
    Ok(())
}
