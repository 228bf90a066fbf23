//! From a `Plan` to running parts. The only place that names adapters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::handle::{Handle, Running, Shared, Source};
use super::inbox::in_flight_max;
use super::lane::{Lane, Rule};
use super::live::{Events, Live};
use super::pool::Pool;
use super::reload::{Make, Scripts, Seat};
use super::route::{Common, Inlet, Route};
use super::strategies::{Notes, StrategyBoard};
use super::{Engine, Observer, SystemClock, spawn};
use crate::alert::{Delivery, Gate, Handler, MemoryStore, Store};
use crate::backend::scene::SceneBackend;
use crate::backend::trace::TraceBackend;
use crate::backend::{Backend, Sink};
use crate::config::{Input, Plan, StrategyKind, StrategyPlan};
use crate::error::{Code, Error};
use crate::gst::GstBackend;
use crate::guest::{Grants, Home, Limits, Manifest, StateStore, Watchdog};
use crate::infer::{Choice, Model, Runtime, Search};
use crate::lua;
use crate::strategy::{Motion, Strategy};
use crate::telemetry::Metrics;
use crate::track::{Tracker, Tracks};
use crate::types::{Clock, SourceId};
use crate::{handlers, wasm};

/// Most script bytes read.
const SCRIPT_BYTES_MAX: u64 = 1 << 20;

/// Makes a strategy for a source.
type Factory = Box<dyn Fn(&SourceId) -> Box<dyn Strategy> + Send>;

/// Collects what an engine is made of besides its plan.
pub struct Builder {
    plan: Plan,
    clock: Arc<dyn Clock>,
    observer: Option<Arc<dyn Observer>>,
    search: Search,
    choice: Choice,
    strategies: Vec<(String, Factory)>,
    handlers: Vec<Arc<dyn Handler>>,
}

