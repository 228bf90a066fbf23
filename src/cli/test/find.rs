//! Finds plugins and their cases.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dsengine::error::{Code, Error};
use dsengine::guest::{GuestKind, Manifest};

use super::case::Case;
use crate::cli::plugin::module::{MANIFEST, language};

/// Maximum depth of the search for plugins.
const DEPTH_MAX: usize = 8;
/// Folders with third-party files.
const SKIPPED: [&str; 3] = ["target", "node_modules", "prebuilt"];
/// How much newer a source may be: a checkout writes all files within a moment, in any order.
const CLOSE: Duration = Duration::from_secs(2);
/// Extensions of files that components are built from.
const SOURCES: [&str; 14] = ["rs", "toml", "c", "h", "cc", "cpp", "hpp", "js", "mjs", "ts", "py", "go", "zig", "wit"];
/// The folder of plugin templates.
const TEMPLATES: &str = "templates";

/// A plugin with the cases to run.
pub(super) struct Plugin {
    pub(super) dir: PathBuf,
    pub(super) manifest: Manifest,
    /// The file to load.
    pub(super) entry: PathBuf,
    pub(super) cases: Vec<PathBuf>,
}

impl Plugin {
    fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(MANIFEST);
        let text = dsengine::text::read(&path)
            .map_err(|e| Error::new(Code::Io, format!("{}: cannot be read: {e}", path.display())))?;
        let manifest = Manifest::parse(&text, &path.display().to_string())?;
        let entry = dir.join(manifest.entry.clone().unwrap_or_default());
        Ok(Self { dir: dir.to_owned(), manifest, entry, cases: Vec::new() })
    }

    /// Why its cases cannot run at all.
    pub(super) fn problem(&self) -> Option<Error> {
        if language(&self.entry).is_none() {
            let what = format!("{}: its entry {} is neither a .lua nor a .wasm", self.toml(), self.entry.display());
            return Some(Error::new(Code::Plugin, what));
        }
        if self.entry.is_file() {
            return None;
        }
        let error =
            Error::new(Code::Plugin, format!("{}: its entry {} is not there", self.toml(), self.entry.display()));
        Some(if self.dir.join("build.sh").exists() {
            error.hint(format!("build it: {}/build.sh", self.dir.display()))
        } else if self.dir.join("Cargo.toml").exists() || self.entry.extension().is_some_and(|e| e == "wasm") {
            error.hint(format!("build it: dsengine plugin build {}", self.dir.display()))
        } else {
            error.hint("correct `entry` in plugin.toml, or write the file")
        })
    }

    /// Why its component may not be what its sources say: one of them is newer.
    pub(super) fn stale(&self) -> Option<String> {
        let modified = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        if self.entry.extension().is_none_or(|e| e != "wasm") {
            return None;
        }
        let built = modified(&self.entry)?;
        let is_newer = |path: &PathBuf| modified(path).is_some_and(|at| at > built + CLOSE);
        let tests = self.dir.join("tests");
        let mut sources = self.all_files().into_iter().filter(|path| is_source(path) && !path.starts_with(&tests));
        let newer = sources.find(is_newer)?;
        let (entry, newer, dir) = (self.entry.display(), newer.display(), self.dir.display());
        let script = self.dir.join("build.sh");
        let build = match self.dir.join("Cargo.toml").exists() || !script.exists() {
            true => format!("dsengine plugin build {dir}"),
            false => script.display().to_string(),
        };
        Some(format!("{entry} is older than {newer}: the tests run what was built before\n  hint: build it: {build}"))
    }

    fn toml(&self) -> String {
        self.dir.join(MANIFEST).display().to_string()
    }

    /// Whether the case is for a handler; an error if manifest and case disagree.
    pub(super) fn is_handler(&self, case: &Case) -> Result<bool, Error> {
        let said = case.script.is_handlers();
        match self.manifest.kind {
            Some(kind) if (kind == GuestKind::Handler) != said => {
                let (is, has) = if said { ("strategy", "alerts") } else { ("handler", "frames") };
                let what =
                    format!("{}: plugin.toml says that this is a {is}, and the case gives it {has}", case.shown());
                Err(Error::new(Code::Plugin, what))
            }
            _ => Ok(said),
        }
    }

    /// The files that may affect the result.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        // Modules that a script requires.
        let modules =
            self.all_files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "lua" || e == "luau"));
        [self.dir.join(MANIFEST), self.entry.clone()].into_iter().chain(modules).collect()
    }

    /// The files in its folder and below.
    fn all_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![(self.dir.clone(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            for path in entries(&folder) {
                if path.is_dir() {
                    if depth < DEPTH_MAX && !is_skipped(&path) {
                        folders.push((path, depth + 1));
                    }
                } else {
                    files.push(path);
                }
            }
        }
        files
    }
}

