//! Files that a script may read: those requested and granted, once, and only while it loads.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::guest::{BuildInputs, GuestContext};

/// Maximum size of a file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Maximum number of files of one script.
const FILES_MAX: usize = 32;

/// A file's contents, or the reason for the failure.
type Reading = Result<Arc<[u8]>, String>;

/// Files of one script. Contents are cached, so that a rebuilt VM gets the same bytes.
#[derive(Debug, Default)]
pub(super) struct Files {
    granted: Vec<PathBuf>,
    inputs: Arc<BuildInputs>,
    read: BTreeMap<String, Reading>,
    /// Set once the script has loaded: after that, nothing is read from disk.
    pub(super) closed: bool,
}

impl Files {
    pub(super) fn new(context: &GuestContext) -> Self {
        Self { granted: context.grants.has.files.clone(), inputs: Arc::clone(&context.inputs), ..Self::default() }
    }

    /// The bytes of a file, or a disk error.
    ///
    /// # Errors
    /// A mistake of the script, such as a file that is not granted.
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
        let reading = match real(root, path)? {
            Ok(real) => self.inputs.once(path, || contents(&real)).and_then(|bytes| bytes.ok_or("not a file".into())),
            Err(why) => {
                if !path.exists() {
                    // Recorded, so that the watcher notices when it is created.
                    let _ = self.inputs.once(path, || Ok(None));
                }
                Err(why)
            }
        };
        let reading = reading.map_err(|why| format!("{}: {why}", path.display()));
        self.read.insert(name.to_owned(), reading.clone());
        Ok(reading)
    }
}

/// Resolves `path`, or returns a disk error. A link may not lead out of the granted folder.
fn real(root: &Path, path: &Path) -> Result<Result<PathBuf, String>, String> {
    match (path.canonicalize(), root.canonicalize()) {
        (Ok(real), Ok(base)) if real.starts_with(&base) => Ok(Ok(real)),
        (Ok(_), Ok(_)) => Err(format!("'{}' leads out of {}", path.display(), root.display())),
        (Err(e), _) | (_, Err(e)) => Ok(Err(e.to_string())),
    }
}

fn contents(path: &Path) -> Result<Option<Arc<[u8]>>, String> {
    if !path.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    crate::text::open(path)
        .and_then(|f| f.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|e| e.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("longer than {FILE_BYTES_MAX} bytes"));
    }
    Ok(Some(bytes.into()))
}
