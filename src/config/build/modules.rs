//! Common parts of strategies and handlers that are scripts or components.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Site;
use crate::config::plan::{GrantPlan, HandlerKind, HandlerPlan, StrategyKind, StrategyPlan};
use crate::config::schema::Grants;
use crate::types::TimeZone;

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

/// Gives scripts and components what is the same for all of them.
pub(super) fn hand_out(
    strategies: &mut [StrategyPlan],
    handlers: &mut [HandlerPlan],
    timezone: &TimeZone,
    extensions: Map<String, Value>,
) {
    let extensions = Arc::new(Value::Object(extensions));
    // The built-in has no use for them, and learns its background anew with other settings.
    for strategy in strategies.iter_mut().filter(|strategy| strategy.kind != StrategyKind::Motion) {
        strategy.timezone = timezone.clone();
        strategy.extensions = Arc::clone(&extensions);
    }
    for handler in handlers {
        if let HandlerKind::Module(module) = &mut handler.kind {
            module.extensions = Arc::clone(&extensions);
        }
    }
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
