//! Opens the database, checks that it is whole, and takes over what can be read of a damaged one.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction};
use sha2::{Digest as _, Sha256};

use super::journal;
use crate::alert::{JournalError, Saved, SavedKind};
use crate::error::{Code, Error};
use crate::types::Alert;

/// "dsen": marks the file as ours.
const APPLICATION_ID: i64 = 0x6473_656e;
/// Version of [`SCHEMA`].
const VERSION: i64 = 2;
/// Longest wait for another process that reads the database.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// Ordinals of a damaged database that are looked for, the newest: a damaged one may say any number.
const SALVAGED_MAX: i64 = 2_000_000;
/// Damaged databases that are kept.
const DAMAGED_MAX: u32 = 100;

/// `alerts` has one row per accepted alert; `written_ms` is Unix time, and `finished` is 1 once every handler is done with
/// it. `deliveries` has one row per handler of an alert; `outcome` is null until the handler is done. `damaged` has rows
/// that are not what was written.
const SCHEMA: &str = "
CREATE TABLE alerts (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    contents TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    written_ms INTEGER NOT NULL,
    failed INTEGER NOT NULL DEFAULT 0,
    finished INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX by_finished ON alerts (finished, ordinal);
CREATE TABLE deliveries (
    ordinal INTEGER NOT NULL,
    position INTEGER NOT NULL,
    handler TEXT NOT NULL,
    outcome TEXT,
    PRIMARY KEY (ordinal, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE damaged (
    id TEXT,
    contents TEXT
) STRICT;
";

/// What version 2 adds: `attempts` has one row per failed delivery, `decisions` one per decision of the policy, `saved`
/// the values for a later process.
const SCHEMA_2: &str = "
CREATE TABLE attempts (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    handler TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    error TEXT NOT NULL
) STRICT;
CREATE INDEX by_alert ON attempts (id, number);
CREATE TABLE decisions (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    source TEXT NOT NULL,
    rule TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    contents TEXT NOT NULL
) STRICT;
CREATE INDEX by_draft ON decisions (id);
CREATE INDEX by_source ON decisions (source, at_ms);
CREATE TABLE saved (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    contents TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
";

/// Why a database is not used.
pub(super) enum Refused {
    Damaged,
    Other(String),
}

impl Refused {
    pub(super) fn into_error(self, file: &Path) -> JournalError {
        match self {
            Self::Damaged => JournalError(format!("{}: the database is damaged", file.display())),
            Self::Other(why) => JournalError(format!("{}: {why}", file.display())),
        }
    }
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) { Self::Damaged } else { Self::Other(error.to_string()) }
    }
}

/// Whether the database itself is damaged, not its disk or its use.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Opens or creates a database. A damaged one is renamed to `FILE.damaged-N`, and what can be read of it is taken over.
pub(super) fn open(file: &Path) -> Result<Connection, JournalError> {
    let new = beside(file, ".new");
    if !file.exists() && new.exists() {
        // The process ended while it replaced a damaged one.
        std::fs::rename(&new, file).map_err(|error| JournalError(format!("{}: {error}", new.display())))?;
    }
    match connect(file) {
        Ok(db) => Ok(db),
        Err(Refused::Damaged) => replace(file),
        Err(refused) => Err(refused.into_error(file)),
    }
}

/// Writes what can be read of a damaged database to a new one, which then takes its place; the damaged one is renamed.
pub(super) fn replace(file: &Path) -> Result<Connection, JournalError> {
    let new = beside(file, ".new");
    let failed = |error: &dyn std::fmt::Display| JournalError(format!("{}: {error}", new.display()));
    for end in ["", "-wal", "-shm"] {
        // There is seldom one, of an attempt that failed.
        let _ = std::fs::remove_file(beside(&new, end));
    }
    let mut db = connect(&new).map_err(|refused| refused.into_error(&new))?;
    let saved = salvage(file, &mut db).map_err(|error| failed(&error))?;
    // Its log is not renamed with it.
    empty_log(&db).map_err(|error| failed(&error))?;
    db.close().map_err(|(_, error)| failed(&error))?;
    let aside = set_aside(file)?;
    std::fs::rename(&new, file).map_err(|error| failed(&error))?;
    sync_folder(file).map_err(|error| failed(&error))?;
    let db = connect(file).map_err(|refused| refused.into_error(file))?;
    tracing::error!(
        "{} was damaged: it is kept as {}, and {saved} alerts could be read from it",
        file.display(),
        aside.display()
    );
    Ok(db)
}

/// Moves what the log holds into the database, and empties the log. A log whose fsync failed, of this process or of one
/// before, may be in memory only although it reads well, and all that is appended to it would be lost with it; what is
/// moved is written and synced anew.
pub(super) fn empty_log(db: &Connection) -> rusqlite::Result<()> {
    let is_busy: bool = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if is_busy {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, Some("another process reads it and does not end".into())));
    }
    Ok(())
}

