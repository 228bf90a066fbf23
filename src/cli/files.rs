//! Files that commands write.

use std::fs::File;
use std::path::Path;

use dsengine::error::{Code, Error};

/// Makes an empty file.
pub(crate) fn create(path: &Path) -> Result<File, Error> {
    File::create(path).map_err(|e| io(path, &e))
}

/// What went wrong with a file that was being written.
pub(crate) fn io(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Code::Io, format!("{}: cannot be written: {error}", path.display()))
}
