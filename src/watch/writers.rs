//! Whether any visible process has a file open for writing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The access mode in a descriptor's flags, which `fdinfo` prints in octal; 0 is read-only.
const ACCESS_MODE: u32 = 0o3;

/// Searches the descriptors of all processes for any of these files; other users' descriptors are not visible.
pub(super) fn is_open(files: &[PathBuf]) -> bool {
    let files: BTreeSet<(u64, u64)> =
        files.iter().filter_map(|file| fs::metadata(file).ok()).map(|meta| (meta.dev(), meta.ino())).collect();
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    let is_process = |name: &[u8]| name.first().is_some_and(u8::is_ascii_digit);
    processes.flatten().filter(|process| is_process(process.file_name().as_encoded_bytes())).any(|process| {
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { return false };
        descriptors.flatten().any(|descriptor| {
            let found = fs::metadata(descriptor.path());
            found.is_ok_and(|meta| files.contains(&(meta.dev(), meta.ino())))
                && writes(&process.path().join("fdinfo").join(descriptor.file_name()))
        })
    })
}

fn writes(info: &Path) -> bool {
    let text = fs::read_to_string(info).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & ACCESS_MODE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_seen_and_a_reader_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let writer = fs::File::create(&path).unwrap();
        let is_open = |path: &Path| is_open(&[path.to_owned()]);
        assert!(is_open(&path));
        drop(writer);
        let _reader = fs::File::open(&path).unwrap();
        assert!(!is_open(&path));
        assert!(!is_open(&folder.path().join("none")));
    }
}