impl Builder {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            clock: Arc::new(SystemClock::new()),
            observer: None,
            search: Search::default(),
            choice: Choice::Auto,
            strategies: Vec::new(),
            handlers: Vec::new(),
        }
    }

    /// Runs on this clock instead of the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Shows frames, judgements and alerts to `observer`.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Where to look for libonnxruntime; by default nowhere but the plan's own path.
    #[must_use]
    pub fn search(mut self, search: Search) -> Self {
        self.search = search;
        self
    }

    /// Which inference runtime to use.
    #[must_use]
    pub fn runtime(mut self, choice: Choice) -> Self {
        self.choice = choice;
        self
    }

    /// Adds a strategy of the embedder's own: `make` is called once per source; it judges after the plan's.
    #[must_use]
    pub fn strategy<S: Strategy + 'static>(
        mut self,
        name: &str,
        make: impl Fn(&SourceId) -> S + Send + 'static,
    ) -> Self {
        self.strategies.push((name.to_owned(), Box::new(move |source| Box::new(make(source)))));
        self
    }

    /// Adds a handler of the embedder's own beside the plan's.
    #[must_use]
    pub fn handler(mut self, handler: Arc<dyn Handler>) -> Self {
        self.handlers.push(handler);
        self
    }

    /// Builds every part, then starts the sources.
    ///
    /// # Errors
    /// When a model, label file, script, handler or source cannot be used; nothing runs then.
    pub fn start(self) -> Result<Engine, Error> {
        let Self { plan, clock, observer, search, choice, strategies, handlers: own_handlers } = self;
        let metrics = Metrics::new(Arc::clone(&clock));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(|e| Error::new(Code::Io, format!("cannot start the control threads: {e}")))?;

        let mut all_handlers = own_handlers;
        for handler in &plan.handlers {
            all_handlers.push(handlers::build(handler, &clock)?);
        }
        let names: Vec<Arc<str>> = all_handlers.iter().map(|h| h.name().into()).collect();
        let store: Arc<dyn Store> = MemoryStore::new(plan.alerts.outbox_max);
        let delivery =
            Delivery::start(runtime.handle(), Arc::clone(&store), &all_handlers, &plan.alerts, &metrics, &clock);

        let workers = plan.workers.unwrap_or_else(cores).max(1);
        let pools = start_pools(&plan, workers, &search, choice, &clock, &metrics)?;
        let watchdog =
            Watchdog::start().map_err(|e| Error::new(Code::Io, format!("cannot start the watchdog: {e}")))?;
        let state = Arc::new(StateStore::default());
        let scripts = Texts::read(&plan)?;
        let boards: Vec<Arc<StrategyBoard>> =
            plan.strategies.iter().map(|s| StrategyBoard::new(&s.name, kind(&s.kind))).collect();
        let own_boards: Vec<Arc<StrategyBoard>> =
            strategies.iter().map(|(name, _)| StrategyBoard::new(name, "own")).collect();

        let events = Events::new();
        let running = Arc::new(Running::new(plan.sources.len()));
        let common = Common {
            in_flight_max: in_flight_max(workers),
            merge_iou: plan.models.first().map_or(0.5, |m| m.nms),
            clock: Arc::clone(&clock),
            events: Arc::clone(&events),
        };
        let mut seats: BTreeMap<PathBuf, Vec<Seat>> = BTreeMap::new();
        let mut sources = Vec::with_capacity(plan.sources.len());
        let mut lanes = Vec::with_capacity(plan.sources.len());
        for source in &plan.sources {
            let on_end = {
                let running = Arc::clone(&running);
                Box::new(move || running.finished())
            };
            let route = Arc::new(Route::new(source, &common, metrics.source(&source.id), on_end));
            route.set_stages(stages(&plan, &pools, &route));
            let live = Live::new();
            let mut detectors = Vec::new();
            let mut rules = Vec::new();
            for (strategy, board) in
                plan.strategies.iter().zip(&boards).filter(|(s, _)| applies(&s.sources, &source.id))
            {
                match &strategy.kind {
                    StrategyKind::Motion => detectors.push(rule(
                        board,
                        false,
                        Box::new(Motion::new(&*strategy.name, &strategy.config)?),
                        &metrics,
                        &source.id,
                    )),
                    StrategyKind::Lua(path) => {
                        let make = lua_maker(strategy, path, &source.id, &state, &metrics, &watchdog);
                        let text = scripts.get(path);
                        rules.push(rule(board, strategy.filters, make(text)?, &metrics, &source.id));
                        seats.entry(path.clone()).or_default().push(Seat {
                            board: Arc::clone(board),
                            route: Arc::clone(&route),
                            rule: rules.len() - 1,
                            make,
                        });
                    }
                    StrategyKind::Wasm(path) => {
                        return Err(unsupported_component(&strategy.name, path));
                    }
                }
            }
            for ((_, make), board) in strategies.iter().zip(&own_boards) {
                rules.push(rule(board, false, make(&source.id), &metrics, &source.id));
            }
            let lane = Lane {
                route: Arc::clone(&route),
                detectors,
                tracker: plan.tracking.enabled.then(Tracker::default),
                tracks: Tracks::default(),
                zones: Arc::clone(&source.zones),
                rules,
                gate: plan
                    .alerts
                    .enabled
                    .then(|| Gate::new(&plan.alerts, &source.id, Arc::clone(&store), &names, &metrics)),
                live: Arc::clone(&live),
                events: Arc::clone(&events),
                observer: observer.clone(),
                clock: Arc::clone(&clock),
            };
            lanes.push(spawn(format!("lane-{}", source.id), move || lane.run())?);
            sources.push(Source { route, live });
        }

        let shared = Shared {
            started_ns: clock.monotonic_ns(),
            reload: Scripts::new(Arc::clone(&metrics), seats, scripts.0),
            clock,
            sources,
            strategies: boards.into_iter().chain(own_boards).collect(),
            metrics,
            events,
            running,
            plan,
        };
        let mut engine = Engine {
            handle: Handle(Arc::new(shared)),
            backends: Vec::new(),
            pools,
            lanes,
            delivery,
            runtime: Some(runtime),
            stopped: false,
        };
        engine.start_sources()?;
        Ok(engine)
    }
}

