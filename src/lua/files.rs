//! Files that a script may read: those it asked for and was granted, once, and only while it loads.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Largest file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most files of one script.
const FILES_MAX: usize = 32;

/// What was read, or why it could not be.
type Reading = Result<Arc<[u8]>, String>;

/// Files of one script. What was read stays, so that a replaced VM is built from the same bytes.
#[derive(Debug, Default)]
pub(super) struct Files {
    granted: Vec<PathBuf>,
    read: BTreeMap<String, Reading>,
    /// Set once the script has loaded: from then on nothing is read from disk.
    pub(super) closed: bool,
}

impl Files {
    pub(super) fn new(granted: Vec<PathBuf>) -> Self {
        Self { granted, ..Self::default() }
    }

    /// The bytes of a file, or why there are none: the disk's fault.
    ///
    /// # Errors
    /// The script's fault: what it may not do.
    pub(super) fn read(&mut self, name: &str) -> Result<Reading, String> {
        if let Some(known) = self.read.get(name) {
            return Ok(known.clone());
        }
        let path = Path::new(name);
        let plain = !path.components().any(|c| matches!(c, Component::ParentDir));
        let Some(root) = self.granted.iter().find(|root| plain && path.starts_with(root)) else {
            return Err(format!(
                "'{name}' is not granted; ask for it with \"---@needs files {name}\" at the top of the script, and grant it"
            ));
        };
        if self.closed || self.read.len() >= FILES_MAX {
            return Err(match self.closed {
                true => format!("'{name}' is not read yet; files are read only while the script loads"),
                false => format!("more than {FILES_MAX} files"),
            });
        }
        let reading = file(root, path)?;
        self.read.insert(name.to_owned(), reading.clone());
        Ok(reading)
    }
}

/// Reads `path`. A link may not lead out of what is granted.
fn file(root: &Path, path: &Path) -> Result<Reading, String> {
    let failed = |e: std::io::Error| Ok(Err(format!("{}: {e}", path.display())));
    let (real, base) = match (path.canonicalize(), root.canonicalize()) {
        (Ok(real), Ok(base)) => (real, base),
        (Err(e), _) | (_, Err(e)) => return failed(e),
    };
    if !real.starts_with(&base) {
        return Err(format!("'{}' leads out of {}", path.display(), root.display()));
    }
    // Opening a pipe or a device may wait without end.
    if !real.is_file() {
        return Ok(Err(format!("{}: not a file", path.display())));
    }
    let mut bytes = Vec::new();
    if let Err(e) = std::fs::File::open(&real).and_then(|f| f.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)) {
        return failed(e);
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Ok(Err(format!("{}: longer than {FILE_BYTES_MAX} bytes", path.display())));
    }
    Ok(Ok(bytes.into()))
}
