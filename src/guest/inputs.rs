//! The files besides its module that a version is built from: required modules, files that it reads, its plugin.toml.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// Files by path, with their contents; `None` for a file that was looked for and missing.
pub type Files = BTreeMap<PathBuf, Option<Arc<[u8]>>>;

/// Reads each file once for all instances of a version, so that all are built from the same contents, whatever is saved
/// meanwhile, and those contents are known.
#[derive(Debug, Default)]
pub struct BuildInputs(Mutex<Files>);

impl BuildInputs {
    /// These files, without reading the disk for them.
    pub fn of(files: Files) -> Self {
        Self(Mutex::new(files))
    }

    /// Returns the result of the first `read` of the file at `path`; `None` if there is no such file.
    ///
    /// # Errors
    /// The error of `read`; nothing is recorded then.
    pub fn once(
        &self,
        path: &Path,
        read: impl FnOnce() -> Result<Option<Arc<[u8]>>, String>,
    ) -> Result<Option<Arc<[u8]>>, String> {
        let mut files = self.0.lock();
        if let Some(known) = files.get(path) {
            return Ok(known.clone());
        }
        let result = read()?;
        files.insert(path.to_owned(), result.clone());
        Ok(result)
    }

    /// All files that were read or looked for so far.
    pub fn files(&self) -> Files {
        self.0.lock().clone()
    }
}

/// Whether the files on disk have the same contents.
pub fn unchanged_on_disk(files: &Files) -> bool {
    files.iter().all(|(path, known)| match known {
        // Length first: a file that has grown huge is not read.
        Some(known) => {
            std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == known.len() as u64)
                && crate::text::bytes(path).is_ok_and(|bytes| *bytes == **known)
        }
        None => !path.is_file(),
    })
}