/// Makes new names of files in the folder of `file` durable.
fn sync_folder(file: &Path) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// The path of a file with something after its name.
fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Opens or creates a database and checks that it is whole.
fn connect(file: &Path) -> Result<Connection, Refused> {
    // SQLite would create it readable by everybody.
    let created = OpenOptions::new().create(true).append(true).mode(0o600).open(file);
    created.map_err(|error| Refused::Other(format!("it cannot be written: {error}")))?;
    let db = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY_MAX)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cell_size_check", true)?;
    let number = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    match (number("application_id")?, number("user_version")?) {
        (0, 0) => {
            let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables > 0 {
                return Err(Refused::Other("it is another program's database".into()));
            }
            db.execute_batch(&format!(
                "BEGIN; {SCHEMA} {SCHEMA_2} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; \
                 COMMIT;"
            ))?;
        }
        (APPLICATION_ID, 1) => {
            db.execute_batch(&format!("BEGIN; {SCHEMA_2} PRAGMA user_version = {VERSION}; COMMIT;"))?;
        }
        (APPLICATION_ID, VERSION) => {}
        (APPLICATION_ID, later) => {
            return Err(Refused::Other(format!("it has version {later}, and this dsengine reads up to {VERSION}")));
        }
        _ => return Err(Refused::Other("it is another program's database".into())),
    }
    let verdict: String = db.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if verdict == "ok" { Ok(db) } else { Err(Refused::Damaged) }
}

/// Reads from a database, which must exist.
///
/// # Errors
/// [`Code::Io`] when it does not exist or cannot be read.
pub(super) fn read<T>(file: &Path, what: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
    let read = connect_to_read(file).and_then(|db| what(&db));
    read.map_err(|error| Error::new(Code::Io, format!("{} cannot be read: {error}", file.display())))
}

fn connect_to_read(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags)?;
    db.busy_timeout(BUSY_MAX)?;
    Ok(db)
}

/// Renames a damaged database, and its log; returns its new name.
fn set_aside(file: &Path) -> Result<PathBuf, JournalError> {
    let named = |end: &str, n: u32| beside(file, &format!(".damaged-{n}{end}"));
    let free = (1..=DAMAGED_MAX).find(|n| !named("", *n).exists());
    let n = free.ok_or_else(|| JournalError(format!("{} was damaged {DAMAGED_MAX} times", file.display())))?;
    let failed = |error| JournalError(format!("{} is damaged and cannot be renamed: {error}", file.display()));
    for end in ["-wal", "-shm"] {
        let log = beside(file, end);
        if log.exists() {
            std::fs::rename(&log, named(end, n)).map_err(failed)?;
        }
    }
    std::fs::rename(file, named("", n)).map_err(failed)?;
    Ok(named("", n))
}

