//! Evidence of cameras: encoded packets kept in a ring, from the stream that is analysed or from one of its own.
//!
//! Packets are copied in a pad probe behind the parser ([`tap`]): nothing is decoded, queued or scheduled for them. The
//! evidence's own stream is a pipeline of its own ([`recorder`]) on its own thread, with its own watchdog and backoff,
//! so neither stream notices the end of the other. Clips ([`clip`]) and pictures ([`still`]) are made on the thread
//! that asks, within a time limit.

mod clip;
mod kept;
mod recorder;
mod reports;
mod still;
mod tap;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

pub(super) use self::kept::Kept;
use self::reports::{Reports, Side};
use self::tap::Tap;
pub(super) use self::tap::packets;

use crate::backend::evidence::Evidence;
use crate::backend::supervise;
use crate::backend::{Sink, Sources};
use crate::config::{Camera, EvidencePlan, Input, SourcePlan};
use crate::error::Error;
use crate::types::{Clock, SourceId};

/// The evidence of every source that has some.
pub(super) struct Recorders {
    kept: BTreeMap<SourceId, Recorder>,
    /// The threads of the evidence's own streams.
    streams: Sources,
}

/// The evidence of one source.
struct Recorder {
    kept: Arc<Kept>,
    /// The evidence's own stream.
    stream: Option<Box<Camera>>,
}

impl Recorders {
    /// Without evidence. Its streams connect in turn with those of `sources`.
    pub(super) fn new(sources: &Sources) -> Self {
        Self { kept: BTreeMap::new(), streams: sources.beside() }
    }

    /// Keeps evidence of a source from now on, if its plan says so. Returns what a pipeline of the source fills.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn add(&mut self, plan: &SourcePlan, clock: &Arc<dyn Clock>) -> Result<Option<Arc<Kept>>, Error> {
        let Some(evidence) = &plan.evidence else { return Ok(None) };
        let kept = Arc::new(Kept::new(plan.id.clone(), evidence, Arc::clone(clock)));
        self.play(plan, evidence, &kept)?;
        let recorder = Recorder { kept: Arc::clone(&kept), stream: evidence.stream.clone() };
        self.kept.insert(plan.id.clone(), recorder);
        Ok(Some(kept))
    }

    /// Applies a changed plan. The stream that is analysed is not touched; one of the evidence whose address has changed
    /// is replaced, and what it has kept stays. Other differences need the source to be started again.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn change(&mut self, plan: &SourcePlan, limit: Duration) -> Result<(), Error> {
        let (Some(evidence), Some(recorder)) = (&plan.evidence, self.kept.get_mut(&plan.id)) else { return Ok(()) };
        let kept = Arc::clone(&recorder.kept);
        kept.set_limits(evidence);
        let (Some(former), Some(stream)) = (&mut recorder.stream, &evidence.stream) else { return Ok(()) };
        if former == stream {
            return self.streams.change(&own_plan(plan, stream));
        }
        former.clone_from(stream);
        self.streams.remove(&plan.id, limit);
        kept.begin_anew();
        self.play(plan, evidence, &kept)
    }

    /// Stops the evidence's own stream and drops what is kept.
    pub(super) fn remove(&mut self, source: &SourceId, limit: Duration) {
        if self.kept.remove(source).is_some() {
            self.streams.remove(source, limit);
        }
    }

    /// Stops every stream.
    pub(super) fn stop(&mut self, limit: Duration) {
        self.streams.stop(None, limit);
        self.kept.clear();
    }

    /// What is kept of a source.
    pub(super) fn of(&self, source: &SourceId) -> Option<Arc<dyn Evidence>> {
        self.kept.get(source).map(|recorder| Arc::clone(&recorder.kept) as Arc<dyn Evidence>)
    }

    /// Starts the evidence's own stream, if it has one.
    fn play(&mut self, plan: &SourcePlan, evidence: &EvidencePlan, kept: &Arc<Kept>) -> Result<(), Error> {
        let Some(stream) = &evidence.stream else { return Ok(()) };
        let own = own_plan(plan, stream);
        let sink = Arc::clone(kept) as Arc<dyn Sink>;
        let (ours, kept) = (own.clone(), Arc::clone(kept));
        self.streams.start(&own, sink, &format!("evd-{}", plan.id), move |context| {
            let clock = Arc::clone(&kept.clock);
            supervise::run(recorder::Recording::new(kept), ours, clock, context);
        })
    }
}

/// The evidence's own stream as a source, which is restarted as its source is.
fn own_plan(plan: &SourcePlan, stream: &Camera) -> SourcePlan {
    let input = Input::Rtsp(Box::new(stream.clone()));
    SourcePlan { recovery: plan.recovery.clone(), ..SourcePlan::new(plan.id.clone(), input, plan.retry.clone()) }
}

/// What a pipeline does for evidence.
#[derive(Clone, Default)]
pub(super) enum Record {
    /// Nothing.
    #[default]
    No,
    /// It is the analysed stream: it measures its delay, and fills the ring where evidence has no stream of its own.
    Analysed(Arc<Kept>),
    /// It is the evidence's own stream: it fills the ring and decodes nothing.
    Own(Arc<Kept>),
}

impl Record {
    /// What the stream fills.
    pub(super) fn tap(&self) -> Option<Tap> {
        match self {
            Self::Own(kept) => Some(Tap::new(kept)),
            Self::Analysed(kept) if !kept.has_own_stream() => Some(Tap::new(kept)),
            Self::Analysed(_) | Self::No => None,
        }
    }

    /// Measures how much later than the arrival of its packets a frame of the analysed stream says that it was captured.
    pub(super) fn measure(&self, sample: &gst::Sample, pipeline: &gst::Pipeline, captured_ns: u64) {
        let Self::Analysed(kept) = self else { return };
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let pts = sample.buffer().and_then(gst::BufferRef::pts);
        let arrived = segment.zip(pts).and_then(|(segment, pts)| segment.to_running_time(pts));
        if let (Some(arrived), Some(now)) = (arrived, pipeline.current_running_time()) {
            kept.decoded(captured_ns, arrived.nseconds(), now.nseconds());
        }
    }

    /// Whether nothing is decoded.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// What its sender reports tell, where two streams are compared by them.
    pub(super) fn reports(&self) -> Option<Reports> {
        match self {
            Self::Own(kept) => Some(Reports::new(kept, Side::Evidence)),
            Self::Analysed(kept) if kept.has_own_stream() => Some(Reports::new(kept, Side::Detect)),
            Self::Analysed(_) | Self::No => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RecoveryPlan, RetryPlan};

    #[test]
    fn the_evidences_own_stream_is_restarted_as_its_source_is() {
        let second = Duration::from_secs(1);
        let retry = RetryPlan {
            max_retries: 7,
            base: second,
            cap: second,
            exponential: false,
            first_frame: second,
            gap: second,
        };
        let recovery = RecoveryPlan { damaged_max: 3, ..RecoveryPlan::default() };
        let stream = |uri| Camera::read(uri).unwrap();
        let input = Input::Rtsp(Box::new(stream("rtsp://10.0.0.7/sub")));
        let source = SourcePlan { recovery: recovery.clone(), ..SourcePlan::new("gate", input, retry.clone()) };
        let own = own_plan(&source, &stream("rtsp://10.0.0.7/main"));
        assert_eq!((own.recovery, own.retry), (recovery, retry));
        assert_eq!(own.input, Input::Rtsp(Box::new(stream("rtsp://10.0.0.7/main"))));
    }
}
