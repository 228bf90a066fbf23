//! A disk cache of compiled components, so that the next start need not compile again.
//!
//! Machine code is loaded as is: anyone who can write here can run code as this process. So the folder is private
//! (0700, our user), the files are (0600, our user), each begins with the digest of the rest, and nothing is loaded
//! from anywhere else. A file's name is the digest of the component with the engine's version and settings: a file of
//! another version is not found.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::{Code, Error};

/// Maximum number of files; the least recently used are removed first.
const FILES_MAX: usize = 64;
/// Maximum total size in bytes.
const BYTES_MAX: u64 = 512 << 20;
/// Length of the digest at the start of a file.
const DIGEST: usize = 32;

pub(super) struct Cache {
    folder: PathBuf,
}

/// This user's cache folder for the engine: `$XDG_CACHE_HOME/dsengine`, or `~/.cache/dsengine`.
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("dsengine"))
}

impl Cache {
    /// Opens the cache in `folder`, which is created if missing.
    ///
    /// # Errors
    /// [`Code::Plugin`]: the folder cannot be created, belongs to another user, or is accessible to others.
    pub(super) fn open(folder: PathBuf) -> Result<Self, Error> {
        let shown = folder.display();
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(|e| refused(format!("{}: {e}", parent.display())))?;
        }
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(refused(format!("{shown}: {e}"))),
            _ => {}
        }
        let found = fs::symlink_metadata(&folder).map_err(|e| refused(format!("{shown}: {e}")))?;
        if !found.is_dir() || !private(&found) {
            return Err(refused(format!("{shown} is not a folder of this user's alone"))
                .hint(format!("it holds machine code that is run: chmod 700 {shown}, or name another folder")));
        }
        Ok(Self { folder })
    }

    /// The cache key of `bytes` compiled by `engine`.
    pub(super) fn key(engine: &Engine, bytes: &[u8]) -> String {
        let mut settings = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut settings);
        let mut digest = Sha256::new();
        digest.update(bytes);
        digest.update(settings.finish().to_le_bytes());
        digest.finalize().iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The component cached under `key`, if its file is intact.
    pub(super) fn get(&self, engine: &Engine, key: &str) -> Option<Component> {
        let mut file = open_own(&self.path(key))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let (digest, code) = bytes.split_at_checked(DIGEST)?;
        if Sha256::digest(code)[..] != *digest {
            return None;
        }
        // The time of last use determines the order of removal.
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let _ = futimens(&file, &Timestamps { last_access: now, last_modification: now });
        load(engine, code)
    }

    /// Caches a component. A failure only means that the next start compiles again.
    ///
    /// # Errors
    /// Describes what could not be written.
    pub(super) fn put(&self, key: &str, component: &Component) -> Result<(), String> {
        let code = component.serialize().map_err(|e| format!("{e:#}"))?;
        let path = self.path(key);
        let draft = self.folder.join(format!("{key}.{}", std::process::id()));
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&Sha256::digest(&code))?;
            file.write_all(&code)?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().map_err(|e| {
            // The file may not exist.
            let _ = fs::remove_file(&draft);
            format!("{}: {e}", path.display())
        })?;
        self.prune();
        Ok(())
    }

    /// Removes the least recently used files beyond the limits.
    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let found = fs::symlink_metadata(&path).ok()?;
                found.is_file().then(|| (found.modified().ok(), found.len(), path))
            })
            .collect();
        files.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut bytes = 0;
        for (index, (_, size, path)) in files.iter().enumerate() {
            bytes += size;
            if index >= FILES_MAX || bytes > BYTES_MAX {
                // Another process may have removed it.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.cwasm"))
    }
}

/// Opens a file only if it is a regular, private file of our user; does not follow links.
fn open_own(path: &Path) -> Option<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let found = file.metadata().ok()?;
    (found.is_file() && private(&found)).then_some(file)
}

/// Whether it belongs to our user and only that user can access it.
fn private(found: &fs::Metadata) -> bool {
    found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0
}

/// Loads a compiled component into another engine of the same settings.
///
/// # Errors
/// When the engine rejects it.
#[allow(unsafe_code, reason = "machine code is loaded as it is")]
pub(super) fn again(engine: &Engine, component: &Component) -> wasmtime::Result<Component> {
    let code = component.serialize()?;
    // SAFETY: `deserialize` needs bytes from `serialize`: these are, and have not left this function.
    unsafe { Component::deserialize(engine, code) }
}

#[allow(unsafe_code, reason = "machine code is loaded as it is")]
fn load(engine: &Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: `deserialize` needs bytes from `serialize`. These come from a file that, like its folder, only this user
    // can write, under a name that only this module uses, with a verified digest.
    unsafe { Component::deserialize(engine, code) }.ok()
}

fn refused(what: String) -> Error {
    Error::new(Code::Plugin, format!("the cache of compiled components: {what}"))
}
