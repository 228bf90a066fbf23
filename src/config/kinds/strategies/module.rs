//! `module`: a script or a component.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Kind, Listed, Planned, Shape, StrategyType};
use crate::config::build::modules::{self, Language};
use crate::config::build::{Site, not_built};
use crate::config::plan::{StrategyKind, StrategyPlan};
use crate::config::schema::{Grants, Limits, Mode, OnFailure, StrategyEntry};

pub(super) const KIND: Kind = Kind {
    of: StrategyType::Module,
    word: "module",
    key: Some("module"),
    shapes: &[Shape::of::<Module>()],
    applies: ("a script or component", "name one as `module`"),
    config: None,
    plan,
};

/// Keys that only handlers have.
const HANDLERS_ONLY: &[(&str, &str)] = &[
    ("limits.timeout_seconds", "a strategy waits for nothing: its calls have `wall_ms`"),
    ("grants.http", "a strategy sends no requests: raise an alert and let a handler send it"),
    ("grants.secrets", "secrets are for requests, and a strategy sends none"),
];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct Module {
    /// A Lua script or a WASM component. Default none. Example: scripts/intrusion.lua.
    pub(in crate::config) module: Option<PathBuf>,
    /// The table of a script that holds its functions, where they are not globals. Default none.
    /// Example: MyCustomStrategy.
    class: Option<String>,
    /// What a script or component may use. Default: see its keys. Example: {hard_ms: 50}.
    limits: Limits,
    /// What a script or component may reach. Default: see its keys. Example: {pixels: true}.
    grants: Grants,
    /// Whether the state of a script or component on live sources survives a restart. Default true. Example: false.
    persist_state: bool,
    /// What becomes of a frame whose judgement fails: `pass` lets it go on unchanged, `skip` shows it to no later
    /// strategy, `disable` is `pass` and switches the strategy off once failures repeat. Default pass. Example: skip.
    on_failure: OnFailure,
    /// `shadow` runs it beside `shadow_of` without effects and counts differing verdicts. Default active.
    /// Example: shadow.
    mode: Mode,
    /// The strategy that a shadow is compared with. Default none. Example: loitering.
    shadow_of: Option<String>,
}

impl Default for Module {
    fn default() -> Self {
        Self {
            module: None,
            class: None,
            limits: Limits::default(),
            grants: Grants::default(),
            persist_state: true,
            on_failure: OnFailure::default(),
            mode: Mode::default(),
            shadow_of: None,
        }
    }
}

fn plan(listed: &Listed<'_>, site: &mut Site<'_>) -> Option<Planned> {
    modules::does_not_apply(listed.path, HANDLERS_ONLY, site);
    let Module { module, class, limits, grants, on_failure, mode: _, shadow_of: _, persist_state } =
        &listed.entry.module;
    let head = &listed.entry.head;
    if !head.enabled {
        return None;
    }
    let kind = kind(listed, module.as_deref()?, site)?;
    if !listed.is_active() {
        return None;
    }
    Some(Planned::Lane(Box::new(StrategyPlan {
        sources: listed.only.clone(),
        filters: head.filters,
        config: Value::Object(head.config.clone()),
        class: class.clone(),
        limits: limits.clone().into(),
        grants: modules::grants(grants, site),
        on_failure: (*on_failure).into(),
        shadow_of: shadowed(listed, site),
        persist_state: *persist_state,
        ..StrategyPlan::new(&head.name, kind)
    })))
}

fn kind(listed: &Listed<'_>, module: &Path, site: &mut Site<'_>) -> Option<StrategyKind> {
    let (name, at) = (listed.name(), format!("{}.module", listed.path));
    let found = modules::with_ending(module, site);
    let module = found.as_deref().unwrap_or(module);
    match modules::language(module) {
        Some(Language::Lua) => return Some(StrategyKind::Lua(site.find(module))),
        Some(Language::Wasm) => return Some(StrategyKind::Wasm(site.find(module))),
        None => {}
    }
    match module.extension().and_then(|e| e.to_str()) {
        _ if site.find(module).is_dir() => {
            let message = format!("strategy `{name}`: {} is a folder", module.display());
            site.wrong(&at, message, "name the .lua or .wasm in it, as its plugin.toml has it under `entry`");
        }
        None | Some("py") => {
            let stem = module.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
            let message = format!("strategy `{name}` is a Python module, which is not run");
            let hint = format!(
                "port it to Lua: `detect(frame)` becomes a function in scripts/{stem}.lua, which is then named as \
                 `module: scripts/{stem}.lua`; `dsengine explain E0102` shows one beside the other"
            );
            site.warn(&at, not_built("python-module", message, &hint));
        }
        Some(other) => {
            let message = format!("strategy `{name}`: no module ends in `.{other}`");
            site.wrong(&at, message, "expected a .lua script or a .wasm component");
        }
    }
    None
}

/// The strategy that a shadow is compared with.
fn shadowed(listed: &Listed<'_>, site: &mut Site<'_>) -> Option<String> {
    let (name, path) = (listed.name(), listed.path);
    let at = format!("{path}.shadow_of");
    match (listed.entry.module.mode, &listed.entry.module.shadow_of) {
        (Mode::Active, None) => None,
        (Mode::Active, Some(_)) => {
            site.wrong_key(&at, format!("strategy `{name}` is no shadow"), "write `mode: shadow`, too");
            None
        }
        (Mode::Shadow, None) => {
            let message = format!("the shadow `{name}` does not say whose it is");
            site.wrong(&format!("{path}.mode"), message, "name the strategy it is compared with as `shadow_of`");
            None
        }
        (Mode::Shadow, Some(of)) => {
            check_shadow(listed, of, &at, site);
            Some(of.clone())
        }
    }
}

/// Checks that a shadow's partner is an active module and has no other shadow.
fn check_shadow(listed: &Listed<'_>, of: &str, at: &str, site: &mut Site<'_>) {
    let name = listed.name();
    let strategies = &listed.detection.strategies;
    let is_partner = |s: &StrategyEntry| {
        s.head.name != name && s.module.module.is_some() && s.head.name == of && s.module.mode == Mode::Active
    };
    if !strategies.iter().any(is_partner) {
        let label = "expected the name of an active strategy with a module";
        site.wrong(at, format!("there is no strategy `{of}` to run beside"), label);
    }
    let is_shadow = |s: &&StrategyEntry| {
        s.head.enabled && s.module.shadow_of.as_deref() == Some(of) && s.module.mode == Mode::Shadow
    };
    // In listed order, so that the second one is reported.
    if let Some(first) = strategies.iter().find(is_shadow).filter(|first| first.head.name != name) {
        let label = "take one of them away: a strategy has one shadow at a time";
        site.wrong(at, format!("`{of}` already has the shadow `{}`", first.head.name), label);
    }
}