/// The plugins at the given paths.
#[derive(Default)]
pub(super) struct Found {
    /// The plugins, each with the cases to run.
    pub(super) plugins: Vec<Plugin>,
    /// Unreadable manifests, and why; the other plugins still run.
    pub(super) broken: Vec<(PathBuf, Error)>,
}

/// Finds the plugins at the given paths.
pub(super) fn plugins(paths: &[PathBuf]) -> Result<Found, Error> {
    let mut found = Found::default();
    for path in paths {
        if path.is_dir() {
            let count = |found: &Found| found.plugins.len() + found.broken.len();
            let before = count(&found);
            collect(path, 0, &mut found);
            if count(&found) == before {
                let what = format!("{}: there is no plugin.toml in this folder or below it", path.display());
                return Err(Error::new(Code::Plugin, what)
                    .hint("dsengine new strategy NAME --lang lua writes a plugin with a test"));
            }
        } else if path.is_file() {
            single(path, &mut found)?;
        } else {
            return Err(Error::new(Code::Io, format!("{}: there is no such file or folder", path.display())));
        }
    }
    if found.broken.is_empty() && found.plugins.iter().all(|plugin| plugin.cases.is_empty()) {
        let places: Vec<String> = found.plugins.iter().map(|p| p.dir.join("tests").display().to_string()).collect();
        return Err(Error::new(Code::Plugin, format!("there are no tests: no *.yaml in {}", places.join(", ")))
            .hint("a case is a file tests/NAME.yaml; dsengine new writes one to start from"));
    }
    Ok(found)
}

fn collect(dir: &Path, depth: usize, found: &mut Found) {
    let manifest = dir.join(MANIFEST);
    if manifest.is_file() {
        let is_case = |path: &PathBuf| path.is_file() && path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        match Plugin::read(dir) {
            Ok(plugin) => {
                let cases = entries(&dir.join("tests")).into_iter().filter(is_case).collect();
                found.plugins.push(Plugin { cases, ..plugin });
            }
            Err(error) => found.broken.push((manifest, error)),
        }
    } else if depth < DEPTH_MAX {
        let searched = |path: &PathBuf| path.is_dir() && !is_skipped(path) && !path.ends_with(TEMPLATES);
        for path in entries(dir).into_iter().filter(searched) {
            collect(&path, depth + 1, found);
        }
    }
}

/// Finds a single case, or a plugin by one of its files.
fn single(path: &Path, found: &mut Found) -> Result<(), Error> {
    let above = path.ancestors().skip(1).map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
    let Some(dir) = above.into_iter().take(DEPTH_MAX).find(|dir| dir.join(MANIFEST).is_file()) else {
        let what = format!("{}: there is no plugin.toml in its folder or above it", path.display());
        return Err(Error::new(Code::Plugin, what).hint("it says which file the plugin is: dsengine new writes one"));
    };
    if !path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
        collect(dir, 0, found);
        return Ok(());
    }
    match found.plugins.iter_mut().find(|plugin| plugin.dir == dir) {
        Some(plugin) => {
            let cases: BTreeSet<_> = plugin.cases.drain(..).chain([path.to_owned()]).collect();
            plugin.cases = cases.into_iter().collect();
        }
        None => found.plugins.push(Plugin { cases: vec![path.to_owned()], ..Plugin::read(dir)? }),
    }
    Ok(())
}

/// The entries of a folder, sorted; empty if there is none.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// Whether a component may be built from this file.
fn is_source(path: &Path) -> bool {
    !path.ends_with(MANIFEST) && path.extension().and_then(|e| e.to_str()).is_some_and(|e| SOURCES.contains(&e))
}

fn is_skipped(path: &Path) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_none_or(|name| name.starts_with('.') || SKIPPED.contains(&name))
}
