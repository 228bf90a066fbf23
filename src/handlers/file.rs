//! Alerts as JSON lines in a rotating file. See `telemetry::rotate` for what is lost when (nothing, while the process
//! and the system live).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task;

use crate::alert::{BoxFuture, DeliveryError, Handler, Retry};
use crate::error::{Code, Error};
use crate::telemetry::rotate::RotatingFile;
use crate::types::Alert;

/// Appends one JSON object per alert.
#[derive(Debug)]
pub struct JsonLines {
    name: Arc<str>,
    path: PathBuf,
    file: Arc<Mutex<RotatingFile>>,
}

impl JsonLines {
    /// Opens the file, so that a wrong path shows at the start and not with the first alert.
    ///
    /// # Errors
    /// [`Code::Handler`] when it cannot be written.
    pub fn open(name: Arc<str>, path: &Path, max_bytes: u64, backups: u32) -> Result<Self, Error> {
        let file = RotatingFile::open(path, max_bytes, backups).map_err(|error| {
            Error::new(Code::Handler, format!("handler {name}: {} cannot be written: {error}", path.display()))
                .hint("set its log_file to a file in a folder that this user may write")
        })?;
        Ok(Self { name, path: path.to_owned(), file: Arc::new(Mutex::new(file)) })
    }
}

impl Handler for JsonLines {
    fn name(&self) -> &str {
        &self.name
    }

    /// A line being written is not taken back.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(async move {
            let failed = |error: &dyn std::fmt::Display, retry| {
                Err(DeliveryError { message: format!("{}: {error}", self.path.display()), retry })
            };
            let record = match serde_json::to_vec(alert) {
                Ok(record) => record,
                Err(error) => return failed(&error, Retry::Never),
            };
            let file = self.file.clone();
            // A disk may take its time: not on a thread that others need.
            let written = task::spawn_blocking(move || {
                // A panic inside leaves at worst a torn line, which the next opening mends.
                file.lock().append(&record)
            });
            match written.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => failed(&error, Retry::Later),
                Err(error) => failed(&error, Retry::Later),
            }
        })
    }
}
