//! A source that waits for publishers: GStreamer's implementation of [`Origin`] and [`Attempt`] for it.
//!
//! One attempt lasts as long as the source. Between two publishers it has no pipeline.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::super::decode::{camera_decodebin, set_if_there};
use super::super::evidence::Record;
use super::super::feed::{Feed, Place, add, make};
use super::super::playback::{Decoded, live_limits};
use super::connection::{Connection, Link};
use super::door::{Door, Held};
use super::sdp::{Description, Profile};
use crate::backend::supervise::{Attempt, Limits, Origin, Pacing, Quiet, Timing};
use crate::backend::{Failure, Stream};
use crate::config::{SourcePlan, WebrtcPlan};
use crate::types::Frame;

/// Longest time from the answer to the first frame, whatever `timeout` allows: it occupies the source meanwhile.
const FIRST_FRAME_MAX: Duration = Duration::from_secs(10);

/// A publisher's session: its pipeline, which plays.
pub(super) struct Call {
    // Dropped in this order: the pipeline ends before the place is free.
    feed: Feed,
    connection: Connection,
    held: Held,
}

impl Call {
    /// Builds the pipeline for an offer; returns it with the answer.
    pub(super) fn answer(
        plan: &WebrtcPlan,
        offer: &Description<'_>,
        from: IpAddr,
        held: Held,
    ) -> Result<(Self, String), String> {
        let payload = offer.payloads.first().ok_or("it has no usable video")?;
        let mut connection = None;
        let feed = Feed::build(Pacing::Live, &held.door.encoded, held.door.picture_max, &Record::No, |place| {
            let made = connection.insert(Connection::add(place.pipeline, &plan.servers, from)?);
            receive(made, place, plan)
        })?;
        let connection = connection.ok_or("the pipeline has no connection")?;
        let feed = feed.play()?;
        let answer = connection.answer(&offer.only(payload, Profile::Kept))?;
        Ok((Self { feed, connection, held }, answer))
    }

    /// Why it is over, if it is.
    fn over(&mut self) -> Option<String> {
        if self.held.ended() {
            return Some("it ended the session".to_owned());
        }
        if self.connection.link() == Link::Lost {
            return Some("the connection is lost".to_owned());
        }
        if let Some(failure) = self.feed.failure() {
            return Some(failure.reason);
        }
        self.feed.ended().then(|| "its stream ended".to_owned())
    }
}

/// Decodes the video that comes in, and drops everything else.
pub(super) fn receive(connection: &Connection, place: &Place<'_>, plan: &WebrtcPlan) -> Result<(), String> {
    let bin = &connection.bin;
    let latency = u32::try_from(plan.latency.as_millis()).unwrap_or(u32::MAX);
    set_if_there(bin, "latency", &latency.to_string());
    bin.connect("on-new-transceiver", false, |args| {
        // Lost packets are asked for again.
        let transceiver = args.get(1).and_then(|value| value.get::<gst::glib::Object>().ok());
        if let Some(transceiver) = transceiver.filter(|object| object.find_property("do-nack").is_some()) {
            transceiver.set_property("do-nack", true);
        }
        None
    });
    // After a loss the publisher is asked for a key frame, since only few come by themselves.
    place.pipeline.connect_deep_element_added(|_, _, element| {
        let name = element.factory().map(|factory| factory.name().to_string()).unwrap_or_default();
        if name.starts_with("rtp") && name.ends_with("depay") {
            set_if_there(element, "request-keyframe", "true");
            set_if_there(element, "wait-for-keyframe", "true");
        }
    });
    let decode = camera_decodebin(place.convert, place.observed)?;
    add(place.pipeline, &[&decode])?;
    let sink = decode.static_pad("sink").ok_or("decodebin has no sink pad")?.downgrade();
    let pipeline = place.pipeline.downgrade();
    bin.connect_pad_added(move |_, pad| {
        if pad.direction() != gst::PadDirection::Src {
            return;
        }
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let is_video =
            caps.structure(0).and_then(|s| s.get::<&str>("media").ok()).is_some_and(|media| media == "video");
        match sink.upgrade().filter(|sink| is_video && !sink.is_linked()) {
            Some(sink) => drop(pad.link(&sink)),
            None => discard(pipeline.upgrade(), pad),
        }
    });
    Ok(())
}

/// Discards what a pad sends: unlinked, it would stop the others.
fn discard(pipeline: Option<gst::Pipeline>, pad: &gst::Pad) {
    let (Some(pipeline), Ok(sink)) = (pipeline, make("fakesink")) else { return };
    sink.set_property("async", false);
    if add(&pipeline, &[&sink]).is_ok()
        && let Some(into) = sink.static_pad("sink")
    {
        let _ = (pad.link(&into), sink.sync_state_with_parent());
    }
}

/// Makes the one attempt.
pub(in crate::gst) struct Reception(pub(in crate::gst) Arc<Door>);

impl Origin for Reception {
    type Attempt = Received;

    fn start(&mut self, _: &SourcePlan, _: Pacing) -> Result<Received, String> {
        Ok(Received { door: Arc::clone(&self.0), call: None, leaving: None })
    }

    fn limits(&self, plan: &SourcePlan) -> Limits {
        let limits = live_limits(&plan.retry);
        Limits { first_frame: limits.first_frame.min(FIRST_FRAME_MAX), ..limits }
    }
}

/// The publishers of a source, one after the other.
pub(in crate::gst) struct Received {
    door: Arc<Door>,
    call: Option<Call>,
    /// One whose pipeline is still to be shut down.
    leaving: Option<Call>,
}

impl Received {
    fn leave(&mut self, why: &str) {
        tracing::info!(source = %self.door.id(), why, "the publisher is gone; waiting for the next");
        self.leaving = self.call.take();
    }
}

impl Attempt for Received {
    type Sample = Decoded;

    fn pull(&mut self, wait: Duration) -> Option<Decoded> {
        drop(self.leaving.take());
        if let Some(why) = self.call.as_mut().and_then(Call::over) {
            self.leave(&why);
            return None;
        }
        match &mut self.call {
            Some(call) => call.feed.pull(wait),
            None => {
                self.call = self.door.next(wait);
                None
            }
        }
    }

    fn timing(&self, sample: &Decoded) -> Option<Timing> {
        self.call.as_ref()?.feed.timing(sample)
    }

    fn fill(&mut self, sample: Decoded, frame: &mut Frame) -> Result<(), &'static str> {
        self.call.as_mut().ok_or("its publisher is gone")?.feed.fill(sample, frame)
    }

    fn stream(&self) -> Option<Stream> {
        Some(self.call.as_ref()?.feed.stream())
    }

    /// A publisher's failure is not the source's.
    fn failure(&mut self) -> Option<Failure> {
        None
    }

    fn ended(&self) -> bool {
        false
    }

    fn quiet(&self) -> Quiet {
        if self.call.is_some() { Quiet::Unexplained } else { Quiet::NoPublisher }
    }

    fn let_go(&mut self) -> bool {
        self.leave("nothing comes from it");
        true
    }

    fn damaged(&mut self) -> u64 {
        self.call.as_mut().map_or(0, |call| call.feed.damaged())
    }

    fn lost(&mut self, spared: u64) -> u64 {
        self.call.as_mut().map_or(0, |call| call.feed.lost(spared))
    }
}
