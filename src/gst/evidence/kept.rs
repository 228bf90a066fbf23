//! What is kept of one source, and the state of its stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gstreamer as gst;
use parking_lot::{Condvar, Mutex};

use super::{clip, still};
use crate::backend::evidence::{
    Clip, Evidence, EvidenceStatus, Lags, NoEvidence, Offset, Ring, RingLimits, Still, Unit,
};
use crate::backend::{Flow, Sink, SourceEvent, SourceState};
use crate::config::EvidencePlan;
use crate::types::{Clock, SourceId, Unmasked, rfc3339};

/// Clips and pictures of one source that are made at a time; each holds a copy of its packets.
const MAKING_MAX: usize = 2;
/// Longest time for a clip or a picture.
const MAKE_MAX: Duration = Duration::from_secs(10);
/// A picture is taken of this time before the moment that is asked for, at most: a stream may have stood still.
const STILL_BEFORE_NS: u64 = 2_000_000_000;

/// See the module.
pub(in crate::gst) struct Kept {
    source: SourceId,
    pub(super) clock: Arc<dyn Clock>,
    ring: Mutex<Ring<gst::Caps>>,
    /// Signals that the ring has a newer picture.
    grown: Condvar,
    facts: Mutex<Facts>,
    has_own_stream: bool,
    pub(in crate::gst) lags: Lags,
    making: AtomicUsize,
}

/// The state of the stream.
#[derive(Default)]
struct Facts {
    /// `None` where the analysed stream is kept.
    state: Option<SourceState>,
    reconnects: u64,
    error: Option<String>,
    remedy: Option<String>,
    /// Why packets of this stream cannot be kept.
    unfit: Option<String>,
}

impl Kept {
    pub(super) fn new(source: SourceId, plan: &EvidencePlan, clock: Arc<dyn Clock>) -> Self {
        Self {
            source,
            clock,
            ring: Mutex::new(Ring::new(limits(plan))),
            grown: Condvar::new(),
            facts: Mutex::default(),
            has_own_stream: plan.stream.is_some(),
            lags: Lags::default(),
            making: AtomicUsize::new(0),
        }
    }

    pub(super) fn set_limits(&self, plan: &EvidencePlan) {
        self.ring.lock().set_limits(limits(plan));
    }

    /// Another stream of its own is kept from now on.
    pub(super) fn begin_anew(&self) {
        *self.facts.lock() = Facts::default();
        self.lags.evidence.forget();
    }

    /// Whether evidence has a stream of its own.
    pub(super) fn has_own_stream(&self) -> bool {
        self.has_own_stream
    }

    /// A pipeline begins to fill the ring: it goes on at a key frame.
    pub(super) fn begin(&self) {
        self.ring.lock().break_off();
        self.facts.lock().unfit = None;
    }

    /// Keeps the next picture.
    pub(super) fn push(&self, caps: &gst::Caps, unit: Unit) {
        self.ring.lock().push(caps, unit);
        self.grown.notify_all();
    }

    /// A frame of the analysed stream whose packets arrived at `arrived_ns` says that it was captured at `captured_ns`,
    /// the latter in Unix time, the others in the running time of its pipeline, in which it is `now_ns`.
    pub(in crate::gst) fn decoded(&self, captured_ns: u64, arrived_ns: u64, now_ns: u64) {
        let arrived_ns = self.clock.unix_ns().saturating_sub(now_ns).saturating_add(arrived_ns);
        let signed = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
        self.lags.decode.add(signed(captured_ns).saturating_sub(signed(arrived_ns)));
    }

    /// The stream has a form that cannot be kept.
    pub(super) fn unfit(&self, why: String) {
        tracing::warn!(source = %self.source, "no evidence is kept: {why}");
        self.facts.lock().unfit = Some(why);
    }

    /// Whether newer pictures may arrive: while its own stream is away, none do.
    fn flows(&self) -> bool {
        !self.has_own_stream || self.facts.lock().state == Some(SourceState::Running)
    }
}

/// A clip or a picture that is being made.
struct Making<'a>(&'a AtomicUsize);

impl<'a> Making<'a> {
    /// Begins one, unless as many as may be are being made.
    fn begin(making: &'a AtomicUsize) -> Result<Self, NoEvidence> {
        making
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < MAKING_MAX).then_some(n + 1))
            .map(|_| Self(making))
            .map_err(|_| NoEvidence::Busy)
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn limits(plan: &EvidencePlan) -> RingLimits {
    RingLimits { time: plan.time, bytes: plan.bytes_max }
}

