//! Reads accepted alerts and what became of them, while another process may write.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;

use super::database::{Row, SELECT, connect_to_read, deliveries};
use crate::error::{Code, Error};
use crate::types::Alert;

/// What became of an alert at one handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// The handler.
    pub handler: Arc<str>,
    /// `delivered`, `given_up`, `queue_full` or `handler_removed`; `pending` until the handler is done with it.
    pub outcome: String,
}

/// An accepted alert and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kept {
    /// The alert.
    pub alert: Alert,
    /// Its handlers, in the order of its acceptance.
    pub handlers: Vec<Delivered>,
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

    /// The newest `most` alerts, newest first; `pending` for those that a handler is not done with.
    ///
    /// # Errors
    /// [`Code::Io`] when the database does not exist or cannot be read.
    pub fn newest(&self, most: usize, pending: bool) -> Result<Vec<Kept>, Error> {
        let wanted = if pending { "WHERE finished = 0" } else { "" };
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.read(|db| {
            let mut rows = db.prepare(&format!("{SELECT} {wanted} ORDER BY ordinal DESC LIMIT ?1"))?;
            let rows: Vec<Row> = rows.query_map([most], Row::from_sql)?.collect::<Result<_, _>>()?;
            rows.iter().filter_map(|row| kept(db, row).transpose()).collect()
        })
    }

    /// The alert with this id, or the only one whose id begins or ends so.
    ///
    /// # Errors
    /// [`Code::Io`] when the database cannot be read; [`Code::Request`] when there is none or more than one such alert.
    pub fn find(&self, id: &str) -> Result<Kept, Error> {
        let missing = || Error::new(Code::Request, format!("there is no alert {id:?}")).hint("dsengine alerts list");
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let id = id.to_ascii_lowercase();
        let found = self.read(|db| {
            let exact = db.query_row(&format!("{SELECT} WHERE id = ?1"), [&id], Row::from_sql).optional()?;
            let rows = match exact {
                Some(row) => vec![row],
                None => {
                    let mut rows =
                        db.prepare(&format!("{SELECT} WHERE id LIKE ?1 || '%' OR id LIKE '%' || ?1 LIMIT 2"))?;
                    rows.query_map([&id], Row::from_sql)?.collect::<Result<_, _>>()?
                }
            };
            rows.iter().filter_map(|row| kept(db, row).transpose()).collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let more = found.len() > 1;
        match found.into_iter().next() {
            Some(_) if more => {
                Err(Error::new(Code::Request, format!("more than one alert has {id:?} in its id"))
                    .hint("give more of it"))
            }
            Some(kept) => Ok(kept),
            None => Err(missing()),
        }
    }

    fn read<T>(&self, what: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let read = connect_to_read(&self.file).and_then(|db| what(&db));
        read.map_err(|error| Error::new(Code::Io, format!("{} cannot be read: {error}", self.file.display())))
    }
}

/// The alert in a row with its deliveries; `None` if it is damaged.
fn kept(db: &Connection, row: &Row) -> rusqlite::Result<Option<Kept>> {
    let Some(alert) = row.alert() else { return Ok(None) };
    let delivered = |(handler, outcome): (Arc<str>, Option<String>)| Delivered {
        handler,
        outcome: outcome.unwrap_or_else(|| "pending".into()),
    };
    let handlers = deliveries(db, row.ordinal)?.into_iter().map(delivered).collect();
    Ok(Some(Kept { alert, handlers }))
}
