//! Whether the scripts and components of a plan load, with no source started.

use std::sync::Arc;

use super::SystemClock;
use super::versions::{Guests, module, read_module};
use crate::config::{HandlerKind, Plan};
use crate::error::{Code, Error};
use crate::telemetry::Metrics;
use crate::types::SourceId;
use crate::wasm;

/// Loads every script and component of the plan as `start` would, and says what is wrong with each that does not load.
/// Files that cannot be read are left to `config::check`.
pub fn check_modules(plan: &Plan) -> Vec<Error> {
    let started = |e: std::io::Error| Error::new(Code::Io, format!("cannot start: {e}"));
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).build() {
        Ok(runtime) => runtime,
        Err(e) => return vec![started(e)],
    };
    let metrics = Metrics::new(Arc::new(SystemClock::new()));
    let guests = match Guests::start(metrics, runtime.handle().clone(), wasm::cache_folder()) {
        Ok(guests) => guests,
        Err(e) => return vec![e],
    };
    plan.sources.iter().for_each(|source| guests.know(&source.id, &source.zones));
    let strategies = plan.strategies.iter().filter_map(|strategy| {
        let judged = plan.sources.iter().map(|s| s.id.clone()).filter(|id| strategy.judges(id));
        let mut judged: Vec<SourceId> = judged.collect();
        if judged.is_empty() {
            judged.push(SourceId::from("check"));
        }
        let bytes = read_module(module(strategy)?).ok()?;
        // Each source has its own instance, and a guest may refuse one for its zones.
        let version = guests.strategy(strategy, &bytes, &Arc::default());
        version.and_then(|version| judged.iter().try_for_each(|source| version.rehearsal(source).map(drop))).err()
    });
    let handlers = plan.handlers.iter().filter_map(|handler| {
        let HandlerKind::Module(module) = &handler.kind else { return None };
        guests.handler(&handler.name, module, &read_module(&module.path).ok()?, &Arc::default()).err()
    });
    strategies.chain(handlers).collect()
}
