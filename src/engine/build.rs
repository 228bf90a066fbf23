//! From a `Plan` to running parts. The only place that names adapters.

use std::collections::VecDeque;
use std::sync::Arc;

use super::grave::Grave;
use super::guests::{Contents, Guests, Version};
use super::handle::{Handle, Running, Shared, Source};
use super::handlers::Replaceable;
use super::inbox::in_flight_max;
use super::lane::Lane;
use super::live::{Events, Live};
use super::pool::Pool;
use super::rejected::Rejected;
use super::reload::{All, Reloads};
use super::route::{Common, Inlet, Route};
use super::rule::Rule;
use super::running::{Origin, Running as RunningStrategy, RunningHandler, Seat, Texts, module};
use super::shadow::Shadow;
use super::strategies::{Notes, StrategyBoard};
use super::{Engine, Observer, SystemClock, spawn};
use crate::alert::{Delivery, Gate, Handler, NoJournal, OnAccepted};
use crate::backend::scene::SceneBackend;
use crate::backend::trace::TraceBackend;
use crate::backend::{Backend, Sink};
use crate::config::{HandlerKind, Input, Plan, StrategyKind};
use crate::error::{Code, Error};
use crate::gst::GstBackend;
use crate::guest::{Beside, Files};
use crate::infer::{Choice, Model, Runtime, Search};
use crate::strategy::{FaultKind, Motion, Strategy};
use crate::telemetry::Metrics;
use crate::track::{Tracker, Tracks};
use crate::types::{Clock, SourceId};
use crate::{handlers, wasm};

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

        let guests = Guests::start(Arc::clone(&metrics), runtime.handle().clone(), wasm::cache_folder())?;
        plan.sources.iter().for_each(|source| guests.know(&source.id, &source.zones));
        let mut contents = Contents::default();
        let mut all_handlers = own_handlers;
        let mut running_handlers = Vec::new();
        for handler in &plan.handlers {
            let HandlerKind::Module(module) = &handler.kind else {
                all_handlers.push(handlers::build(handler, &clock)?);
                continue;
            };
            let bytes = contents.read(&format!("handler {}", handler.name), &module.path)?;
            let beside = Arc::default();
            let built = guests.handler(&handler.name, module, &bytes, &beside)?;
            let place = Replaceable::new(Arc::clone(&handler.name), built);
            metrics.versions(&handler.name).generation.set(1);
            all_handlers.push(Arc::clone(&place) as Arc<dyn Handler>);
            let origin = Origin::new(&module.path, Texts { module: bytes, beside: beside.files() });
            running_handlers.push((Arc::clone(&handler.name), (**module).clone(), place, origin));
        }
        let events = Events::new();
        let on_accepted = on_accepted(Arc::clone(&events), observer.clone());
        let journal = Box::new(NoJournal);
        let delivery =
            Delivery::start(runtime.handle(), journal, &all_handlers, &plan.alerts, &metrics, &clock, on_accepted)?;

        let running_handlers = running_handlers.into_iter().filter_map(|(name, module, place, origin)| {
            let standing = delivery.outbox().standing(&name)?;
            Some(RunningHandler { name, module, place, standing, origin, generation: 1 })
        });
        let running_handlers = running_handlers.collect();

        let workers = plan.workers.unwrap_or_else(cores).max(1);
        let pools = start_pools(&plan, workers, &search, choice, &clock, &metrics)?;
        let grave = Grave::start()?;
        let boards: Vec<Arc<StrategyBoard>> =
            plan.strategies.iter().map(|s| StrategyBoard::new(&s.name, kind(&s.kind))).collect();
        let own_boards: Vec<Arc<StrategyBoard>> =
            strategies.iter().map(|(name, _)| StrategyBoard::new(name, "own")).collect();

        let running = Arc::new(Running::new(plan.sources.len()));
        let common = Common {
            in_flight_max: in_flight_max(workers),
            merge_iou: plan.models.first().map_or(0.5, |m| m.nms),
            clock: Arc::clone(&clock),
            events: Arc::clone(&events),
        };
        let mut versions: Vec<Option<(Version, Arc<Beside>)>> = Vec::with_capacity(plan.strategies.len());
        let mut running_strategies: Vec<Option<RunningStrategy>> = Vec::with_capacity(plan.strategies.len());
        for (strategy, board) in plan.strategies.iter().zip(&boards) {
            let Some(path) = module(strategy) else {
                versions.push(None);
                running_strategies.push(None);
                continue;
            };
            let bytes = contents.read(&format!("strategy {}", strategy.name), path)?;
            let beside = Arc::default();
            versions.push(Some((guests.strategy(strategy, &bytes, &beside)?, beside)));
            let origin = Origin::new(path, Texts { module: bytes, beside: Files::default() });
            running_strategies.push(Some(RunningStrategy::new(strategy.clone(), Arc::clone(board), origin)));
        }
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
            let mut rules: Vec<Rule> = Vec::new();
            let series = |board: &StrategyBoard| {
                metrics.versions(&board.name).generation.set(1);
                let own = metrics.strategy(&board.name, &source.id);
                own.may_fault(FaultKind::ALL.map(FaultKind::as_str));
                own
            };
            let rule = |board: &Arc<StrategyBoard>, filters: bool, strategy: Box<dyn Strategy>| {
                Rule::new(strategy, filters, series(board), Notes::new(Arc::clone(board)), grave.way())
            };
            // Shadows after all others: what they run beside has its place by then.
            let (others, shadows): (Vec<_>, Vec<_>) = plan
                .strategies
                .iter()
                .enumerate()
                .filter(|(_, s)| applies(&s.sources, &source.id))
                .partition(|(_, s)| s.shadow_of.is_none());
            for (index, strategy) in others.into_iter().chain(shadows) {
                let board = &boards[index];
                let (Some((version, _)), Some(running)) = (&versions[index], &mut running_strategies[index]) else {
                    let motion = Motion::new(&*strategy.name, &strategy.config)?;
                    detectors.push(rule(board, false, Box::new(motion)));
                    continue;
                };
                let at = match &strategy.shadow_of {
                    None => {
                        rules.push(rule(board, strategy.filters, version.instance(&source.id)?));
                        rules.len() - 1
                    }
                    Some(of) => {
                        let Some(at) = rules.iter().position(|rule| *rule.notes.board.name == **of) else { continue };
                        let shadow = version.rehearsal(&source.id)?;
                        rules[at].shadow = Some(Shadow::new(shadow, Arc::clone(board), series(board)));
                        at
                    }
                };
                let (source, route) = (source.id.clone(), Arc::clone(&route));
                running.seats.push(Seat { source, route, rule: at });
            }
            for ((_, make), board) in strategies.iter().zip(&own_boards) {
                rules.push(rule(board, false, make(&source.id)));
            }
            let lane = Lane {
                route: Arc::clone(&route),
                detectors,
                tracker: plan.tracking.enabled.then(Tracker::default),
                tracks: Tracks::default(),
                zones: Arc::clone(&source.zones),
                rules,
                remembered: VecDeque::new(),
                gate: Gate::new(&plan.alerts, &source.id, delivery.outbox(), &metrics),
                live: Arc::clone(&live),
                events: Arc::clone(&events),
                observer: observer.clone(),
                clock: Arc::clone(&clock),
            };
            lanes.push(lane);
            sources.push(Source { route, live });
        }

        // Known now that every instance is built.
        for (version, running) in versions.iter().zip(&mut running_strategies) {
            if let (Some((_, beside)), Some(running)) = (version, running) {
                running.origin.texts.beside = beside.files();
            }
        }
        let rejected = Arc::new(Rejected::default());
        let shared = Shared {
            started_ns: clock.monotonic_ns(),
            reload: Reloads::new(
                guests,
                Arc::clone(&rejected),
                Arc::clone(&metrics),
                Arc::clone(&clock),
                All { strategies: running_strategies.into_iter().flatten().collect(), handlers: running_handlers },
            ),
            rejected,
            clock,
            sources,
            strategies: boards.into_iter().chain(own_boards).collect(),
            outbox: Arc::clone(delivery.outbox()),
            metrics,
            events,
            running,
            plan,
        };
        let mut engine = Engine {
            handle: Handle(Arc::new(shared)),
            backends: Vec::new(),
            pools,
            lanes: Vec::with_capacity(lanes.len()),
            delivery,
            grave: Some(grave),
            runtime: Some(runtime),
            stopped: false,
        };
        // Started only now, when nothing else can fail but a thread: from here on the engine takes down what runs.
        for lane in lanes {
            engine.lanes.push(spawn(format!("lane-{}", lane.route.id), move || lane.run())?);
        }
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

/// Shows accepted alerts to whoever listens.
fn on_accepted(events: Arc<Events>, observer: Option<Arc<dyn Observer>>) -> OnAccepted {
    Arc::new(move |alert| {
        if let Some(observer) = &observer {
            observer.alert(alert);
        }
        events.alert(alert);
    })
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

pub(super) fn applies(sources: &[SourceId], source: &SourceId) -> bool {
    sources.is_empty() || sources.contains(source)
}

/// The `kind` a status shows.
fn kind(kind: &StrategyKind) -> &'static str {
    match kind {
        StrategyKind::Motion => "motion",
        StrategyKind::Lua(_) => "lua",
        StrategyKind::Wasm(_) => "wasm",
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
