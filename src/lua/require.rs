//! `require`: modules from the allowed folders, read at most once, and only while the script loads.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::habits;
use crate::guest::{BuildInputs, GuestContext};
use crate::text;

/// Maximum modules that one script names, found or not.
const MODULES_MAX: usize = 256;
/// Maximum length of a name.
const NAME_BYTES_MAX: usize = 256;

/// Modules of one script. Texts are cached, so that a rebuilt VM gets the same text.
#[derive(Debug, Default)]
pub(super) struct Modules {
    roots: Vec<PathBuf>,
    bytes_max: usize,
    inputs: Arc<BuildInputs>,
    read: BTreeMap<String, Module>,
    named: usize,
    /// Set once the script has loaded: after that, nothing is read from disk.
    pub(super) closed: bool,
}

/// A module's text and its file name for messages.
#[derive(Debug, Clone)]
pub(super) struct Module {
    pub(super) file: String,
    pub(super) text: String,
}

impl Modules {
    pub(super) fn new(roots: Vec<PathBuf>, context: &GuestContext) -> Self {
        Self { roots, bytes_max: context.limits.source_bytes, inputs: Arc::clone(&context.inputs), ..Self::default() }
    }

    /// The module `name`, `lib/geometry` for `lib/geometry.lua` below a root.
    pub(super) fn get(&mut self, name: &str) -> Result<Module, String> {
        if let Some(module) = self.read.get(name) {
            return Ok(module.clone());
        }
        if self.closed {
            return Err(format!("'{name}' is not loaded; modules are read only while the script loads"));
        }
        let relative = Path::new(name.strip_prefix("./").unwrap_or(name));
        let plain = !name.is_empty() && relative.components().all(|c| matches!(c, Component::Normal(_)));
        if !plain {
            return Err(format!("'{name}' is no module name; write it like 'lib/geometry'"));
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(format!("a module's name has {NAME_BYTES_MAX} bytes at most"));
        }
        self.named += 1;
        if self.named > MODULES_MAX {
            return Err(format!("more than {MODULES_MAX} modules"));
        }
        let files = files(name);
        for (root, file) in self.roots.iter().flat_map(|root| files.iter().map(move |file| (root, file))) {
            let path = root.join(file);
            let Some(bytes) = self.inputs.once(&path, || self.read_file(root, &path))? else { continue };
            let text = text::decode(&bytes).map_err(|_| format!("{}: this is not text", path.display()))?;
            let module = Module { file: path.display().to_string(), text: text::script(&text).to_owned() };
            self.read.insert(name.to_owned(), module.clone());
            return Ok(module);
        }
        let roots: Vec<_> = self.roots.iter().map(|r| r.display().to_string()).collect();
        let missing = match roots.is_empty() {
            true => format!("no module '{name}': this script has no folder to require from"),
            false => format!("no module '{name}' in {}", roots.join(", ")),
        };
        Err(match habits::instead_of(name) {
            Some(instead) => format!("{missing}; {instead}"),
            None => missing,
        })
    }

    /// The text of the module whose file name in messages is `file`.
    pub(super) fn text(&self, file: &str) -> Option<&str> {
        self.read.values().find(|module| module.file == file).map(|module| module.text.as_str())
    }

    fn read_file(&self, root: &Path, path: &Path) -> Result<Option<Arc<[u8]>>, String> {
        if !path.is_file() {
            return Ok(None);
        }
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        // A link may not lead out of the root.
        let (real, base) = (path.canonicalize().map_err(failed)?, root.canonicalize().map_err(failed)?);
        if !real.starts_with(&base) {
            return Err(format!("{} leads out of {}", path.display(), root.display()));
        }
        if std::fs::metadata(&real).map_err(failed)?.len() > self.bytes_max as u64 {
            return Err(format!("{} is longer than {} bytes", path.display(), self.bytes_max));
        }
        crate::text::bytes(&real).map(|bytes| Some(bytes.into())).map_err(failed)
    }
}

/// The candidate files for a name, the most literal first: `lib.util` is `lib.util.lua`, else as in Lua `lib/util.lua`;
/// a folder's module is its `init.lua`.
fn files(name: &str) -> Vec<String> {
    let name = name.strip_prefix("./").unwrap_or(name);
    // Appended: `with_extension` would turn `util.math` into `util.lua`.
    let mut files = vec![format!("{name}.lua")];
    if name.ends_with(".lua") {
        files.push(name.to_owned());
    }
    let dotted = name.replace('.', "/");
    // Dots that do not separate names are not separators.
    let parts = dotted.split('/').all(|part| !part.is_empty());
    if parts && dotted != name {
        files.push(format!("{dotted}.lua"));
    }
    if parts {
        files.push(format!("{dotted}/init.lua"));
    }
    files
}
