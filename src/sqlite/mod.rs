//! Alerts in an SQLite database: a [`Journal`](crate::alert::Journal) that survives the process and a loss of power,
//! and the [`History`] of what was delivered.
//!
//! Write-ahead log with `synchronous = FULL`: a commit returns once the log is on the disk. Every alert carries the
//! SHA-256 of its contents, so a row that a damaged disk altered is found, set aside and logged, never delivered.
//! `database` opens, checks and repairs the file; `journal` writes it (`again`: what is sent again); `history` reads
//! it, and `decisions` the log behind `explain`.

mod again;
mod database;
mod decisions;
mod history;
mod journal;
mod lock;

pub use decisions::Decisions;
pub use history::{Attempt, Delivered, History, HistoryQuery, Kept};
pub use journal::{Keep, SqliteJournal};
pub use lock::StateLock;
