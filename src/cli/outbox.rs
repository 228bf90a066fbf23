//! The alerts' database of a run.

use std::path::Path;
use std::sync::Arc;

use dsengine::config::{OutboxPlan, Request};
use dsengine::control;
use dsengine::engine::SystemClock;
use dsengine::error::{Code, Error};
use dsengine::sqlite::{Keep, SqliteJournal, StateLock};

/// A run's database, which no other process uses meanwhile.
#[derive(Debug)]
pub(crate) struct Database {
    file: std::path::PathBuf,
    plan: OutboxPlan,
    pictures: Option<std::path::PathBuf>,
    lock: StateLock,
}

impl Database {
    /// Takes the database of this configuration in the state folder. `None` if alerts are kept in memory: the
    /// configuration says so, it is in no file, or there is no folder to write to, which is then said.
    pub(crate) fn take(state: Option<&Path>, request: &Request, plan: &OutboxPlan) -> Result<Option<Self>, Error> {
        let Some(file) = state.and_then(|state| control::alerts_file(state, request)).filter(|_| plan.durable) else {
            return if plan.required { Err(no_file(state.is_none())) } else { Ok(None) };
        };
        let pictures = state.and_then(|state| control::pictures_dir(state, request));
        let folder = file.parent().unwrap_or(&file);
        let lock = control::create_state_dir(folder).and_then(|()| StateLock::take(&file));
        match lock {
            Ok(mut lock) => {
                if let Some(path) = control::configuration_file(request) {
                    lock.note_configuration(&path);
                }
                Ok(Some(Self { file, plan: *plan, pictures, lock }))
            }
            Err(error) if plan.required || is_writable(folder) => Err(error),
            Err(error) => {
                eprintln!(
                    "warning: alerts that are not delivered when this process ends are lost: {error}\n  hint: --state DIR \
                     names a folder that can be written, alerts.outbox.durability: memory says that it is meant"
                );
                Ok(None)
            }
        }
    }

    /// The folder for pictures of alerts.
    pub(crate) fn pictures(&self) -> Option<&Path> {
        self.pictures.as_deref()
    }

    /// Notes where this run answers, for commands that are about its alerts.
    pub(crate) fn note_address(&mut self, address: &str) {
        self.lock.note_address(address);
    }

    /// Opens the journal; again after a start that failed.
    pub(crate) fn journal(&self) -> Result<SqliteJournal, Error> {
        let keep = Keep { age: self.plan.keep, alerts: self.plan.keep_alerts };
        SqliteJournal::open(&self.file, keep, Arc::new(SystemClock::new())).map_err(|error| {
            Error::new(Code::Io, format!("alerts cannot be kept: {error}"))
                .hint("make room or move the file away; alerts in it are not delivered yet")
        })
    }
}

/// Whether there is a folder in which this user can create files.
fn is_writable(folder: &Path) -> bool {
    folder.is_dir() && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

fn no_file(no_folder: bool) -> Error {
    let (why, hint) = match no_folder {
        true => ("there is no state folder: HOME is not set", "name one: --state DIR"),
        false => ("the configuration is in no file that would name the database", "write it to one: --config FILE"),
    };
    Error::new(Code::Io, format!("alerts.outbox.durability is sync, and {why}")).hint(hint)
}
