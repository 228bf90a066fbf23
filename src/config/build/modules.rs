//! Common parts of strategies and handlers that are scripts or components.

use std::path::{Path, PathBuf};

use super::Site;
use crate::config::plan::GrantPlan;
use crate::config::schema::Grants;

/// A module's language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Language {
    Lua,
    Wasm,
}

/// The language, by file extension.
pub(in crate::config) fn language(module: &Path) -> Option<Language> {
    match module.extension().and_then(|e| e.to_str()) {
        Some("lua" | "luau") => Some(Language::Lua),
        Some("wasm") => Some(Language::Wasm),
        _ => None,
    }
}

/// Completes a module named without its extension, as in the old system, if such a script or component exists.
pub(in crate::config) fn with_ending(module: &Path, site: &Site<'_>) -> Option<PathBuf> {
    let bare = module.extension().is_none();
    ["lua", "luau", "wasm"]
        .into_iter()
        .filter(|_| bare)
        .map(|e| module.with_extension(e))
        .find(|p| site.find(p).exists())
}

/// Converts grants, with resolved paths.
pub(in crate::config) fn grants(grants: &Grants, site: &Site<'_>) -> GrantPlan {
    let mut plan = GrantPlan::from(grants.clone());
    for path in &mut plan.files {
        *path = site.find(path);
    }
    plan
}

/// Reports keys of `limits` or `grants` that have no effect on this kind of module.
pub(in crate::config) fn does_not_apply(path: &str, keys: &[(&str, &str)], site: &mut Site<'_>) {
    for (key, why) in keys {
        let at = format!("{path}.{key}");
        if site.places.is_set(&at) {
            site.wrong_key(&at, format!("`{key}` does not apply here"), *why);
        }
    }
}