impl Evidence for Kept {
    fn status(&self) -> EvidenceStatus {
        let ring = self.ring.lock();
        let (held, bytes, pictures) = (ring.held_ns(), ring.bytes() as u64, ring.pictures() as u64);
        let (format, dropped) = (ring.format().map(described), ring.dropped().clone());
        drop(ring);
        let moment = |at_ns: u64| rfc3339(at_ns / 1_000_000);
        let offset = self.lags.offset();
        let own = self.has_own_stream();
        let facts = self.facts.lock();
        EvidenceStatus {
            stream: self.stream(),
            state: facts.state.filter(|_| own).map(SourceState::as_str),
            seconds: held.map_or(0.0, |(first, last)| (last - first) as f64 / 1e9),
            bytes,
            pictures,
            from: held.map(|(first, _)| moment(first)),
            to: held.map(|(_, last)| moment(last)),
            format,
            offset_ms: offset.ns() as f64 / 1e6,
            offset_by: offset.by(),
            dropped,
            reconnects: facts.reconnects,
            error: facts.unfit.clone().or_else(|| facts.error.clone()),
            remedy: facts.remedy.clone(),
        }
    }

    fn clip(&self, from_ns: u64, to_ns: u64) -> Result<Clip, NoEvidence> {
        let (span, held) = {
            let ring = self.ring.lock();
            (ring.span(from_ns, to_ns), ring.held_ns())
        };
        let span = span.ok_or(NoEvidence::NotKept(held))?;
        let _making = Making::begin(&self.making)?;
        clip::mp4(&span, MAKE_MAX).map_err(NoEvidence::Failed)
    }

    fn picture(&self, at_ns: u64, wait: Duration) -> Result<Still, NoEvidence> {
        let wait = if self.flows() { wait } else { Duration::ZERO };
        let (span, held) = {
            let mut ring = self.ring.lock();
            let is_early = |ring: &mut Ring<gst::Caps>| ring.held_ns().is_none_or(|(_, last)| last < at_ns);
            // What is there afterwards counts, whether it timed out or not.
            let _ = self.grown.wait_while_for(&mut ring, is_early, wait);
            let from_ns = at_ns.saturating_sub(STILL_BEFORE_NS);
            // The pictures from the last key frame on.
            let near = ring.span(from_ns, at_ns);
            let near = near.and_then(|near| near.units.iter().map(|unit| unit.at_ns).filter(|at| *at <= at_ns).max());
            (near.and_then(|near| ring.span(near, near)), ring.held_ns())
        };
        let span = span.ok_or(NoEvidence::NotKept(held))?;
        let _making = Making::begin(&self.making)?;
        still::picture(&span, MAKE_MAX).map_err(NoEvidence::Failed)
    }

    fn stream(&self) -> &'static str {
        if self.has_own_stream() { "evidence" } else { "detect" }
    }

    fn newest_ns(&self) -> Option<u64> {
        self.ring.lock().held_ns().map(|(_, last)| last)
    }

    fn offset(&self) -> Offset {
        self.lags.offset()
    }
}

/// The codec and the size of a stream.
fn described(caps: &gst::Caps) -> String {
    let Some(form) = caps.structure(0) else { return String::new() };
    let codec = form.name().trim_start_matches("video/x-");
    match (form.get::<i32>("width"), form.get::<i32>("height")) {
        (Ok(width), Ok(height)) => format!("{codec} {width}x{height}"),
        _ => codec.to_owned(),
    }
}

/// Takes the states and faults of the evidence's own stream. Its frames carry no picture: the ring has the packets.
impl Sink for Kept {
    fn frame(&self, _: Unmasked) -> Flow {
        Flow::Continue
    }

    fn event(&self, source: &SourceId, event: SourceEvent) {
        match event {
            SourceEvent::State(state) => {
                let mut facts = self.facts.lock();
                facts.state = Some(state);
                if state == SourceState::Running {
                    (facts.error, facts.remedy) = (None, None);
                    tracing::info!(source = %source, stream = "evidence", state = state.as_str(), "source");
                }
            }
            SourceEvent::Fault { reason, remedy, attempt, retry_in, .. } => {
                let retry_in_s = (retry_in.as_secs_f64() * 10.0).round() / 10.0;
                tracing::warn!(
                    source = %source, stream = "evidence", attempt, retry_in_s,
                    "the evidence stream failed and is tried again: {reason}"
                );
                let mut facts = self.facts.lock();
                facts.reconnects += 1;
                (facts.error, facts.remedy) = (Some(reason), remedy);
            }
            SourceEvent::Broken(reason) => self.facts.lock().error = Some(reason),
            SourceEvent::Opened(_) | SourceEvent::Breaker(_) | SourceEvent::Dropped { .. } | SourceEvent::Ended => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Camera;
    use crate::types::TestClock;

    fn kept() -> Kept {
        let own = Camera::read("rtsp://10.0.0.7/main").map(Box::new).unwrap();
        Kept::new("gate".into(), &EvidencePlan::new(Some(own)), Arc::new(TestClock::default()))
    }

    #[test]
    fn no_picture_of_a_stream_that_is_away_is_waited_for() {
        let made = kept().picture(1, Duration::from_secs(3_600));
        assert_eq!(made.err(), Some(NoEvidence::NotKept(None)));
    }

    #[test]
    fn one_that_ends_makes_room_for_another() {
        let kept = kept();
        let making = [(); MAKING_MAX].map(|()| Making::begin(&kept.making).unwrap());
        assert_eq!(Making::begin(&kept.making).err(), Some(NoEvidence::Busy));
        drop(making);
        assert!(Making::begin(&kept.making).is_ok());
    }
}
