//! Writes alerts as JSON lines to a rotating file. `telemetry::rotate` describes its durability.

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
    /// Opens the file now, so that a wrong path shows at startup and not with the first alert.
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

    /// A write in progress cannot be cancelled.
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
            // The disk may block: not on a runtime thread.
            let written = task::spawn_blocking(move || {
                // A panic leaves at worst a torn line, which the next open repairs.
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
