//! The files beside a module that a version is built from: what it requires, what it reads, its plugin.toml.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// Files by path, with what stood in them; `None` where one was looked for and was not there.
pub type Files = BTreeMap<PathBuf, Option<Arc<[u8]>>>;

/// Reads each file once, for all instances of a version: they are built from the same texts, whatever is saved
/// meanwhile, and what they are built from is known.
#[derive(Debug, Default)]
pub struct BuildInputs(Mutex<Files>);

impl BuildInputs {
    /// Those files and no others, without a look at the disk for them.
    pub fn of(files: Files) -> Self {
        Self(Mutex::new(files))
    }

    /// What `read` gives for the file at `path`, or gave the first time; `None` where there is no such file.
    ///
    /// # Errors
    /// Why `read` could not; nothing is noted then.
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

    /// Everything that was read or looked for so far.
    pub fn files(&self) -> Files {
        self.0.lock().clone()
    }
}

/// Whether the files on disk are still those.
pub fn unchanged_on_disk(files: &Files) -> bool {
    files.iter().all(|(path, known)| match known {
        // The length first: what has grown out of all bounds is not read.
        Some(known) => {
            std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == known.len() as u64)
                && std::fs::read(path).is_ok_and(|bytes| *bytes == **known)
        }
        None => !path.is_file(),
    })
}
