//! Checks that an engine could start with a plan here and now: opens everything that a start opens, and runs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::SystemClock;
use super::backends::Backends;
use super::labels::{Classes, facts, seen_by};
use super::versions::{Guests, Version, module, read_module, try_out};
use crate::config::{HandlerKind, HandlerPlan, Plan};
use crate::error::{Code, Error};
use crate::guest::BuildInputs;
use crate::handlers;
use crate::infer::{Choice, Model, Runtime, Search};
use crate::telemetry::Metrics;
use crate::types::Clock;
use crate::wasm;

/// The errors that would prevent a start, and the warnings that it would log.
#[derive(Debug, Default)]
pub struct Checked {
    /// Errors that prevent a start.
    pub errors: Vec<Error>,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// Opens the models, loads and tries the scripts and components, and checks the addresses and certificates of sources,
/// webhooks, mail servers and brokers, as `start` would.
/// Missing files are left to `config::check`.
pub fn check(plan: &Plan, search: &Search) -> Checked {
    let mut checked = Checked::default();
    let classes = check_models(plan, search, &mut checked);
    check_sources(plan, &mut checked);
    check_receivers(plan, &mut checked);
    if let Err(error) = check_guests(plan, &classes, &mut checked) {
        checked.errors.push(error);
    }
    checked
}

/// Opens the models; returns them by name, with their class names.
fn check_models(plan: &Plan, search: &Search, checked: &mut Checked) -> BTreeMap<String, Model> {
    let there: Vec<_> = plan.models.iter().filter(|model| model.model.is_file()).collect();
    if there.is_empty() {
        return BTreeMap::new();
    }
    let explicit = plan.ort_library.clone().or_else(|| search.explicit.clone());
    let runtime = match Runtime::open(Choice::Auto, &Search { explicit, ..search.clone() }) {
        Ok((runtime, _)) => runtime,
        Err(error) => {
            checked.errors.push(error);
            return BTreeMap::new();
        }
    };
    let mut models = BTreeMap::new();
    for plan in there {
        match Model::load(plan, &runtime) {
            Ok(model) => {
                checked.warnings.extend(model.doubt().map(|doubt| format!("model {}: {doubt}", plan.name)));
                models.insert(plan.name.clone(), model);
            }
            // Already reported by `config::check`.
            Err(_) if plan.labels.as_ref().is_some_and(|labels| !labels.is_file()) => {}
            Err(error) => checked.errors.push(error.about(format!("detection.strategies[{}]", plan.name))),
        }
    }
    models
}

fn check_sources(plan: &Plan, checked: &mut Checked) {
    let backends = Backends::new(Arc::new(SystemClock::new()), None);
    for source in &plan.sources {
        if source.input.file().is_some_and(|file| !file.is_file()) {
            continue;
        }
        let refused = backends.check(source).err();
        checked.errors.extend(refused.map(|error| error.about(format!("sources[{}]", source.id))));
    }
}

/// Builds the handlers that send over the network, which opens no connection.
fn check_receivers(plan: &Plan, checked: &mut Checked) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let sends = |handler: &&HandlerPlan| {
        matches!(handler.kind, HandlerKind::Webhook(_) | HandlerKind::Email(_) | HandlerKind::Mqtt(_))
    };
    for handler in plan.handlers.iter().filter(sends) {
        let refused = handlers::build(handler, &clock).err();
        checked.errors.extend(refused.map(|error| error.about(format!("alerts.handlers[{}]", handler.name))));
    }
}

fn check_guests(plan: &Plan, models: &BTreeMap<String, Model>, checked: &mut Checked) -> Result<(), Error> {
    let started = |e: std::io::Error| Error::new(Code::Io, format!("cannot start: {e}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().map_err(started)?;
    let metrics = Metrics::new(Arc::new(SystemClock::new()));
    let guests = Guests::start(metrics, runtime.handle().clone(), wasm::cache_folder())?;
    let classes =
        |name: &str| models.get(name).map(|model| Classes { names: model.labels().to_vec(), named: model.named() });
    for source in &plan.sources {
        guests.learn(&source.id, facts(plan, source, false, classes));
    }
    let clock = SystemClock::new();
    let mut versions: BTreeMap<&str, Version> = BTreeMap::new();
    for strategy in &plan.strategies {
        let part = |error: Error| error.about(format!("detection.strategies[{}]", strategy.name));
        let Some(bytes) = module(strategy).and_then(|path| read_module(path).ok()) else { continue };
        let made = guests.strategy(strategy, &bytes, &Arc::<BuildInputs>::default());
        // Each source has its own instance, and a guest may reject a source for its zones.
        let made = made.and_then(|version| {
            let mut judged = plan.sources.iter().filter(|source| strategy.judges(&source.id)).peekable();
            if judged.peek().is_none() {
                version.rehearsal(&"check".into())?;
            }
            judged.try_for_each(|source| version.rehearsal(&source.id).map(drop)).map(|()| version)
        });
        match made {
            Ok(version) => drop(versions.insert(&strategy.name, version)),
            Err(error) => checked.errors.push(part(error)),
        }
    }
    for strategy in &plan.strategies {
        let Some(version) = versions.get(&*strategy.name) else { continue };
        let may_label = |name: &str| versions.get(name).is_some_and(|version| version.text().may_label());
        let judged = plan.sources.iter().filter(|source| strategy.judges(&source.id));
        let known = judged.map(|s| (&s.id, seen_by(plan, &strategy.name, s, guests.facts_of(&s.id), may_label), true));
        match try_out(version, &clock, known) {
            Ok(doubts) => {
                let warnings = doubts.into_iter().map(|doubt| format!("strategy {} {}", strategy.name, doubt.what));
                checked.warnings.extend(warnings);
            }
            Err(error) => checked.errors.push(error.about(format!("detection.strategies[{}]", strategy.name))),
        }
    }
    for handler in &plan.handlers {
        let refused = match &handler.kind {
            HandlerKind::Module(module) => {
                let Ok(bytes) = read_module(&module.path) else { continue };
                match guests.tried_handler(&handler.name, module, &bytes, &Arc::default()) {
                    Ok((_, doubts)) => {
                        let told = doubts.into_iter().map(|doubt| format!("handler {} {}", handler.name, doubt.what));
                        checked.warnings.extend(told);
                        None
                    }
                    Err(error) => Some(error),
                }
            }
            HandlerKind::Shipped { module, text } => guests.shipped(&handler.name, module, text).err(),
            _ => continue,
        };
        checked.errors.extend(refused.map(|error| error.about(format!("alerts.handlers[{}]", handler.name))));
    }
    Ok(())
}
