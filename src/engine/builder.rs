//! The builder of an engine: creates the parts that exist once, then applies the plan to an empty engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use super::backends::{Backends, MakeBackend};
use super::handle::{Handle, Shared};
use super::health::Watch;
use super::keeper::Keeper;
use super::lanes::{LaneThreads, Observer, Reaper};
use super::models::Models;
use super::owner::{Boards, Owner, OwnerThread, queue};
use super::parts::{Factory, Inference, OwnStrategy, Parts};
use super::versions::{Guests, Rejected, Versions};
use super::view::live::Events;
use super::view::strategy::StrategyBoard;
use super::{Engine, SystemClock};
use crate::alert::{Delivery, Handler, Journal, NoJournal, SavedKind};
use crate::backend::Backend;
use crate::config::Plan;
use crate::error::{Code, Error};
use crate::infer::{Choice, Search};
use crate::strategy::Strategy;
use crate::telemetry::Metrics;
use crate::types::{Alert, Clock, SourceId};
use crate::wasm;

/// Collects what an engine needs besides its plan.
pub struct Builder {
    plan: Plan,
    clock: Arc<dyn Clock>,
    observer: Option<Arc<dyn Observer>>,
    search: Search,
    choice: Choice,
    strategies: Vec<(String, Factory)>,
    handlers: Vec<Arc<dyn Handler>>,
    backend: Option<MakeBackend>,
    journal: Box<dyn Journal>,
    pictures: Option<PathBuf>,
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
            backend: None,
            journal: Box::new(NoJournal),
            pictures: None,
        }
    }

    /// Runs on this clock instead of the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Passes frames, judgements and alerts to `observer`.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Where to look for libonnxruntime; by default only at the plan's own path.
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

    /// Adds an embedder's strategy: `make` is called once per source; it judges after the plan's strategies.
    #[must_use]
    pub fn strategy<S: Strategy + 'static>(
        mut self,
        name: &str,
        make: impl Fn(&SourceId) -> S + Send + Sync + 'static,
    ) -> Self {
        self.strategies.push((name.to_owned(), Box::new(move |source| Box::new(make(source)))));
        self
    }

    /// Adds an embedder's handler in addition to the plan's.
    #[must_use]
    pub fn handler(mut self, handler: Arc<dyn Handler>) -> Self {
        self.handlers.push(handler);
        self
    }

    /// Plays every source with the embedder's own backend, whatever its address.
    #[must_use]
    pub fn backend(
        mut self,
        make: impl Fn(Arc<dyn Clock>) -> Result<Box<dyn Backend>, Error> + Send + Sync + 'static,
    ) -> Self {
        self.backend = Some(Box::new(make));
        self
    }

    /// Stores accepted alerts in `journal` until they are delivered; by default they are kept in memory only.
    #[must_use]
    pub fn journal(mut self, journal: Box<dyn Journal>) -> Self {
        self.journal = journal;
        self
    }

    /// Keeps pictures of alerts in this folder, as `Plan::pictures` says; by default none are kept. No other process
    /// may use the folder.
    #[must_use]
    pub fn pictures(mut self, folder: PathBuf) -> Self {
        self.pictures = Some(folder);
        self
    }

    /// Builds the parts that exist once, then applies the plan.
    ///
    /// # Errors
    /// When a model, label file, script, handler or source cannot be used; nothing is left running.
    pub fn start(self) -> Result<Engine, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(|e| Error::new(Code::Io, format!("cannot start the control threads: {e}")))?;
        let plan = self.plan.clone();
        let parts = Arc::new(self.build_parts(&runtime)?);
        let (asked, commands) = queue();
        let (rejected, count) = (Arc::<Rejected>::default(), Arc::<AtomicU64>::default());
        let nothing = Arc::new(empty(&plan));
        let shared = Arc::new(Shared::new(&parts, Arc::clone(&nothing), &rejected, &count, asked));
        let (guests, metrics) = (Arc::clone(&parts.guests), Arc::clone(&parts.metrics));
        let mut owner = Owner {
            versions: Versions::new(guests, rejected, metrics, Arc::clone(&parts.clock), count),
            parts: Arc::clone(&parts),
            shared: Arc::clone(&shared),
            plan: nothing,
            units: BTreeMap::new(),
            models: Models::new(),
            boards: Boards::default(),
        };
        let started = owner.apply(plan);
        let owner = OwnerThread::start(owner, commands);
        let handle = Handle(Arc::clone(&shared));
        let mut engine =
            Engine { handle, parts, owner: None, watch: None, keeper: None, runtime: Some(runtime), stopped: false };
        started?;
        engine.parts.delivery.settle_absent();
        engine.owner = Some(owner?);
        engine.watch = Some(Watch::start(&shared)?);
        engine.keeper = Keeper::start(&engine.parts)?;
        Ok(engine)
    }

    /// Builds the parts that exist once.
    fn build_parts(self, runtime: &tokio::runtime::Runtime) -> Result<Parts, Error> {
        let Self { plan, clock, observer, search, choice, strategies, handlers, backend, journal, pictures } = self;
        let metrics = Metrics::new(Arc::clone(&clock));
        let events = Events::new();
        let guests = Guests::start(Arc::clone(&metrics), runtime.handle().clone(), wasm::cache_folder())?;
        let accepted = {
            let (events, observer) = (Arc::clone(&events), observer.clone());
            Arc::new(move |alert: &Arc<Alert>| {
                if let Some(observer) = &observer {
                    observer.alert(alert);
                }
                events.alert(alert);
            })
        };
        let delivery = Delivery::start(runtime.handle(), journal, &handlers, &plan.alerts, &metrics, &clock, accepted)?;
        let changed = Arc::clone(&events);
        delivery.outbox().on_case(Arc::new(move |cased| changed.case(cased)));
        if let Some(folder) = pictures {
            delivery.keep_pictures(folder, &plan.pictures)?;
        }
        guests.state().restore(delivery.outbox().take_saved(SavedKind::State, ""));
        let given = Arc::default();
        let (pool, in_flight_max) = Parts::pool(&plan, &clock, &given);
        pool.set_batch(plan.batch_size, plan.batch_timeout);
        let own =
            strategies.into_iter().map(|(name, make)| OwnStrategy { board: StrategyBoard::new(&name, "own"), make });
        Ok(Parts {
            guests,
            delivery,
            pool,
            threads: LaneThreads::new(Arc::clone(&clock)),
            given,
            in_flight_max,
            backends: Backends::new(Arc::clone(&clock), backend),
            reaper: Reaper::start()?,
            events,
            observer,
            own: own.collect(),
            unended: Arc::default(),
            removed: Mutex::default(),
            inference: Inference::new(&plan, &search, choice),
            metrics,
            clock,
        })
    }
}

/// A plan with the settings of `plan` that runs nothing.
fn empty(plan: &Plan) -> Plan {
    let (sources, models, strategies, handlers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    Plan { sources, models, strategies, handlers, ..plan.clone() }
}
