//! What strategies and handlers have in common when they are scripts or components.

use std::path::{Path, PathBuf};

use super::Site;
use crate::config::plan::GrantPlan;
use crate::config::schema::Grants;

/// What a module is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Language {
    Lua,
    Wasm,
}

/// The language, by the file's ending.
pub(in crate::config) fn language(module: &Path) -> Option<Language> {
    match module.extension().and_then(|e| e.to_str()) {
        Some("lua" | "luau") => Some(Language::Lua),
        Some("wasm") => Some(Language::Wasm),
        _ => None,
    }
}

/// A module named without its ending, as the old system did, where such a script or component lies there.
pub(in crate::config) fn with_ending(module: &Path, site: &Site<'_>) -> Option<PathBuf> {
    let bare = module.extension().is_none();
    ["lua", "luau", "wasm"]
        .into_iter()
        .filter(|_| bare)
        .map(|e| module.with_extension(e))
        .find(|p| site.find(p).exists())
}

/// Grants with their paths resolved.
pub(in crate::config) fn grants(grants: &Grants, site: &Site<'_>) -> GrantPlan {
    let mut plan = GrantPlan::from(grants.clone());
    for path in &mut plan.files {
        *path = site.find(path);
    }
    plan
}

/// A key of `limits` or `grants` that the other kind of module has would have no effect: said, not swallowed.
pub(in crate::config) fn does_not_apply(path: &str, keys: &[(&str, &str)], site: &mut Site<'_>) {
    for (key, why) in keys {
        let at = format!("{path}.{key}");
        if site.places.is_set(&at) {
            site.wrong_key(&at, format!("`{key}` does not apply here"), *why);
        }
    }
}
