//! The backend itself: which sources run, and how they are started and taken away.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::source::Source;
use super::stop::Stop;
use crate::backend::change::{self, Change};
use crate::backend::{Backend, Sink, SourceEvent, SourceState};
use crate::config::{Input, SourcePlan};
use crate::error::{Code, Error};
use crate::types::{Clock, SourceId};

/// How long taking one source away may hold the caller up.
const REMOVE_MS_MAX: u64 = 3_000;

/// The portable backend: files, network streams and the test picture through GStreamer.
pub struct GstBackend {
    clock: Arc<dyn Clock>,
    sources: BTreeMap<SourceId, Supervised>,
}

impl GstBackend {
    /// A backend without sources. Initialises GStreamer, which is safe to do again.
    ///
    /// # Errors
    /// [`Code::Pipeline`] when GStreamer does not start.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, Error> {
        gst::init().map_err(|error| {
            Error::new(Code::Pipeline, format!("GStreamer does not start: {error}"))
                .hint("`dsengine doctor` shows what is installed")
        })?;
        Ok(Self { clock, sources: BTreeMap::new() })
    }
}

impl Backend for GstBackend {
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        check(plan)?;
        if self.sources.get(&plan.id).is_some_and(|running| !running.stop.finished()) {
            return Err(Error::new(Code::Source, format!("source {} is already running", plan.id))
                .hint("remove it first, or give the new one another id"));
        }
        let source = Supervised::start(plan.clone(), sink, Arc::clone(&self.clock))?;
        self.sources.insert(plan.id.clone(), source);
        Ok(())
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        let source = self.sources.get(&plan.id).ok_or_else(|| change::unknown(&plan.id))?;
        source.change.put(plan);
        Ok(())
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        if let Some(mut source) = self.sources.remove(source) {
            source.end(deadline);
        }
    }

    fn stop(&mut self, deadline: Duration) {
        let sources = std::mem::take(&mut self.sources);
        sources.values().for_each(|source| source.stop.request());
        let start = self.clock.monotonic_ns();
        for mut source in sources.into_values() {
            let spent = Duration::from_nanos(self.clock.monotonic_ns().saturating_sub(start));
            source.end(deadline.saturating_sub(spent));
        }
    }
}

impl Drop for GstBackend {
    fn drop(&mut self) {
        self.stop(Duration::from_millis(REMOVE_MS_MAX));
    }
}

/// What can be known of a source before it is tried.
fn check(plan: &SourcePlan) -> Result<(), Error> {
    let wrong = |what: &str| Error::new(Code::Source, format!("source {}: {what}", plan.id));
    match &plan.input {
        Input::File(_) => Ok(()),
        Input::Rtsp(uri) => {
            let uri = url::Url::parse(uri).map_err(|error| {
                wrong(&format!("its URI cannot be read: {error}")).hint("rtsp://[user:password@]host[:port]/path")
            })?;
            if !["rtsp", "rtsps", "rtspt"].contains(&uri.scheme()) {
                return Err(wrong(&format!("{}:// is not a stream that this backend reads", uri.scheme()))
                    .hint("use rtsp:// or rtsps://"));
            }
            gst::ElementFactory::find("rtspsrc").map(drop).ok_or_else(|| {
                Error::new(Code::Pipeline, format!("source {}: GStreamer's rtspsrc is not installed", plan.id))
                    .hint("apt-get install gstreamer1.0-plugins-good")
            })
        }
        Input::Test { pattern, width, height, fps, .. } => {
            if *width == 0 || *height == 0 || !(fps.is_finite() && *fps > 0.0) {
                return Err(wrong("a test picture needs a size and a frame rate above zero"));
            }
            let known = patterns();
            if !known.is_empty() && !known.iter().any(|nick| nick == pattern) {
                return Err(
                    wrong(&format!("no test pattern {pattern:?}")).hint(format!("there are {}", known.join(", ")))
                );
            }
            Ok(())
        }
        Input::Scene { .. } | Input::Trace(_) => Err(wrong("GStreamer plays files, rtsp:// and test pictures only")),
    }
}

/// The nicks of videotestsrc's patterns; empty when it is not installed.
fn patterns() -> Vec<String> {
    let Ok(source) = gst::ElementFactory::make("videotestsrc").build() else { return Vec::new() };
    let class = source.find_property("pattern").and_then(|p| gst::glib::EnumClass::with_type(p.value_type()));
    class.map(|class| class.values().iter().map(|v| v.nick().to_owned()).collect()).unwrap_or_default()
}

/// A source's thread, stopped when this is dropped.
struct Supervised {
    id: SourceId,
    stop: Arc<Stop>,
    change: Arc<Change>,
    thread: Option<JoinHandle<()>>,
}

impl Supervised {
    fn start(plan: SourcePlan, sink: Arc<dyn Sink>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let (id, stop) = (plan.id.clone(), Arc::new(Stop::default()));
        let done = Done(Arc::clone(&stop));
        let change = Arc::new(Change::default());
        let source = Source::new(plan, Arc::clone(&sink), clock, Arc::clone(&stop), Arc::clone(&change));
        let lost = id.clone();
        let thread = thread::Builder::new()
            .name(format!("src-{id}"))
            .spawn(move || {
                let _done = done;
                // A source never goes without a word, not even by a fault of ours: others wait for its end.
                if catch_unwind(AssertUnwindSafe(|| source.run())).is_err() {
                    sink.event(&lost, SourceEvent::State(SourceState::Failed));
                    sink.event(&lost, SourceEvent::Broken("an internal error; please report it".into()));
                }
            })
            .map_err(|error| Error::new(Code::Source, format!("source {id}: no thread for it: {error}")))?;
        Ok(Self { id, stop, change, thread: Some(thread) })
    }

    /// Stops the thread within `limit`, or leaves it behind.
    fn end(&mut self, limit: Duration) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.request();
        if self.stop.wait(limit) {
            if thread.join().is_err() {
                tracing::error!(source = %self.id, "the source's thread panicked");
            }
        } else {
            tracing::error!(source = %self.id, ?limit, "the source does not stop; its thread is left behind");
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.end(Duration::from_millis(REMOVE_MS_MAX));
    }
}

/// Says that the thread has gone, however it went.
struct Done(Arc<Stop>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.finish();
    }
}
