//! The environment of a case: what guests need, created for each case, so that cases are isolated.

use std::collections::BTreeMap;
use std::sync::Arc;

use dsengine::config::{ModulePlan, StrategyKind, StrategyPlan};
use dsengine::engine::{Guests, SystemClock};
use dsengine::error::{Code, Error};
use dsengine::guest::http::Wire;
use dsengine::guest::{Kept, Space};
use dsengine::telemetry::Metrics;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::case::Case;
use super::find::Plugin;
use crate::cli::plugin::module::{Language, language};

/// A case's own guests.
pub(super) struct Stage {
    pub(super) guests: Arc<Guests>,
    pub(super) runtime: Runtime,
}

impl Stage {
    pub(super) fn open(wire: Arc<dyn Wire>) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| Error::new(Code::Io, format!("cannot start the tests: {e}")))?;
        let metrics = Metrics::new(Arc::new(SystemClock::new()));
        let guests = Guests::with_wire(metrics, runtime.handle().clone(), None, wire)?;
        Ok(Self { guests, runtime })
    }
}

/// The plugin's plan, as a configuration would define it.
pub(super) fn strategy(plugin: &Plugin, case: &Case) -> StrategyPlan {
    let entry = plugin.entry.clone();
    let kind = match language(&entry) {
        Some(Language::Wasm) => StrategyKind::Wasm(entry),
        _ => StrategyKind::Lua(entry),
    };
    StrategyPlan {
        filters: true,
        config: case.script.config.clone(),
        class: case.script.class.clone(),
        limits: case.script.limits.clone(),
        grants: case.grants(&plugin.manifest.needs),
        persist_state: false,
        ..StrategyPlan::new(&plugin.manifest.name, kind)
    }
}

/// The same for a handler.
pub(super) fn handler(plugin: &Plugin, case: &Case) -> ModulePlan {
    ModulePlan {
        path: plugin.entry.clone(),
        class: case.script.class.clone(),
        config: case.script.config.clone(),
        limits: case.script.limits.clone(),
        grants: case.grants(&plugin.manifest.needs),
        persist_state: false,
        extensions: Default::default(),
    }
}

/// The contents of the plugin's file.
pub(super) fn contents(plugin: &Plugin) -> Result<Vec<u8>, Error> {
    let path = &plugin.entry;
    dsengine::text::bytes(path)
        .map_err(|e| Error::new(Code::Plugin, format!("{}: cannot be read: {e}", path.display())))
}

/// The host's state at `now_ns`.
pub(super) fn held(space: &Mutex<Space>, now_ns: u64) -> BTreeMap<String, Value> {
    let space = space.lock();
    let value = |key: &str| {
        Some(match space.get(key, now_ns)? {
            Kept::Json(value) => value.clone(),
            // A component stores bytes: shown as text if possible, else as numbers.
            Kept::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if !text.chars().any(char::is_control) => Value::from(text),
                _ => Value::from(bytes.to_vec()),
            },
        })
    };
    space.keys("", now_ns).filter_map(|key| Some((key.to_owned(), value(key)?))).collect()
}
