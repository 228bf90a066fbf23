//! Creates guests: a version from a plan and a file's contents, instances from a version.
//!
//! A version is read, checked and compiled once; each source gets its own instance. The state shared by all guests of
//! an engine is here: the watchdog, the state store, the network, the component host.

mod contents;
mod handlers;
mod shipped;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

pub(in crate::engine) use contents::{Contents, read_module};

use super::module_text::ModuleText;
use super::running::module;
use super::trial::Facts;
use crate::config::{StrategyKind, StrategyPlan};
use crate::error::{Code, Error};
use crate::guest::http::{Web, Wire};
use crate::guest::{
    BuildInputs, Doubt, Grants, GuestContext, GuestKind, Limits, Manifest, StateStore, Trial, Watchdog,
};
use crate::strategy::Strategy;
use crate::telemetry::Metrics;
use crate::text;
use crate::types::{SourceId, Zone};
use crate::{lua, wasm};

/// The state shared by all guests of an engine.
pub struct Guests {
    state: Arc<StateStore>,
    watchdog: Arc<Watchdog>,
    metrics: Arc<Metrics>,
    wire: Arc<dyn Wire>,
    runtime: tokio::runtime::Handle,
    cache: Option<PathBuf>,
    /// The facts about each source: a guest may check the names in its settings when it is loaded.
    facts: Mutex<BTreeMap<SourceId, Facts>>,
    /// What the running guests request and may never get, by strategy.
    doubts: Mutex<BTreeMap<String, Vec<Doubt>>>,
    /// Started by the first component.
    components: Mutex<Option<Arc<wasm::Host>>>,
}

/// The purpose of an instance.
enum Purpose {
    /// Judges.
    Judge,
    /// Judges recorded frames again, without effects.
    Rehearse,
    /// Judges generated frames, without effects.
    Try(Arc<Trial>),
}

/// Creates an instance of a strategy for one source.
type MakeStrategy = dyn Fn(&SourceId, &Purpose) -> Result<Box<dyn Strategy>, Error> + Send + Sync;

/// A version of a strategy.
pub struct Version {
    make: Box<MakeStrategy>,
    text: ModuleText,
}

impl Version {
    /// An instance that judges `source`.
    ///
    /// # Errors
    /// [`Code::Plugin`] with the location in the guest.
    pub fn instance(&self, source: &SourceId) -> Result<Box<dyn Strategy>, Error> {
        (self.make)(source, &Purpose::Judge)
    }

    /// An instance with a copy of the real state, whose log and metrics are discarded.
    ///
    /// # Errors
    /// As [`Version::instance`].
    pub fn rehearsal(&self, source: &SourceId) -> Result<Box<dyn Strategy>, Error> {
        (self.make)(source, &Purpose::Rehearse)
    }

    /// An instance as [`Version::rehearsal`] creates, with empty state; `trial` records its requests.
    ///
    /// # Errors
    /// As [`Version::instance`].
    pub(super) fn on_trial(&self, source: &SourceId, trial: Arc<Trial>) -> Result<Box<dyn Strategy>, Error> {
        (self.make)(source, &Purpose::Try(trial))
    }

    /// The text that it was built from.
    pub(in crate::engine) fn text(&self) -> &ModuleText {
        &self.text
    }
}

impl Guests {
    /// Starts the shared parts. `cache` is a private folder for compiled components; `None` disables the cache.
    ///
    /// # Errors
    /// [`Code::Io`] when a thread cannot be started.
    pub fn start(
        metrics: Arc<Metrics>,
        runtime: tokio::runtime::Handle,
        cache: Option<PathBuf>,
    ) -> Result<Arc<Self>, Error> {
        let web = Web::new(runtime.clone());
        Self::with_wire(metrics, runtime, cache, web)
    }

    /// As [`Guests::start`], with another network, for tests.
    ///
    /// # Errors
    /// As [`Guests::start`].
    pub fn with_wire(
        metrics: Arc<Metrics>,
        runtime: tokio::runtime::Handle,
        cache: Option<PathBuf>,
        wire: Arc<dyn Wire>,
    ) -> Result<Arc<Self>, Error> {
        let watchdog =
            Watchdog::start().map_err(|e| Error::new(Code::Io, format!("cannot start the watchdog: {e}")))?;
        let (state, components, facts, doubts) = (Arc::default(), Mutex::new(None), Mutex::default(), Mutex::default());
        Ok(Arc::new(Self { state, watchdog, metrics, wire, runtime, cache, facts, doubts, components }))
    }

    /// The guests' state store.
    pub fn state(&self) -> &Arc<StateStore> {
        &self.state
    }

