//! The evidence's own stream, for the supervisor: its packets are counted and timed, and never decoded.

use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;

use super::{Kept, Record};
use crate::backend::Failure;
use crate::backend::supervise::{Attempt, Limits, Origin, Pacing, Timing};
use crate::config::{Input, SourcePlan};
use crate::gst::camera::Attempts;
use crate::gst::feed::Feed;
use crate::gst::playback;
use crate::types::Frame;

/// Makes a pipeline for each attempt.
pub(super) struct Recording {
    attempts: Attempts,
}

impl Recording {
    pub(super) fn new(kept: Arc<Kept>) -> Self {
        let clock = Arc::clone(&kept.clock);
        Self { attempts: Attempts { record: Record::Own(kept), ..Attempts::new(clock, Arc::default()) } }
    }
}

impl Origin for Recording {
    type Attempt = Packets;

    fn start(&mut self, plan: &SourcePlan, pacing: Pacing) -> Result<Packets, String> {
        Feed::start(&plan.input, pacing, &self.attempts).map(Packets)
    }

    fn limits(&self, plan: &SourcePlan) -> Limits {
        playback::live_limits(&plan.retry)
    }

    fn host(&self, plan: &SourcePlan) -> Option<String> {
        match &plan.input {
            Input::Rtsp(camera) => Some(camera.host.clone()),
            _ => None,
        }
    }
}

/// A pipeline without a decoder.
pub(super) struct Packets(Feed);

impl Attempt for Packets {
    type Sample = gst::Sample;

    fn pull(&mut self, wait: Duration) -> Option<gst::Sample> {
        self.0.next(wait)
    }

    fn timing(&self, sample: &gst::Sample) -> Option<Timing> {
        let buffer = sample.buffer()?;
        let nonzero = |time: gst::ClockTime| Some(time.nseconds()).filter(|ns| *ns > 0);
        Some(Timing {
            pts_ns: buffer.pts().map(gst::ClockTime::nseconds),
            period_ns: buffer.duration().and_then(nonzero),
        })
    }

    fn fill(&mut self, _: gst::Sample, _: &mut Frame) -> Result<(), &'static str> {
        Ok(())
    }

    fn failure(&mut self) -> Option<Failure> {
        self.0.failure()
    }

    fn ended(&self) -> bool {
        self.0.ended()
    }

    fn waits_for(&self) -> Option<String> {
        self.0.waits_for()
    }

    fn is_connected(&self) -> bool {
        self.0.is_connected()
    }
}
