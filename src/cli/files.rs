//! Files that commands write.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use dsengine::error::{Code, Error};

/// Creates an empty file.
pub(crate) fn create(path: &Path) -> Result<File, Error> {
    File::create(path).map_err(|e| io(path, &e))
}

/// Writes a file beside its name and renames it, so that nobody reads a part of it by that name.
pub(crate) fn place(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let placed = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    placed.map_err(|error| {
        // Nothing more can be done about a leftover.
        let _ = std::fs::remove_file(&beside);
        io(path, &error)
    })
}

/// The error for a file that cannot be written.
pub(crate) fn io(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Code::Io, format!("{}: cannot be written: {error}", path.display()))
}

/// Rejects an output that is also an input or another output: creating it would truncate data still to be read.
pub(crate) fn apart(outputs: &[&Path], inputs: &[&Path]) -> Result<(), Error> {
    let inputs: Vec<Spot> = inputs.iter().filter_map(|path| spot(path)).collect();
    let mut taken = Vec::new();
    for path in outputs {
        let Some(spot) = spot(path) else { continue };
        let what = match (inputs.contains(&spot), taken.contains(&spot)) {
            (true, _) => "it is also read",
            (_, true) => "it is named as two outputs",
            _ => {
                taken.push(spot);
                continue;
            }
        };
        let what = format!("{}: is not overwritten: {what}", path.display());
        return Err(Error::new(Code::Io, what).hint("name another file to write"));
    }
    Ok(())
}

/// The identity of a path, however it is written.
#[derive(PartialEq)]
enum Spot {
    /// A file, by device and inode.
    File(u64, u64),
    /// A file that does not exist yet.
    Name(PathBuf, OsString),
}

/// `None` for devices and pipes, which may be written safely.
fn spot(path: &Path) -> Option<Spot> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => Some(Spot::File(found.dev(), found.ino())),
        Ok(_) => None,
        Err(_) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Some(Spot::Name(folder.canonicalize().ok()?, path.file_name()?.to_owned()))
        }
    }
}
