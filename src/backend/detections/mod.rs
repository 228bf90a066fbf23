//! Backend for cameras that detect by themselves: their detections arrive as messages, without pictures.
//!
//! Messages are posted to the engine's listener ([`Intake`]) or published at a broker (`link`). Whoever brings one
//! reads it and passes its frames to the sink: no thread is woken for a frame. All sources share one thread, which
//! keeps the connections to brokers, passes on frames that waited for an earlier one, and watches for silence.
//!
//! A body passes these stages, each in its own file: `line` or `nvmsgconv` reads a message, `frame` has the bounds of
//! its values, `order` puts frames in order and finds doubled and late ones, `times` gives them the engine's time, and
//! `feed` counts what is dropped and hands on the rest. A frame whose detections all have track ids keeps them; any
//! other is tracked by the engine.
//!
//! Silence is not a failure: a camera may send nothing while nothing moves. Where `timeout` is set, a source that is
//! silent for longer is `stalled` until the next message; one with a broker is connected anew, too.

mod feed;
mod frame;
mod line;
mod link;
mod nvmsgconv;
mod order;
mod times;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

use self::feed::{Feed, plan_of};
use super::{Backend, Intake, Sink, SourceState, Sources};
use crate::config::{DetectionsFrom, SourcePlan};
use crate::error::{Code, Error};
use crate::types::{Clock, SourceId};

/// How often what waits is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Most threads that look up the names of brokers.
const LOOKUPS_MAX: usize = 4;
/// Longest wait for the thread of a dropped backend.
const DROP_MAX: Duration = Duration::from_secs(1);

/// See the module.
pub struct DetectionsBackend {
    clock: Arc<dyn Clock>,
    sources: Sources,
    feeds: Arc<Mutex<Feeds>>,
    /// The thread; started with the first source.
    runtime: Option<Runtime>,
}

type Feeds = BTreeMap<SourceId, Owned>;

/// A source. Dropping it ends its connection.
struct Owned {
    feed: Arc<Feed>,
    link: Option<AbortHandle>,
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.abort();
        }
    }
}

impl DetectionsBackend {
    /// Creates a backend without sources.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, sources: Sources::default(), feeds: Arc::default(), runtime: None }
    }

    fn runtime(&mut self) -> Result<&Runtime, Error> {
        if self.runtime.is_none() {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .max_blocking_threads(LOOKUPS_MAX)
                .thread_name("detections")
                .enable_all()
                .build()
                .map_err(|error| Error::new(Code::Source, format!("no thread for detections: {error}")))?;
            runtime.spawn(keep_ticking(Arc::clone(&self.feeds)));
            self.runtime = Some(runtime);
        }
        self.runtime.as_ref().ok_or_else(|| Error::new(Code::Source, "no thread for detections"))
    }
}

/// Does what is due on every source.
async fn keep_ticking(feeds: Arc<Mutex<Feeds>>) {
    let mut silent = BTreeMap::new();
    loop {
        tokio::time::sleep(TICK).await;
        let all: Vec<_> = feeds.lock().values().map(|owned| (Arc::clone(&owned.feed), owned.link.is_some())).collect();
        for (feed, has_link) in all {
            feed.tick();
            if !has_link {
                watch(&feed, &mut silent);
            }
        }
    }
}

/// Notes that a source to which detections are posted is silent for too long; `silent` has the number of times in a
/// row.
fn watch(feed: &Feed, silent: &mut BTreeMap<SourceId, u32>) {
    let outlet = &feed.outlet;
    match (outlet.state(), feed.silence_left()) {
        (Some(SourceState::Running | SourceState::Waiting), Some(Duration::ZERO)) => {
            let times = silent.entry(outlet.id().clone()).or_default();
            *times = times.saturating_add(1);
            outlet.fault(feed.too_silent(), *times, Duration::ZERO, SourceState::Stalled);
        }
        (Some(SourceState::Running), _) => {
            silent.remove(outlet.id());
        }
        _ => {}
    }
}

impl Backend for DetectionsBackend {
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        let detections = plan_of(plan).ok_or_else(|| foreign(plan))?;
        self.sources.vacant(&plan.id)?;
        let target = match &detections.from {
            DetectionsFrom::Post => None,
            DetectionsFrom::Mqtt(subscription) => Some(link::Target::new(&plan.id, subscription)?),
        };
        let clock = Arc::clone(&self.clock);
        self.runtime()?;
        let (outlet, change) = self.sources.join(plan, sink)?;
        let feed = Arc::new(Feed::new(plan, detections, Arc::clone(&outlet), change, clock));
        let link = match target {
            None => {
                outlet.enter(SourceState::Waiting);
                None
            }
            Some(target) => {
                outlet.enter(SourceState::Connecting);
                let (feed, runtime) = (Arc::clone(&feed), self.runtime()?);
                Some(runtime.spawn(link::run(target, feed)).abort_handle())
            }
        };
        self.feeds.lock().insert(plan.id.clone(), Owned { feed, link });
        Ok(())
    }

    fn check_source(&self, plan: &SourcePlan) -> Result<(), Error> {
        match &plan_of(plan).ok_or_else(|| foreign(plan))?.from {
            DetectionsFrom::Post => Ok(()),
            DetectionsFrom::Mqtt(subscription) => link::Target::new(&plan.id, subscription).map(drop),
        }
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        self.sources.change(plan)
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        // Its frames are barred before its connection ends, so that none comes after its last event.
        self.sources.remove(source, deadline);
        let owned = self.feeds.lock().remove(source);
        drop(owned);
    }

    fn stop(&mut self, deadline: Duration) {
        self.sources.stop(None, deadline);
        let owned = std::mem::take(&mut *self.feeds.lock());
        drop(owned);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(deadline);
        }
    }

    fn intake(&self, source: &SourceId) -> Option<Arc<dyn Intake>> {
        let feeds = self.feeds.lock();
        feeds.get(source).filter(|owned| owned.link.is_none()).map(|owned| Arc::clone(&owned.feed) as Arc<dyn Intake>)
    }
}

impl Drop for DetectionsBackend {
    fn drop(&mut self) {
        self.stop(DROP_MAX);
    }
}

fn foreign(plan: &SourcePlan) -> Error {
    Error::new(Code::Source, format!("{}: this backend takes detections only", plan.id))
}
