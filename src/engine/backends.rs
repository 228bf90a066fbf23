//! The running backends, by kind. Only this file names their implementations.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::backend::detections::DetectionsBackend;
use crate::backend::evidence::Evidence;
use crate::backend::peers::no_peers;
use crate::backend::scene::SceneBackend;
use crate::backend::trace::TraceBackend;
use crate::backend::{Backend, Intake, Peers, Sink};
use crate::config::{BackendKind, SourcePlan};
use crate::error::{Code, Error};
use crate::gst::GstBackend;
use crate::types::{Clock, SourceId};

/// Longest wait for a source to be removed.
const REMOVE_WAIT: Duration = Duration::from_secs(3);

/// Creates the embedder's own backend.
pub(super) type MakeBackend = Box<dyn Fn(Arc<dyn Clock>) -> Result<Box<dyn Backend>, Error> + Send + Sync>;

/// Which backend plays a source; `None` for the embedder's own.
type Kind = Option<BackendKind>;

/// See the module. Each backend is created with its first source.
pub(super) struct Backends {
    clock: Arc<dyn Clock>,
    /// The embedder's own backend, which then plays every source.
    own: Option<MakeBackend>,
    state: Mutex<State>,
    /// What takes messages, by source: messages do not wait while another source is started or removed.
    intakes: RwLock<BTreeMap<SourceId, Arc<dyn Intake>>>,
}

#[derive(Default)]
struct State {
    running: BTreeMap<Kind, Box<dyn Backend>>,
    /// The backend kind of each source.
    sources: BTreeMap<SourceId, Kind>,
    stopped: bool,
}

impl Backends {
    pub(super) fn new(clock: Arc<dyn Clock>, own: Option<MakeBackend>) -> Self {
        Self { clock, own, state: Mutex::default(), intakes: RwLock::default() }
    }

    /// Whether the embedder's own backend plays every source.
    pub(super) fn is_foreign(&self) -> bool {
        self.own.is_some()
    }

    fn make(&self, kind: Kind) -> Result<Box<dyn Backend>, Error> {
        let clock = Arc::clone(&self.clock);
        Ok(match (&self.own, kind) {
            (Some(make), _) => make(clock)?,
            (None, Some(BackendKind::Scene)) => Box::new(SceneBackend::new(clock)),
            (None, Some(BackendKind::Trace)) => Box::new(TraceBackend::default()),
            (None, Some(BackendKind::Detections)) => Box::new(DetectionsBackend::new(clock)),
            (None, Some(BackendKind::Gst) | None) => Box::new(GstBackend::new(clock)?),
        })
    }

    fn kind(&self, plan: &SourcePlan) -> Kind {
        self.own.is_none().then(|| plan.input.backend())
    }

    fn backend<'a>(&self, state: &'a mut State, kind: Kind) -> Result<&'a mut Box<dyn Backend>, Error> {
        Ok(match state.running.entry(kind) {
            Entry::Occupied(running) => running.into_mut(),
            Entry::Vacant(place) => place.insert(self.make(kind)?),
        })
    }

    /// Starts a source.
    ///
    /// # Errors
    /// Any error that the backend reports immediately; after [`Backends::stop`], that the engine is stopping.
    pub(super) fn add(&self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.stopped {
            return Err(Error::new(Code::Source, "the engine is stopping"));
        }
        let kind = self.kind(plan);
        let backend = self.backend(&mut state, kind)?;
        backend.add_source(plan, sink)?;
        let intake = backend.intake(&plan.id);
        state.sources.insert(plan.id.clone(), kind);
        drop(state);
        if let Some(intake) = intake {
            self.intakes.write().insert(plan.id.clone(), intake);
        }
        Ok(())
    }

    /// Checks, as far as possible in advance, that the backend accepts a source.
    ///
    /// # Errors
    /// The backend's error.
    pub(super) fn check(&self, plan: &SourcePlan) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.stopped {
            return Err(Error::new(Code::Source, "the engine is stopping"));
        }
        self.backend(&mut state, self.kind(plan))?.check_source(plan)
    }

    /// Applies settings that can change while a source runs: its analysis rate and its restart policy.
    ///
    /// # Errors
    /// The backend's error.
    pub(super) fn change(&self, plan: &SourcePlan) -> Result<(), Error> {
        let mut state = self.state.lock();
        let State { running, sources, .. } = &mut *state;
        match sources.get(&plan.id).and_then(|kind| running.get_mut(kind)) {
            Some(backend) => backend.change_source(plan),
            None => Ok(()),
        }
    }

    /// Stops a source and frees its resources.
    pub(super) fn remove(&self, source: &SourceId) {
        self.intakes.write().remove(source);
        let mut state = self.state.lock();
        let State { running, sources, .. } = &mut *state;
        if let Some(backend) = sources.remove(source).and_then(|kind| running.get_mut(&kind)) {
            backend.remove_source(source, REMOVE_WAIT);
        }
    }

    /// What takes messages for a source; `None` if it takes none.
    pub(super) fn intake(&self, source: &str) -> Option<Arc<dyn Intake>> {
        self.intakes.read().get(&SourceId::from(source)).cloned()
    }

    /// What is kept of a source's encoded stream, if anything is.
    pub(super) fn evidence(&self, source: &SourceId) -> Option<Arc<dyn Evidence>> {
        let state = self.state.lock();
        state.running.get(state.sources.get(source)?)?.evidence(source)
    }

    /// The WebRTC side of a source.
    ///
    /// # Errors
    /// When there is no such source, or it has none.
    pub(super) fn peers(&self, source: &SourceId) -> Result<Arc<dyn Peers>, Error> {
        let state = self.state.lock();
        match state.sources.get(source).and_then(|kind| state.running.get(kind)) {
            Some(backend) => backend.peers(source),
            None => Err(no_peers(source)),
        }
    }

    /// Stops every source; none can be started afterwards.
    pub(super) fn stop(&self, left: impl Fn() -> Duration) {
        self.intakes.write().clear();
        let running = {
            let mut state = self.state.lock();
            state.stopped = true;
            std::mem::take(&mut state.running)
        };
        for mut backend in running.into_values() {
            backend.stop(left());
        }
    }
}