impl Engine {
    /// Hands every source to the backend that reads it. Only backends that are needed are made.
    fn start_sources(&mut self) -> Result<(), Error> {
        let mut scene: Option<SceneBackend> = None;
        let mut trace: Option<TraceBackend> = None;
        let mut gst: Option<GstBackend> = None;
        let shared = Arc::clone(&self.handle.0);
        for (plan, source) in shared.plan.sources.iter().zip(&shared.sources) {
            let sink: Arc<dyn Sink> = Arc::new(Inlet(Arc::clone(&source.route)));
            match plan.input {
                Input::Scene { .. } => {
                    scene.get_or_insert_with(|| SceneBackend::new(Arc::clone(&shared.clock))).add_source(plan, sink)?;
                }
                Input::Trace(_) => trace.get_or_insert_default().add_source(plan, sink)?,
                Input::File(_) | Input::Rtsp(_) | Input::Test { .. } => {
                    let backend = match &mut gst {
                        Some(backend) => backend,
                        None => gst.insert(GstBackend::new(Arc::clone(&shared.clock))?),
                    };
                    backend.add_source(plan, sink)?;
                }
            }
        }
        self.backends.extend(scene.map(|b| Box::new(b) as Box<dyn Backend>));
        self.backends.extend(trace.map(|b| Box::new(b) as Box<dyn Backend>));
        self.backends.extend(gst.map(|b| Box::new(b) as Box<dyn Backend>));
        Ok(())
    }
}

fn start_pools(
    plan: &Plan,
    workers: usize,
    search: &Search,
    choice: Choice,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> Result<Vec<Pool>, Error> {
    if plan.models.is_empty() {
        return Ok(Vec::new());
    }
    let search = Search { explicit: plan.ort_library.clone().or_else(|| search.explicit.clone()), ..search.clone() };
    let (runtime, reason) = Runtime::open(choice, &search)?;
    tracing::info!("inference by {reason}");
    let mut pools = Vec::with_capacity(plan.models.len());
    for model_plan in &plan.models {
        let model = Model::load(model_plan, &runtime)?;
        tracing::info!(strategy = model_plan.name, model = %model_plan.model.display(), layout = ?model.layout(), "model loaded");
        pools.push(Pool::start(
            model_plan,
            &model,
            workers,
            plan.batch_size,
            plan.batch_timeout,
            Arc::clone(clock),
            &metrics.model(&model_plan.name),
        )?);
    }
    Ok(pools)
}

/// The pools this source's frames pass, attached in listed order.
fn stages(plan: &Plan, pools: &[Pool], route: &Arc<Route>) -> super::route::Stages {
    let wanted = plan.models.iter().zip(pools).filter(|(model, _)| applies(&model.sources, &route.id));
    wanted
        .enumerate()
        .map(|(stage, (_, pool))| {
            let feed = pool.feed();
            let slot = feed.attach(Arc::clone(route), stage);
            (feed, slot)
        })
        .collect()
}

fn applies(sources: &[SourceId], source: &SourceId) -> bool {
    sources.is_empty() || sources.contains(source)
}

fn rule(
    board: &Arc<StrategyBoard>,
    filters: bool,
    strategy: Box<dyn Strategy>,
    metrics: &Metrics,
    source: &SourceId,
) -> Rule {
    metrics.versions(&board.name).generation.set(1);
    let metrics = metrics.strategy(&board.name, source);
    Rule { strategy, generation: 1, filters, metrics, notes: Notes::new(Arc::clone(board)) }
}

/// The `kind` a status shows.
fn kind(kind: &StrategyKind) -> &'static str {
    match kind {
        StrategyKind::Motion => "motion",
        StrategyKind::Lua(_) => "lua",
        StrategyKind::Wasm(_) => "wasm",
    }
}

