//! A script or a component that delivers alerts, recognised by its `module` key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Shape;
use crate::config::build::{Site, modules};
use crate::config::plan::{HandlerKind, ModulePlan};
use crate::config::schema::{Grants, Handler, Limits};

/// Keys that only strategies have.
const STRATEGIES_ONLY: &[(&str, &str)] = &[
    ("limits.wall_ms", "a delivery waits for others: its bound is `timeout_seconds`"),
    ("limits.alerts_per_call", "a handler raises no alerts"),
    ("limits.added_per_call", "a handler adds no detections"),
    ("grants.pixels", "a handler has no picture"),
];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct Module {
    /// A Lua script or a WASM component that delivers. Default none. Example: scripts/handlers/slack.lua.
    pub(super) module: Option<PathBuf>,
    /// The table of a script that holds its functions, where they are not globals. Default none.
    /// Example: SlackHandler.
    class: Option<String>,
    /// Settings of a module, handed to it as they are; may be written as `config`. Default none.
    /// Example: {channel: "#gate"}.
    settings: Map<String, Value>,
    /// What a module may use. Default: see its keys. Example: {timeout_seconds: 10}.
    limits: Limits,
    /// What a module may reach. Default: see its keys. Example: {http: [hooks.slack.com]}.
    grants: Grants,
    /// Whether the state of a module survives a restart, where a source is live. Default true. Example: false.
    persist_state: bool,
}

impl Default for Module {
    fn default() -> Self {
        let (settings, limits, grants) = (Map::new(), Limits::default(), Grants::default());
        Self { module: None, class: None, settings, limits, grants, persist_state: true }
    }
}

impl Module {
    pub(super) fn plan(&self, file: &Path, handler: &Handler, path: &str, site: &mut Site<'_>) -> Option<HandlerKind> {
        let name = &handler.head.name;
        if let Some(word) = &handler.head.kind {
            let at = format!("{path}.type");
            site.wrong(&at, format!("handler `{name}` is a module and a {word}"), "take one of them away");
            return None;
        }
        modules::does_not_apply(path, STRATEGIES_ONLY, site);
        let found = modules::with_ending(file, site);
        let file = found.as_deref().unwrap_or(file);
        if modules::language(file).is_none() {
            let message = format!("handler `{name}`: no module is named `{}`", file.display());
            site.wrong(&format!("{path}.module"), message, "expected a .lua script or a .wasm component");
            return None;
        }
        Some(HandlerKind::Module(Box::new(ModulePlan {
            path: site.find(file),
            class: self.class.clone(),
            config: Value::Object(self.settings.clone()),
            limits: self.limits.clone().into(),
            grants: modules::grants(&self.grants, site),
            persist_state: self.persist_state,
            extensions: Arc::default(),
        })))
    }
}

/// Reports a module's keys on a handler that is not a module.
pub(super) fn refuse_keys(handler: &Handler, path: &str, site: &mut Site<'_>) {
    // `module` itself may be set to null.
    for key in Shape::of::<Module>().keys().iter().filter(|key| *key != "module") {
        let at = format!("{path}.{key}");
        if site.places.is_set(&at) {
            let message = format!("`{key}` applies to a module, and handler `{}` has none", handler.head.name);
            site.wrong_key(&at, message, "name the script or component as `module`");
        }
    }
}
