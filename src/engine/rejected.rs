//! What the health has to say that no part says of itself: files whose latest contents are not what runs, and notes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::status::RejectedReload;

/// See the module. At most one entry for each file in use.
#[derive(Default)]
pub(super) struct Rejected {
    files: Mutex<BTreeMap<PathBuf, String>>,
    notes: Mutex<BTreeMap<String, String>>,
}

impl Rejected {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file's latest contents do not run.
    pub(super) fn note(&self, module: &Path, reason: &str) {
        self.lock().insert(module.to_owned(), reason.to_owned());
    }

    /// They run.
    pub(super) fn clear(&self, module: &Path) {
        self.lock().remove(module);
    }

    pub(super) fn list(&self) -> Vec<RejectedReload> {
        let all = self.lock();
        all.iter()
            .map(|(path, error)| RejectedReload { script: path.display().to_string(), error: error.clone() })
            .collect()
    }

    /// Notes a problem, or takes the note back.
    pub(super) fn set_note(&self, key: &str, problem: Option<String>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(problem) => drop(notes.insert(key.to_owned(), problem)),
            None => drop(notes.remove(key)),
        }
    }

    /// The problems that were noted.
    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