/// Loads every Lua script of the plan as `start` would, and says what is wrong with each that does not load. Files
/// that cannot be read are left to `config::check`.
pub fn check_scripts(plan: &Plan) -> Vec<Error> {
    let watchdog = match Watchdog::start() {
        Ok(watchdog) => watchdog,
        Err(e) => return vec![Error::new(Code::Io, format!("cannot start the watchdog: {e}"))],
    };
    let (source, state) = (SourceId::from("check"), Arc::new(StateStore::default()));
    let metrics = Metrics::new(Arc::new(SystemClock::new()));
    let load = |strategy: &StrategyPlan| {
        let StrategyKind::Lua(path) = &strategy.kind else { return None };
        let text = std::fs::read_to_string(path).ok()?;
        lua_maker(strategy, path, &source, &state, &metrics, &watchdog)(&text).err()
    };
    plan.strategies.iter().filter_map(load).collect()
}

/// A component is checked, and refused with the check's own reason or because none is run yet.
fn unsupported_component(strategy: &str, path: &Path) -> Error {
    let place = format!("strategy {strategy}: {}", path.display());
    let checked = match std::fs::read(path) {
        Ok(bytes) => wasm::check(&bytes),
        Err(e) => return Error::new(Code::Plugin, format!("{place}: cannot be read: {e}")),
    };
    match checked {
        Ok(component) => Error::new(
            Code::Unsupported,
            format!("{place}: a sound component for API {}, but components are not run yet", component.version),
        )
        .hint("write the rule in Lua, or disable the strategy"),
        Err(error) => Error::new(error.code(), format!("{place}: {}", error.message())),
    }
}

/// How to make a Lua strategy's next version for one source. Its state is the engine's and outlives versions.
fn lua_maker(
    plan: &StrategyPlan,
    path: &Path,
    source: &SourceId,
    state: &Arc<StateStore>,
    metrics: &Metrics,
    watchdog: &Arc<Watchdog>,
) -> Make {
    let (plan, source, path) = (plan.clone(), source.clone(), path.to_owned());
    let (state, watchdog) = (Arc::clone(state), Arc::clone(watchdog));
    let meter = metrics.meter(&plan.name, source.as_str());
    let config = Arc::new(plan.config.clone());
    let roots: Vec<PathBuf> = path.parent().map(Path::to_owned).into_iter().collect();
    Box::new(move |text| {
        let manifest = Manifest::of(&path, Some(text))?;
        let grants = Arc::new(Grants::of(&plan.name, &manifest.needs, &plan.grants)?);
        let limits = Limits::lua().with(&plan.limits).under(&manifest.limits);
        let home = Home::new(
            &plan.name,
            Some(source.clone()),
            Arc::clone(&config),
            limits,
            grants,
            &state,
            meter.clone(),
            Arc::clone(&watchdog),
        );
        let script = lua::Script {
            home,
            file: path.display().to_string(),
            text: text.to_owned(),
            class: plan.class.clone(),
            roots: roots.clone(),
            on_failure: plan.on_failure,
        };
        lua::load(script).map(|strategy| Box::new(strategy) as Box<dyn Strategy>)
    })
}

/// The contents of every script, each read once.
struct Texts(BTreeMap<PathBuf, String>);

impl Texts {
    fn read(plan: &Plan) -> Result<Self, Error> {
        let mut texts = BTreeMap::new();
        for strategy in &plan.strategies {
            let StrategyKind::Lua(path) = &strategy.kind else { continue };
            if texts.contains_key(path) {
                continue;
            }
            let broken = |what: String| {
                Error::new(Code::Plugin, format!("strategy {}: {}: {what}", strategy.name, path.display()))
            };
            let size = std::fs::metadata(path).map_err(|e| broken(format!("cannot be read: {e}")))?.len();
            if size > SCRIPT_BYTES_MAX {
                return Err(broken(format!("is {size} bytes, the limit is {SCRIPT_BYTES_MAX}")));
            }
            let text = std::fs::read_to_string(path).map_err(|e| broken(format!("cannot be read: {e}")))?;
            texts.insert(path.clone(), text);
        }
        Ok(Self(texts))
    }

    fn get(&self, path: &Path) -> &str {
        self.0.get(path).map_or("", String::as_str)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
