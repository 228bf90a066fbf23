//! Files whose latest contents do not run, and why: rejected, or rolled back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, MutexGuard};

use crate::engine::view::status::RejectedReload;

/// See the module. At most one entry for each file in use.
#[derive(Default)]
pub(in crate::engine) struct Rejected(Mutex<BTreeMap<PathBuf, String>>);

impl Rejected {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.0.lock()
    }

    /// Records that the file's latest contents do not run.
    pub(in crate::engine) fn note(&self, module: &Path, reason: &str) {
        self.lock().insert(module.to_owned(), reason.to_owned());
    }

    /// The reason recorded for a file.
    pub(in crate::engine) fn of(&self, module: &Path) -> Option<String> {
        self.lock().get(module).cloned()
    }

    /// Clears the record: the latest contents run.
    pub(in crate::engine) fn clear(&self, module: &Path) {
        self.lock().remove(module);
    }

    /// Removes entries of unused files.
    pub(in crate::engine) fn retain(&self, is_used: impl Fn(&Path) -> bool) {
        self.lock().retain(|path, _| is_used(path));
    }

    pub(in crate::engine) fn list(&self) -> Vec<RejectedReload> {
        let all = self.lock();
        all.iter()
            .map(|(path, error)| RejectedReload { script: path.display().to_string(), error: error.clone() })
            .collect()
    }
}