    /// Sets a source's zones for guests that are loaded from now on.
    pub fn set_zones(&self, source: &SourceId, zones: &[Zone]) {
        self.facts.lock().entry(source.clone()).or_default().zones = zones.into();
    }

    /// Sets all facts about a source; returns the former ones.
    pub(in crate::engine) fn learn(&self, source: &SourceId, facts: Facts) -> Option<Facts> {
        self.facts.lock().insert(source.clone(), facts)
    }

    /// The known facts about a source.
    pub(in crate::engine) fn facts_of(&self, source: &SourceId) -> Facts {
        self.facts.lock().get(source).cloned().unwrap_or_default()
    }

    /// Records what a strategy requests and may never get; `whole` replaces the former record. Logs new entries.
    pub(in crate::engine) fn doubt(&self, strategy: &str, doubts: Vec<Doubt>, whole: bool) {
        let mut all = self.doubts.lock();
        let known = all.remove(strategy).unwrap_or_default();
        let new: Vec<Doubt> = doubts.iter().filter(|doubt| !known.contains(doubt)).cloned().collect();
        let noted = if whole { doubts } else { known.into_iter().chain(new.clone()).collect() };
        all.insert(strategy.to_owned(), noted);
        drop(all);
        for Doubt { what, .. } in new {
            tracing::warn!(strategy, "{what}");
        }
    }

    /// What these strategies request and certainly never get, one sentence each.
    pub(in crate::engine) fn never(&self, is_there: impl Fn(&str) -> bool) -> Vec<String> {
        let doubts = self.doubts.lock();
        let of = |(name, doubts): (&String, &Vec<Doubt>)| -> Vec<String> {
            doubts.iter().filter(|doubt| doubt.certain).map(|doubt| format!("strategy {name} {}", doubt.what)).collect()
        };
        doubts.iter().filter(|(name, _)| is_there(name)).flat_map(of).collect()
    }

    /// Forgets a removed source, and the guests' state for it.
    pub fn forget(&self, source: &SourceId) {
        self.facts.lock().remove(source);
        self.state.forget(source);
    }

    /// Forgets a source that was taken down; the guests' state for it waits until the source is there again.
    pub fn park(&self, source: &SourceId, now_unix_ms: u64) {
        self.facts.lock().remove(source);
        self.state.park(source, now_unix_ms);
    }

    /// The known zones of a source.
    pub fn zones_of(&self, source: &SourceId) -> Arc<[Zone]> {
        self.facts.lock().get(source).map(|facts| Arc::clone(&facts.zones)).unwrap_or_default()
    }

    /// The component host, started by its first use.
    ///
    /// # Errors
    /// [`Code::Plugin`] when it cannot start.
    pub fn components(&self) -> Result<Arc<wasm::Host>, Error> {
        let mut components = self.components.lock();
        if let Some(host) = &*components {
            return Ok(Arc::clone(host));
        }
        let host = wasm::Host::start(self.cache.clone())?;
        Ok(Arc::clone(components.insert(host)))
    }

