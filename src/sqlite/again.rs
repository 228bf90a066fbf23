//! Alerts that are sent again, by the handler that did not deliver them or by another one.

use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::types::AlertId;

/// The outcome at a handler whose alert was given to another one.
pub(super) const GIVEN_AWAY: &str = "given_away";

/// Notes that a handler gets an alert once more, unless it had delivered it. Its age counts from now.
pub(super) fn reopen(db: &Transaction<'_>, id: &AlertId, handler: &str, now_ms: i64) -> rusqlite::Result<()> {
    let reopened = db
        .prepare_cached(
            "UPDATE deliveries SET outcome = NULL WHERE handler = ?2 AND outcome NOT IN ('delivered', 'given_away') \
             AND ordinal = (SELECT ordinal FROM alerts WHERE id = ?1)",
        )?
        .execute(params![id.as_str(), handler])?;
    if reopened > 0 {
        begin(db, id, now_ms)?;
    }
    Ok(())
}

/// Notes that the alert that one handler did not deliver is another one's from now on. Its age counts from now.
pub(super) fn give(db: &Transaction<'_>, id: &AlertId, (from, to): (&str, &str), now_ms: i64) -> rusqlite::Result<()> {
    let outcome = |handler: &str| {
        db.prepare_cached(
            "SELECT outcome FROM deliveries WHERE handler = ?2 AND ordinal = (SELECT ordinal FROM alerts WHERE id = ?1)",
        )?
        .query_row([id.as_str(), handler], |row| row.get::<_, Option<String>>(0))
        .optional()
    };
    // Written twice, it was given already.
    let is_undelivered = |outcome: &str| !["delivered", GIVEN_AWAY].contains(&outcome);
    if !outcome(from)?.flatten().is_some_and(|outcome| is_undelivered(&outcome)) {
        return Ok(());
    }
    db.prepare_cached(
        "UPDATE deliveries SET outcome = ?3 WHERE handler = ?2 AND ordinal = (SELECT ordinal FROM alerts WHERE id = ?1)",
    )?
    .execute(params![id.as_str(), from, GIVEN_AWAY])?;
    match outcome(to)? {
        Some(None) => return Ok(()),
        Some(Some(outcome)) if outcome == "delivered" => return Ok(()),
        Some(Some(_)) => db.prepare_cached(
            "UPDATE deliveries SET outcome = NULL WHERE handler = ?2 AND ordinal = \
             (SELECT ordinal FROM alerts WHERE id = ?1)",
        )?,
        None => db.prepare_cached(
            "INSERT INTO deliveries (ordinal, position, handler) SELECT alerts.ordinal, max(position) + 1, ?2 \
             FROM alerts JOIN deliveries ON deliveries.ordinal = alerts.ordinal WHERE id = ?1 GROUP BY alerts.ordinal",
        )?,
    }
    .execute(params![id.as_str(), to])?;
    begin(db, id, now_ms)
}

fn begin(db: &Transaction<'_>, id: &AlertId, now_ms: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE alerts SET finished = 0, written_ms = ?2 WHERE id = ?1")?
        .execute(params![id.as_str(), now_ms])?;
    Ok(())
}
