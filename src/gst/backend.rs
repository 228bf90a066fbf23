//! The GStreamer backend: checks, starts, changes and removes sources.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::evidence::{Record, Recorders};
use super::playback::Playback;
use super::webrtc::{Door, Pulling, Reception, Sessions};
use super::{chain, doctor};
use crate::backend::evidence::Evidence;
use crate::backend::peers::no_peers;
use crate::backend::{Backend, Peers, Sink, Sources, supervise};
use crate::config::{Input, Sender, SourcePlan};
use crate::error::{Code, Error};
use crate::outbound;
use crate::types::{Clock, SourceId};

/// Longest wait for an evidence stream that is replaced: as long as a pipeline may take to shut down, and a little more.
const REPLACE_MAX: Duration = Duration::from_secs(3);

/// The portable backend: files, network streams and the test picture through GStreamer.
pub struct GstBackend {
    clock: Arc<dyn Clock>,
    sources: Sources,
    /// The WebRTC side of each source.
    doors: BTreeMap<SourceId, Arc<Door>>,
    /// Viewers of all of them.
    viewers: Arc<AtomicUsize>,
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
        let sources = Sources::default();
        let recorders = Recorders::new(&sources);
        Ok(Self { clock, sources, doors: BTreeMap::new(), viewers: Arc::default(), recorders })
    }

    /// What is left of a time limit that began at `begun_ns`.
    fn left(&self, limit: Duration, begun_ns: u64) -> Duration {
        limit.saturating_sub(Duration::from_nanos(self.clock.monotonic_ns().saturating_sub(begun_ns)))
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
        let door = Door::new(plan, Arc::clone(&clock), &self.viewers);
        let theirs = Arc::clone(&door);
        let started = self.sources.start(plan, sink, &format!("src-{}", plan.id), move |context| match &ours.input {
            Input::Webrtc(webrtc) if webrtc.from == Sender::Publisher => {
                supervise::run(Reception(theirs), ours, clock, context);
            }
            Input::Webrtc(_) => supervise::run(Pulling(Arc::clone(&theirs.encoded)), ours, clock, context),
            _ => {
                let playback = Playback::new(Arc::clone(&clock), Arc::clone(&theirs.encoded), record);
                supervise::run(playback, ours, clock, context);
            }
        });
        if started.is_err() {
            self.recorders.remove(&plan.id, REPLACE_MAX);
            return started;
        }
        self.doors.insert(plan.id.clone(), door);
        Ok(())
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        if let Some(door) = self.doors.get(&plan.id) {
            door.change(plan);
        }
        self.sources.change(plan)?;
        self.recorders.change(plan, REPLACE_MAX)
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        let begun_ns = self.clock.monotonic_ns();
        if let Some(door) = self.doors.remove(source) {
            door.close();
        }
        self.sources.remove(source, deadline);
        self.recorders.remove(source, self.left(deadline, begun_ns));
    }

    fn stop(&mut self, deadline: Duration) {
        let begun_ns = self.clock.monotonic_ns();
        self.close_doors();
        self.sources.stop(None, deadline);
        self.recorders.stop(self.left(deadline, begun_ns));
    }

    fn evidence(&self, source: &SourceId) -> Option<Arc<dyn Evidence>> {
        self.recorders.of(source)
    }

    fn peers(&self, source: &SourceId) -> Result<Arc<dyn Peers>, Error> {
        let door = self.doors.get(source).ok_or_else(|| no_peers(source))?;
        Ok(Arc::new(Sessions(Arc::clone(door))))
    }
}

impl GstBackend {
    fn close_doors(&mut self) {
        self.doors.values().for_each(|door| door.end());
        std::mem::take(&mut self.doors).into_values().for_each(|door| door.close());
    }
}

impl Drop for GstBackend {
    fn drop(&mut self) {
        self.close_doors();
    }
}

/// Checks a plan as far as possible without starting a pipeline.
fn check(plan: &SourcePlan) -> Result<(), Error> {
    let wrong = |what: &str| Error::new(Code::Source, format!("source {}: {what}", plan.id));
    match &plan.input {
        Input::File(_) | Input::Images(_) => Ok(()),
        Input::Chain { chain, .. } => chain::source(chain).map(drop).map_err(|what| wrong(&what)),
        Input::Webcam(_) => installed(plan, "v4l2src"),
        Input::Rtsp(camera) => {
            let own = plan.evidence.as_ref().and_then(|evidence| evidence.stream.as_deref());
            for camera in [Some(&**camera), own].into_iter().flatten() {
                check_authorities(plan, camera.ca_file.as_deref())?;
            }
            installed(plan, "rtspsrc")
        }
        Input::Web(web) => check_authorities(plan, web.ca_file.as_deref()),
        Input::Webrtc(_) => ["webrtcbin", "nicesrc"].iter().try_for_each(|name| installed(plan, name)),
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
        Input::Scene { .. } | Input::Trace(_) | Input::Detections(_) => Err(wrong("GStreamer plays no such source")),
    }
}

/// Checks that an element is installed.
fn installed(plan: &SourcePlan, element: &str) -> Result<(), Error> {
    gst::ElementFactory::find(element).map(drop).ok_or_else(|| {
        Error::new(Code::Pipeline, format!("source {}: GStreamer's {element} is not installed", plan.id))
            .hint(doctor::remedy(element))
    })
}

/// Checks that the certificates of `ca_file` can be used.
fn check_authorities(plan: &SourcePlan, ca_file: Option<&Path>) -> Result<(), Error> {
    let Some(file) = ca_file else { return Ok(()) };
    outbound::tls(Some(file)).map(drop).map_err(|what| {
        Error::new(Code::Source, format!("source {}: parameters.ca_file: {what}", plan.id))
            .hint("write parameters.ca_file: certs/ca.pem, a file with `BEGIN CERTIFICATE` in it, or DER")
    })
}

/// The nicks of videotestsrc's patterns; empty when it is not installed.
fn patterns() -> Vec<String> {
    let Ok(source) = gst::ElementFactory::make("videotestsrc").build() else { return Vec::new() };
    let class = source.find_property("pattern").and_then(|p| gst::glib::EnumClass::with_type(p.value_type()));
    class.map(|class| class.values().iter().map(|v| v.nick().to_owned()).collect()).unwrap_or_default()
}