    /// A version of the strategy that `plan` describes, from the contents of its module and its other input files.
    ///
    /// # Errors
    /// [`Code::Plugin`] with what is wrong and its location in the guest.
    pub fn strategy(
        self: &Arc<Self>,
        plan: &StrategyPlan,
        bytes: &[u8],
        inputs: &Arc<BuildInputs>,
    ) -> Result<Version, Error> {
        let (guests, plan_of_all) = (Arc::clone(self), plan.clone());
        let of_version = Arc::clone(inputs);
        let context = move |source: &SourceId, requested: &Requested, purpose: &Purpose| {
            let Requested { grants, limits, version, config } = requested;
            let (name, meter) = (&*plan_of_all.name, guests.metrics.meter(&plan_of_all.name, source.as_str()));
            let (config, watchdog) = (Arc::clone(config), Arc::clone(&guests.watchdog));
            let (zones, source) = (guests.zones_of(source), Some(source.clone()));
            let context = GuestContext::new(name, source, limits.clone(), &guests.state, watchdog)
                .with_config(config)
                .with_grants(Arc::clone(grants))
                .with_meter(meter)
                .with_zones(&zones)
                .in_timezone(&plan_of_all.timezone)
                .with_extensions(&plan_of_all.extensions)
                .of_version(version.clone(), &of_version);
            match purpose {
                Purpose::Judge => context,
                Purpose::Rehearse => context.rehearsal(),
                Purpose::Try(trial) => context.trial(Arc::clone(trial)),
            }
        };
        let on_failure = plan.on_failure;
        let make: Box<MakeStrategy> = match &plan.kind {
            StrategyKind::Motion => return Err(Error::new(Code::Plugin, "the motion strategy is no plugin")),
            StrategyKind::Lua(path) => {
                let text = script_text(path, bytes)?;
                let requested = ask(
                    (&plan.name, &plan.config),
                    (path, Some(&text)),
                    GuestKind::Strategy,
                    &plan.grants,
                    inputs,
                    |wanted| Limits::lua().with(&plan.limits).under(wanted),
                )?;
                let path = path.clone();
                let class = plan.class.clone();
                Box::new(move |source, purpose| {
                    let context = context(source, &requested, purpose);
                    let script = lua::Script { class: class.clone(), on_failure, ..script(context, &path, &text) };
                    lua::load(script).map(|strategy| Box::new(strategy) as Box<dyn Strategy>)
                })
            }
            StrategyKind::Wasm(path) => {
                let place = path.display().to_string();
                let requested = ask(
                    (&plan.name, &plan.config),
                    (path, None),
                    GuestKind::Strategy,
                    &plan.grants,
                    inputs,
                    |wanted| Limits::wasm().with(&plan.limits).under(wanted),
                )?;
                let program = self.components()?.compile(bytes, &requested.limits, &place)?;
                Box::new(move |source, purpose| {
                    let context = context(source, &requested, purpose);
                    program.strategy(context, on_failure).map(|strategy| Box::new(strategy) as Box<dyn Strategy>)
                })
            }
        };
        let path = module(plan).unwrap_or_else(|| Path::new(""));
        let is_script = matches!(plan.kind, StrategyKind::Lua(_));
        let text = is_script.then(|| script_text(path, bytes)).transpose()?;
        let text = ModuleText::new(path.to_owned(), text, inputs);
        Ok(Version { make, text })
    }
}

impl std::fmt::Debug for Guests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guests").finish_non_exhaustive()
    }
}

/// A module's requests as granted, its limits, the version from its plugin.toml, and its settings.
struct Requested {
    grants: Arc<Grants>,
    limits: Limits,
    version: Option<Arc<str>>,
    /// Its settings, with the defaults that it declares.
    config: Arc<serde_json::Value>,
}

fn ask(
    (name, config): (&str, &serde_json::Value),
    (path, text): (&Path, Option<&str>),
    kind: GuestKind,
    granted: &crate::config::GrantPlan,
    inputs: &BuildInputs,
    limits: impl FnOnce(&crate::config::LimitPlan) -> Limits,
) -> Result<Requested, Error> {
    let manifest = Manifest::of(path, text, inputs)?;
    if manifest.kind.is_some_and(|said| said != kind) {
        let (said, place) = (if kind == GuestKind::Strategy { "handler" } else { "strategy" }, path.display());
        return Err(Error::new(Code::Plugin, format!("{place}: its plugin.toml says it is a {said}")));
    }
    if let Some(host) = manifest.needs.http.first().filter(|_| kind == GuestKind::Strategy) {
        let what = format!("{name} asks for requests to {host}, and a strategy sends none");
        return Err(Error::new(Code::Plugin, what).hint(
            "take it out of what it needs: raise an alert, and let a handler send it (dsengine new handler NAME)",
        ));
    }
    let config = Arc::new(manifest.settings.fill(name, config)?);
    let grants = if text.is_none() && !manifest.found {
        Grants::all(granted)
    } else {
        Grants::of(name, &manifest.needs, granted)?
    };
    let unasked = grants.unasked(granted);
    if !unasked.is_empty() {
        let what = unasked.join(", ");
        tracing::warn!(
            plugin = name,
            "granted but not requested, so not available: {what} (ask in plugin.toml under [needs], or by ---@needs)"
        );
    }
    let version = manifest.found.then(|| manifest.version.as_str().into());
    Ok(Requested { grants: Arc::new(grants), limits: limits(&manifest.limits), version, config })
}

fn script_text(path: &Path, bytes: &[u8]) -> Result<String, Error> {
    let text = text::decode(bytes).map_err(|e| {
        Error::new(Code::Plugin, format!("{}:{}: this is not text (UTF-8)", path.display(), e.line))
            .hint("scripts are source text; precompiled ones are not loaded")
    })?;
    Ok(text::script(&text).to_owned())
}

fn script(context: GuestContext, path: &Path, text: &str) -> lua::Script {
    lua::Script {
        context,
        file: path.display().to_string(),
        text: text.to_owned(),
        roots: path.parent().map(Path::to_owned).into_iter().collect(),
        on_failure: crate::config::OnFailure::Pass,
        class: None,
    }
}
