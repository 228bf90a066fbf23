//! Finds the installed DeepStream version.

use std::fs;
use std::path::{Path, PathBuf};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::abi;
use crate::types::Finding;

/// Where NVIDIA's packages install DeepStream.
const ROOT: &str = "/opt/nvidia/deepstream";

/// A DeepStream installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// Its version as stated, such as `6.3.0` or `9.1`.
    pub version: String,
    /// The file or plugin that stated it.
    pub found_by: String,
}

/// The DeepStream that would run here: by the loaded plugin, else by the installation, else by the library.
pub fn find() -> Option<Install> {
    plugin().or_else(|| find_in(Path::new(ROOT))).or_else(|| library("libnvds_utils.so".into()))
}

/// The DeepStream installed under `root`: by its files, else by its library.
pub fn find_in(root: &Path) -> Option<Install> {
    let current = root.join("deepstream");
    let install = |version: String, by: &Path| Install { version, found_by: by.display().to_string() };
    let file = current.join("version");
    if let Some(version) = fs::read_to_string(&file).ok().as_deref().and_then(stated_version) {
        return Some(install(version, &file));
    }
    // The symlink's target is the current version; without the symlink, take the highest.
    let named = |path: &Path| directory_version(path).map(|version| install(version, path));
    if let Some(found) = fs::canonicalize(&current).ok().as_deref().and_then(named) {
        return Some(found);
    }
    let mut directories: Vec<PathBuf> =
        fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    directories.sort_by_key(|path| directory_version(path).map(|v| numbers(&v)));
    let highest = directories.iter().rev().find_map(|path| named(path));
    highest.or_else(|| library(current.join("lib/libnvds_utils.so")))
}

/// The finding for `doctor`.
pub fn finding() -> Finding {
    let install = find();
    Finding {
        name: "DeepStream".into(),
        ok: install.is_some(),
        optional: true,
        detail: install.map_or_else(|| "not installed".into(), |i| format!("{} ({})", i.version, i.found_by)),
        hint: None,
    }
}

/// The version of the plugin that provides `nvinfer`. Other NVIDIA plugins have their own version numbers.
fn plugin() -> Option<Install> {
    gst::init().ok()?;
    let plugin = gst::ElementFactory::find("nvinfer")?.plugin()?;
    let file = plugin.filename().unwrap_or_default();
    let path = fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
    let by_path = path.ancestors().find_map(directory_version);
    let version = by_path.or_else(|| Some(plugin.version().to_string()).filter(|v| !numbers(v).is_empty()))?;
    Some(Install { version, found_by: format!("GStreamer plugin {}", path.display()) })
}

fn library(path: PathBuf) -> Option<Install> {
    let (major, minor) = abi::nvds_version(&path)?;
    Some(Install { version: format!("{major}.{minor}"), found_by: path.display().to_string() })
}

/// Reads the line `Version: X.Y.Z` of the `version` file.
fn stated_version(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Version:"))?;
    Some(line.trim().to_owned()).filter(|version| !numbers(version).is_empty())
}

/// Reads the name of a folder `deepstream-X.Y`.
fn directory_version(path: &Path) -> Option<String> {
    let version = path.file_name()?.to_str()?.strip_prefix("deepstream-")?;
    Some(version.to_owned()).filter(|version| !numbers(version).is_empty())
}

/// The version's numbers, for ordering; empty if it is not a version.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(build: impl Fn(&Path)) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        build(root.path());
        find_in(root.path()).map(|install| install.version)
    }

    #[test]
    fn the_version_file_speaks_first() {
        let found = version(|root| {
            fs::create_dir_all(root.join("deepstream-9.9")).unwrap();
            fs::create_dir_all(root.join("deepstream")).unwrap();
            fs::write(root.join("deepstream/version"), "Version: 6.3.0\nGCID: 1\n").unwrap();
        });
        assert_eq!(found.as_deref(), Some("6.3.0"));
    }

    #[test]
    fn then_the_link_then_the_highest_folder() {
        let linked = version(|root| {
            fs::create_dir_all(root.join("deepstream-7.1")).unwrap();
            fs::create_dir_all(root.join("deepstream-9.0")).unwrap();
            std::os::unix::fs::symlink(root.join("deepstream-7.1"), root.join("deepstream")).unwrap();
        });
        assert_eq!(linked.as_deref(), Some("7.1"));
        let highest = version(|root| {
            ["deepstream-9.1", "deepstream-23.4", "deepstream-x", "samples"]
                .iter()
                .for_each(|d| fs::create_dir_all(root.join(d)).unwrap());
        });
        assert_eq!(highest.as_deref(), Some("23.4"), "versions yet to come are versions");
    }

    #[test]
    fn nothing_there_is_nothing_found() {
        assert_eq!(version(|_| ()), None);
        assert_eq!(find_in(Path::new("/nowhere/at/all")), None);
    }
}
