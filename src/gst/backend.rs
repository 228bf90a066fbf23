//! The GStreamer backend: checks, starts, changes and removes sources.

use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::evidence::{Record, Recorders};
use super::playback::Playback;
use crate::backend::evidence::Evidence;
use crate::backend::{Backend, Sink, Sources, supervise};
use crate::config::{Camera, Input, SourcePlan};
use crate::error::{Code, Error};
use crate::outbound;
use crate::types::{Clock, SourceId};

/// Longest wait for an evidence stream that is replaced: as long as a pipeline may take to shut down, and a little more.
const REPLACE_MAX: Duration = Duration::from_secs(3);

/// The portable backend: files, network streams and the test picture through GStreamer.
pub struct GstBackend {
    clock: Arc<dyn Clock>,
    sources: Sources,
    recorders: Recorders,
}

impl GstBackend {
    /// Creates a backend without sources. Initialises GStreamer; repeating that is safe.
    ///
    /// # Errors
    /// [`Code::Pipeline`] when GStreamer does not start.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, Error> {
        gst::init().map_err(|error| {
            Error::new(Code::Pipeline, format!("GStreamer does not start: {error}"))
                .hint("`dsengine doctor` shows what is installed")
        })?;
        Ok(Self { clock, sources: Sources::default(), recorders: Recorders::default() })
    }
}

impl GstBackend {
    /// What is left of a time limit that begins now.
    fn within(&self, limit: Duration) -> impl Fn(&dyn Clock) -> Duration + use<> {
        let begun_ns = self.clock.monotonic_ns();
        move |clock: &dyn Clock| {
            limit.saturating_sub(Duration::from_nanos(clock.monotonic_ns().saturating_sub(begun_ns)))
        }
    }
}

impl Backend for GstBackend {
    fn check_source(&self, plan: &SourcePlan) -> Result<(), Error> {
        check(plan)
    }

    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        check(plan)?;
        self.sources.vacant(&plan.id)?;
        self.recorders.remove(&plan.id, REPLACE_MAX);
        let record = self.recorders.add(plan, &self.clock)?.map_or(Record::No, Record::Analysed);
        let (ours, clock) = (plan.clone(), Arc::clone(&self.clock));
        let started = self.sources.start(plan, sink, &format!("src-{}", plan.id), move |context| {
            supervise::run(Playback::new(Arc::clone(&clock), record), ours, clock, context);
        });
        if started.is_err() {
            self.recorders.remove(&plan.id, REPLACE_MAX);
        }
        started
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        self.sources.change(plan)?;
        self.recorders.change(plan, REPLACE_MAX)
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        let left = self.within(deadline);
        self.sources.remove(source, deadline);
        self.recorders.remove(source, left(&*self.clock));
    }

    fn stop(&mut self, deadline: Duration) {
        let left = self.within(deadline);
        self.sources.stop(None, deadline);
        self.recorders.stop(left(&*self.clock));
    }

    fn evidence(&self, source: &SourceId) -> Option<Arc<dyn Evidence>> {
        self.recorders.of(source)
    }
}

/// Checks a plan as far as possible without starting a pipeline.
fn check(plan: &SourcePlan) -> Result<(), Error> {
    let wrong = |what: &str| Error::new(Code::Source, format!("source {}: {what}", plan.id));
    match &plan.input {
        Input::File(_) => Ok(()),
        Input::Rtsp(camera) => {
            let own = plan.evidence.as_ref().and_then(|evidence| evidence.stream.as_deref());
            let files = |camera: &Camera| camera.ca_file.clone();
            for file in [Some(&**camera), own].into_iter().flatten().filter_map(files) {
                let usable = outbound::tls(Some(&file)).map(drop);
                usable.map_err(|what| {
                    wrong(&format!("parameters.ca_file: {what}"))
                        .hint("write parameters.ca_file: certs/ca.pem, a file with `BEGIN CERTIFICATE` in it, or DER")
                })?;
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