/// Copies the alerts that can be read from a damaged database; returns how many.
fn salvage(damaged: &Path, into: &mut Connection) -> rusqlite::Result<usize> {
    let Ok(from) = Connection::open_with_flags(damaged, OpenFlags::SQLITE_OPEN_READ_WRITE) else { return Ok(0) };
    let number = |query: &str| from.query_row(query, [], |row| row.get::<_, i64>(0));
    // The last page is damaged as easily as another: what it would say is kept elsewhere, too.
    let last = number("SELECT seq FROM sqlite_sequence WHERE name = 'alerts'");
    let last = last.or_else(|_| number("SELECT max(ordinal) FROM alerts")).unwrap_or(0);
    let first = number("SELECT min(ordinal) FROM alerts").unwrap_or(1).max(last.saturating_sub(SALVAGED_MAX));
    let transaction = into.transaction()?;
    let mut saved = 0;
    for ordinal in first..=last {
        // A row on a damaged page fails alone.
        let row = from.query_row(&format!("{SELECT} WHERE ordinal = ?1"), [ordinal], Row::from_sql);
        let Ok(row) = row else { continue };
        let Some(alert) = row.alert() else { continue };
        let Ok(deliveries) = deliveries(&from, ordinal) else { continue };
        let handlers: Vec<Arc<str>> = deliveries.iter().map(|(handler, _)| handler.clone()).collect();
        journal::accept(&transaction, &alert, &handlers, row.written_ms)?;
        for (handler, outcome) in deliveries {
            if let Some(outcome) = outcome {
                journal::settle(&transaction, &alert.id, &handler, &outcome)?;
            }
        }
        saved += 1;
    }
    salvage_values(&from, &transaction)?;
    transaction.commit()?;
    Ok(saved)
}

/// Copies the values for a later process that can be read from a damaged database.
fn salvage_values(from: &Connection, into: &Transaction<'_>) -> rusqlite::Result<()> {
    let Ok(mut rows) = from.prepare(SELECT_SAVED) else { return Ok(()) };
    let Ok(rows) = rows.query_map([], saved_from_sql) else { return Ok(()) };
    // A damaged page ends the walk: what follows it is lost.
    for value in rows.map_while(Result::ok).flatten() {
        journal::save(into, &value)?;
    }
    Ok(())
}

pub(super) const SELECT_SAVED: &str = "SELECT kind, name, contents, sha256 FROM saved";

/// A row of `saved`; `None` if it is not what was written.
pub(super) fn saved_from_sql(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Saved>> {
    let (kind, name, contents): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let sha256: Vec<u8> = row.get(3)?;
    let kind = SavedKind::ALL.into_iter().find(|known| known.as_str() == kind);
    let is_whole = Sha256::digest(&contents)[..] == *sha256;
    let saved = |kind| Saved { kind, name: name.into(), contents: Some(contents.into()) };
    Ok(kind.filter(|_| is_whole).map(saved))
}

pub(super) const SELECT: &str = "SELECT ordinal, id, contents, sha256, written_ms FROM alerts";

/// A row of `alerts`.
pub(super) struct Row {
    pub(super) ordinal: i64,
    pub(super) id: String,
    contents: String,
    sha256: Vec<u8>,
    pub(super) written_ms: i64,
}

impl Row {
    pub(super) fn from_sql(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            ordinal: row.get(0)?,
            id: row.get(1)?,
            contents: row.get(2)?,
            sha256: row.get(3)?,
            written_ms: row.get(4)?,
        })
    }

    /// The alert, if it is what was written.
    pub(super) fn alert(&self) -> Option<Alert> {
        let Self { contents, sha256, .. } = self;
        (Sha256::digest(contents)[..] == **sha256).then(|| serde_json::from_str(contents).ok()).flatten()
    }
}

/// An alert's handlers, in the order of its acceptance, each with its outcome.
pub(super) fn deliveries(db: &Connection, ordinal: i64) -> rusqlite::Result<Vec<(Arc<str>, Option<String>)>> {
    let mut rows = db.prepare_cached("SELECT handler, outcome FROM deliveries WHERE ordinal = ?1 ORDER BY position")?;
    rows.query_map([ordinal], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
