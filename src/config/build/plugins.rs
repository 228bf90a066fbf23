//! The plugin folder: each script, component and plugin folder in it becomes a strategy.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::modules::{Language, language};
use super::{Site, known_sources};
use crate::config::plan::{SourcePlan, StrategyKind, StrategyPlan};
use crate::config::schema::Plugins;
use crate::config::warning::{Severity, Warning};
use crate::types::SourceId;

/// Maximum number of plugins in the folder.
const PLUGINS_MAX: usize = 256;
/// Suffixes of unfinished files and editor backups.
const UNFINISHED: &[&str] = &["~", ".tmp", ".swp", ".part"];
/// The manifest's file name.
const MANIFEST: &str = "plugin.toml";

/// A strategy from the folder.
#[derive(Debug)]
pub(in crate::config) struct DroppedIn {
    pub(in crate::config) name: String,
    pub(in crate::config) module: PathBuf,
}

/// The strategies from the folder, by name; `listed` are the names in the configuration. Skips anything unusable with a
/// warning.
pub(super) fn build(
    plugins: &Plugins,
    listed: &[String],
    sources: &[&SourcePlan],
    site: &mut Site<'_>,
) -> Vec<StrategyPlan> {
    let only = known_sources(&plugins.sources, "plugins.sources", sources, site);
    let Some(folder) = &plugins.folder else { return Vec::new() };
    let found = match modules(folder, site) {
        // It is limited to sources that are all disabled: nothing to load.
        _ if !plugins.sources.is_empty() && only.is_empty() => Vec::new(),
        Ok(found) => found,
        Err(why) => {
            let hint = "make it: what is put in later is noticed";
            site.warn("plugins.folder", warning("plugin-folder-missing", why).hint(hint));
            Vec::new()
        }
    };
    let mut out: Vec<StrategyPlan> = Vec::new();
    for (name, module) in found {
        let taken = listed.contains(&name) || out.iter().any(|other| other.name == name);
        let why = match taken {
            true => format!("{}: there is a strategy `{name}` already", module.display()),
            false if out.len() == PLUGINS_MAX => {
                format!("{}: the folder holds more than {PLUGINS_MAX} plugins", module.display())
            }
            false => {
                site.dropped_in.push(DroppedIn { name: name.clone(), module: module.clone() });
                out.extend(strategy(name, module, &only));
                continue;
            }
        };
        site.warn("plugins.folder", warning("plugin-left-out", why).hint("rename it, or take it away"));
    }
    out
}

fn warning(name: &'static str, message: String) -> Warning {
    Warning::new(name, Severity::Warning, message)
}

/// The folder's modules with their strategies' names, by name.
fn modules(folder: &Path, site: &mut Site<'_>) -> Result<Vec<(String, PathBuf)>, String> {
    let found = site.find(folder);
    let entries = match fs::read_dir(&found) {
        Ok(entries) => entries,
        Err(error) => {
            // Watches every place where it may be created.
            let places: Vec<PathBuf> = site.folders.iter().map(|place| place.join(folder)).collect();
            site.watched.extend(places);
            return Err(format!("the plugin folder {} cannot be read: {error}", found.display()));
        }
    };
    site.watched.push(found);
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_meant(path)).collect();
    paths.sort();
    let mut modules = Vec::new();
    for path in paths {
        let Some(stem) = (if path.is_dir() { path.file_name() } else { path.file_stem() }) else { continue };
        let module = match path.is_dir() {
            true => in_folder(&path, site),
            false if language(&path).is_none() => Err(String::new()),
            false => opens(&path).map(|()| path.clone()),
        };
        match (module, stem.to_str()) {
            (Ok(module), Some(name)) => modules.push((name.to_owned(), module)),
            // An unrelated file, such as a README.
            (Err(why), _) if why.is_empty() => {}
            (Err(why), _) => site.warn("plugins.folder", warning("plugin-left-out", why)),
            (Ok(_), None) => {
                let why = format!("{}: its name is no UTF-8", path.display());
                site.warn("plugins.folder", warning("plugin-left-out", why));
            }
        }
    }
    modules.sort();
    Ok(modules)
}

/// Whether a file is not hidden, unfinished or a backup.
fn is_meant(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with('.') && !UNFINISHED.iter().any(|end| name.ends_with(end))
}

/// The module of a plugin folder, as `dsengine new` creates it.
fn in_folder(folder: &Path, site: &mut Site<'_>) -> Result<PathBuf, String> {
    let manifest = folder.join(MANIFEST);
    let text = crate::text::read(&manifest).map_err(|error| format!("{}: {error}", manifest.display()))?;
    let table: toml::Table =
        toml::from_str(&text).map_err(|error| format!("{}: {}", manifest.display(), error.message()))?;
    let word = |key: &str| table.get(key).and_then(toml::Value::as_str);
    if word("kind").is_some_and(|kind| kind != "strategy") {
        return Err(format!("{}: it is no strategy; name it under `alerts.handlers`", manifest.display()));
    }
    let entry = Path::new(word("entry").unwrap_or_default());
    let stays = entry.components().all(|step| matches!(step, Component::Normal(_) | Component::CurDir));
    if !stays || language(entry).is_none() {
        return Err(format!("{}: `entry` names no .lua or .wasm in this folder", manifest.display()));
    }
    let module = folder.join(entry);
    // It may be nested deeper than the folder is watched.
    site.watched.push(module.clone());
    match module.exists() {
        true => opens(&module).map(|()| module),
        false => Err(format!("{} is not there: build it with `dsengine plugin build`", module.display())),
    }
}

/// Whether a module can be read, so that one that cannot is left out and the others run.
fn opens(module: &Path) -> Result<(), String> {
    crate::text::open(module).map(drop).map_err(|error| format!("{}: cannot be read: {error}", module.display()))
}

fn strategy(name: String, module: PathBuf, sources: &[SourceId]) -> Option<StrategyPlan> {
    let kind = match language(&module)? {
        Language::Lua => StrategyKind::Lua(module),
        Language::Wasm => StrategyKind::Wasm(module),
    };
    Some(StrategyPlan { sources: sources.to_vec(), ..StrategyPlan::new(name, kind) })
}
