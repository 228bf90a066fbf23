//! Reads the file system: stamps, contents, listings, symlinks.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Maximum size of a file.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Maximum entries read per folder.
const ENTRIES_MAX: usize = 1024;
/// Maximum symlinks followed in a row; more than the kernel follows.
const LINKS_MAX: usize = 40;

/// Metadata for a cheap comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of_file(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino(), size: meta.size(), changed: (meta.ctime(), meta.ctime_nsec()) }
    }

    /// A folder's stamp changes with its listing.
    fn of_folder(meta: &Metadata, list: &[u8]) -> Self {
        let [a, b, ..] = hash(list);
        let digest = hash(list)[2..10].iter().fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte));
        let changed = (digest, i64::from(a) << 8 | i64::from(b));
        Self { device: meta.dev(), inode: meta.ino(), size: list.len() as u64 + 1, changed }
    }
}

/// The current stamp of a file or folder.
pub(super) fn stamp(path: &Path) -> io::Result<Stamp> {
    let meta = fs::metadata(path)?;
    if meta.is_dir() {
        return Ok(Stamp::of_folder(&meta, &listing(path)?));
    }
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(Stamp::of_file(&meta))
}

/// A file's content, or a folder's listing.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path.is_dir() {
        return listing(path);
    }
    let mut bytes = Vec::new();
    crate::text::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// A folder's listing: one line per file, with its stamp.
fn listing(folder: &Path) -> io::Result<Vec<u8>> {
    // Files deleted meanwhile are skipped.
    let line = |path: PathBuf| fs::metadata(&path).ok().map(|meta| line(&path, &meta));
    Ok(files_in(folder)?.into_iter().filter_map(line).collect::<Vec<_>>().concat())
}

/// The files in a folder and in its direct subfolders. Names that begin with a dot are skipped: editors and
/// configuration mounts create them.
pub(super) fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let inside = |path: PathBuf| if path.is_dir() { entries(&path).unwrap_or_default() } else { vec![path] };
    Ok(entries(folder)?.into_iter().flat_map(inside).filter(|path| path.is_file()).collect())
}

fn line(path: &Path, meta: &Metadata) -> Vec<u8> {
    let Stamp { device, inode, size, changed } = Stamp::of_file(meta);
    [path.as_os_str().as_bytes(), format!("\t{device} {inode} {size} {changed:?}\n").as_bytes()].concat()
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let visible = |path: &PathBuf| path.file_name().is_some_and(|name| !name.as_bytes().starts_with(b"."));
    let mut paths: Vec<PathBuf> = paths.filter(visible).take(ENTRIES_MAX).collect();
    paths.sort();
    Ok(paths)
}

/// The folders and names whose events concern a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// The path's folder, and the folder of each symlink on the way; for a folder, also itself and its subfolders.
    pub(super) folders: BTreeSet<PathBuf>,
    /// The path's name, and the names of its symlinks' targets.
    pub(super) names: BTreeSet<OsString>,
    /// For a folder: itself and its subfolders, absolute. Every event in them concerns it.
    pub(super) inside: BTreeSet<PathBuf>,
}

impl Steps {
    pub(super) fn of(path: &Path) -> Self {
        let mut steps = Self::default();
        let mut queue = vec![path.to_owned()];
        for _ in 0..LINKS_MAX {
            let Some(path) = queue.pop() else { break };
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            steps.folders.insert(parent.to_owned());
            steps.names.extend(path.file_name().map(Into::into));
            for step in path.ancestors().filter(|step| !step.as_os_str().is_empty()) {
                let Ok(target) = fs::read_link(step) else { continue };
                let folder = step.parent().unwrap_or(Path::new("."));
                steps.folders.insert(if folder.as_os_str().is_empty() { ".".into() } else { folder.to_owned() });
                let rest = path.strip_prefix(step).unwrap_or(Path::new(""));
                let followed = folder.join(target);
                queue.push(if rest.as_os_str().is_empty() { followed } else { followed.join(rest) });
            }
        }
        if path.is_dir() {
            let below = entries(path).unwrap_or_default().into_iter().filter(|path| path.is_dir());
            let inside: Vec<PathBuf> = below.chain([path.to_owned()]).collect();
            steps.inside.extend(inside.iter().filter_map(|folder| std::path::absolute(folder).ok()));
            steps.folders.extend(inside);
        }
        steps
    }
}

pub(super) fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
