//! Search order for libonnxruntime. Pure: all inputs are fields, so it can be tested.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};

/// Inputs of the search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// The configured path of the library. If set, nothing else is tried.
    pub explicit: Option<PathBuf>,
    /// `ORT_DYLIB_PATH`.
    pub variable: Option<PathBuf>,
    /// Path of the running program.
    pub executable: Option<PathBuf>,
    /// Prefixes of Python installations, the active one first.
    pub python: Vec<PathBuf>,
}

impl Search {
    /// Reads this process's environment.
    pub fn of_process(explicit: Option<PathBuf>) -> Self {
        let path = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let user = path("HOME").map(|home| home.join(".local"));
        let python = [path("VIRTUAL_ENV"), path("CONDA_PREFIX"), user, Some("/usr/local".into()), Some("/usr".into())];
        Self {
            explicit,
            variable: path("ORT_DYLIB_PATH"),
            executable: std::env::current_exe().ok(),
            python: python.into_iter().flatten().collect(),
        }
    }

    /// Libraries to try, best first, each with its origin. The dynamic loader resolves the last one.
    pub(super) fn libraries(&self) -> Vec<(PathBuf, &'static str)> {
        if let Some(path) = &self.explicit {
            return vec![(path.clone(), "configured")];
        }
        let mut found = vec![];
        if let Some(path) = &self.variable {
            found.push((path.clone(), "ORT_DYLIB_PATH"));
        }
        if let Some(folder) = self.executable.as_deref().and_then(Path::parent) {
            found.extend(newest_in(&folder.join("../lib/dsengine")).map(|p| (p, "installed with the program")));
            found.extend(newest_in(&folder.join("lib")).map(|p| (p, "beside the program")));
        }
        for prefix in &self.python {
            let versions = entries(&prefix.join("lib")).into_iter().filter(|p| name(p).starts_with("python3"));
            // Debian uses `dist-packages` for its own packages and root's pip.
            let packages = versions.flat_map(|p| ["site-packages", "dist-packages"].map(|folder| p.join(folder)));
            let libraries = packages.filter_map(|p| newest_in(&p.join("onnxruntime/capi")));
            found.extend(libraries.map(|p| (p, "Python's packages")));
        }
        found.push((PathBuf::from(file_name()), "the system's library path"));
        found
    }
}

fn file_name() -> String {
    format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}")
}

/// The library with the highest version in its name: `libonnxruntime.so.1.32.0` before `libonnxruntime.so.1.9.0`, and
/// before the bare name, which may link to any of them.
fn newest_in(folder: &Path) -> Option<PathBuf> {
    let stem = file_name();
    let version = |path: &PathBuf| -> Option<Vec<u32>> {
        let rest = name(path).strip_prefix(&stem)?.to_owned();
        if rest.is_empty() {
            return Some(vec![]);
        }
        rest.strip_prefix('.')?.split('.').map(|n| n.parse().ok()).collect()
    };
    entries(folder).into_iter().filter_map(|p| version(&p).map(|v| (v, p))).max().map(|(_, p)| p)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"").unwrap();
    }

    #[test]
    fn the_order_is_variable_install_folder_program_folder_python_system() {
        let root = tempfile::tempdir().unwrap();
        let at = |p: &str| root.path().join(p);
        for file in [
            "usr/lib/dsengine/libonnxruntime.so.1.9.0",
            "usr/lib/dsengine/libonnxruntime.so.1.32.0",
            "usr/lib/dsengine/libonnxruntime_providers_shared.so",
            "usr/bin/lib/libonnxruntime.so",
            "venv/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.20.0",
        ] {
            touch(&at(file));
        }
        let search = Search {
            explicit: None,
            variable: Some("/v/libonnxruntime.so".into()),
            executable: Some(at("usr/bin/dsengine")),
            python: vec![at("venv")],
        };
        let found: Vec<_> = search.libraries().into_iter().map(|(p, why)| (name(&p).into_owned(), why)).collect();
        let expected = [
            ("libonnxruntime.so", "ORT_DYLIB_PATH"),
            ("libonnxruntime.so.1.32.0", "installed with the program"),
            ("libonnxruntime.so", "beside the program"),
            ("libonnxruntime.so.1.20.0", "Python's packages"),
            ("libonnxruntime.so", "the system's library path"),
        ];
        assert_eq!(found, expected.map(|(p, why)| (p.to_owned(), why)));
    }

    #[test]
    fn a_configured_path_is_the_only_one_tried() {
        let search =
            Search { explicit: Some("/x/libonnxruntime.so".into()), variable: Some("/v".into()), ..Search::default() };
        assert_eq!(search.libraries(), [("/x/libonnxruntime.so".into(), "configured")]);
    }
}
