//! Reads scripts and components.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Code, Error};
use crate::text;

/// Maximum size of a script or component.
const MODULE_BYTES_MAX: u64 = 64 << 20;

/// Reads a script or component, up to the maximum size.
pub(in crate::engine) fn read_module(path: &Path) -> std::io::Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > MODULE_BYTES_MAX {
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            format!("is {size} bytes, the limit is {MODULE_BYTES_MAX}"),
        ));
    }
    text::bytes(path)
}

/// The contents of every module, each read once.
#[derive(Default)]
pub(in crate::engine) struct Contents(BTreeMap<PathBuf, Arc<[u8]>>);

impl Contents {
    pub(in crate::engine) fn read(&mut self, what: &str, path: &Path) -> Result<Arc<[u8]>, Error> {
        if let Some(bytes) = self.0.get(path) {
            return Ok(Arc::clone(bytes));
        }
        let bytes: Arc<[u8]> = read_module(path)
            .map_err(|e| Error::new(Code::Plugin, format!("{what}: {}: cannot be read: {e}", path.display())))?
            .into();
        self.0.insert(path.to_owned(), Arc::clone(&bytes));
        Ok(bytes)
    }
}
