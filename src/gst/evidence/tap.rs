//! From RTP packets to access units in the ring: depayloader, parser, and a probe behind them.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use parking_lot::Mutex;

use super::Kept;
use crate::backend::evidence::Unit;
use crate::gst::feed::{add, make};

/// A clock that jumps by this much is followed at the next key frame.
const STEP_NS: u64 = 100_000_000;

/// Codecs that are kept: by the name in RTP, with the depayloader, the parser and what it puts out. The last form has
/// the parameter sets beside the stream, so that a decoder may begin at any key frame.
const CODECS: &[(&str, &str, &str, &str)] = &[
    ("H264", "rtph264depay", "h264parse", "video/x-h264,stream-format=avc,alignment=au"),
    ("H265", "rtph265depay", "h265parse", "video/x-h265,stream-format=hvc1,alignment=au"),
];

/// Fills the ring from one pipeline.
#[derive(Clone)]
pub(in crate::gst) struct Tap(Arc<Kept>);

impl Tap {
    pub(super) fn new(kept: &Arc<Kept>) -> Self {
        Self(Arc::clone(kept))
    }

    /// Adds a depayloader and a parser for a stream of these RTP caps, and links them to `to`. Returns the pad that
    /// takes the packets; `None` if the stream cannot be kept, with the reason in the source's status.
    pub(in crate::gst) fn splice(
        &self,
        pipeline: &gst::Pipeline,
        caps: Option<&gst::Caps>,
        to: &gst::Pad,
    ) -> Option<gst::Pad> {
        let name = caps.and_then(|caps| caps.structure(0)?.get::<String>("encoding-name").ok()).unwrap_or_default();
        match self.build(pipeline, &name, to) {
            Ok(pad) => Some(pad),
            Err(why) => {
                self.0.unfit(why);
                None
            }
        }
    }

    fn build(&self, pipeline: &gst::Pipeline, name: &str, to: &gst::Pad) -> Result<gst::Pad, String> {
        let codec = CODECS.iter().find(|(codec, ..)| name.eq_ignore_ascii_case(codec));
        let (_, depay, parse, form) =
            codec.ok_or_else(|| format!("the stream is {name}, and H264 and H265 are kept"))?;
        let form: gst::Caps = form.parse().map_err(|_| "the form of the stream cannot be written")?;
        let (depay, parse, filter) = (make(depay)?, make(parse)?, make("capsfilter")?);
        filter.set_property("caps", &form);
        // A stream that lost a packet is shown damaged until the next key frame, as a player would.
        let chain = [&depay, &parse, &filter];
        add(pipeline, &chain)?;
        gst::Element::link_many(chain).map_err(|_| "a depayloader and a parser do not link")?;
        let out = filter.static_pad("src").ok_or("capsfilter has no src pad")?;
        self.watch(&out, &filter);
        out.link(to).map_err(|_| "a parser does not link to what follows")?;
        for element in chain.iter().rev() {
            element.sync_state_with_parent().map_err(|_| "a depayloader does not start")?;
        }
        depay.static_pad("sink").ok_or_else(|| "a depayloader has no sink pad".to_owned())
    }

    /// Copies every access unit that passes a pad into the ring.
    fn watch(&self, pad: &gst::Pad, element: &gst::Element) {
        self.0.begin();
        let (kept, element) = (Arc::clone(&self.0), element.downgrade());
        // Only the pad's own streaming thread locks it.
        let seen = Mutex::new((Anchor::default(), None::<gst::Caps>));
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
            let next = match &info.data {
                Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Caps => {
                    seen.lock().1 = None;
                    None
                }
                Some(gst::PadProbeData::Buffer(buffer)) => {
                    let (anchor, caps) = &mut *seen.lock();
                    if caps.is_none() {
                        *caps = pad.current_caps();
                    }
                    let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
                    let at_ns = anchor.unix_ns(pad, buffer, &element, is_key, kept.clock.unix_ns());
                    let bytes = buffer.map_readable().ok();
                    let unit = bytes.map(|bytes| Unit { at_ns, is_key, data: bytes.as_slice().into() });
                    caps.clone().zip(unit)
                }
                _ => None,
            };
            if let Some((caps, unit)) = next {
                kept.push(&caps, unit);
            }
            gst::PadProbeReturn::Ok
        });
    }
}

/// Maps the running time of a pipeline to Unix time: the distances of pictures are those of the stream.
#[derive(Debug, Default)]
pub(super) struct Anchor {
    /// Unix time at running time zero.
    base_ns: Option<u64>,
}

impl Anchor {
    /// The Unix time at which the first packet of a buffer arrived, at `now_ns` in Unix time.
    pub(super) fn unix_ns(
        &mut self,
        pad: &gst::Pad,
        buffer: &gst::BufferRef,
        element: &glib::WeakRef<gst::Element>,
        may_step: bool,
        now_ns: u64,
    ) -> u64 {
        let clock_ns =
            element.upgrade().and_then(|element| element.current_running_time()).map(gst::ClockTime::nseconds);
        let (Some(clock_ns), Some(running_ns)) = (clock_ns, running_ns(pad, buffer)) else { return now_ns };
        self.at(running_ns, clock_ns, may_step, now_ns)
    }

    fn at(&mut self, running_ns: u64, clock_ns: u64, may_step: bool, now_ns: u64) -> u64 {
        let measured_ns = now_ns.saturating_sub(clock_ns);
        let base_ns = *self.base_ns.get_or_insert(measured_ns);
        if may_step && base_ns.abs_diff(measured_ns) > STEP_NS {
            self.base_ns = Some(measured_ns);
        }
        self.base_ns.unwrap_or(measured_ns).saturating_add(running_ns)
    }
}

/// When a buffer is shown, in the pipeline's running time.
pub(super) fn running_ns(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<u64> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = event.segment().downcast_ref::<gst::ClockTime>()?;
    segment.to_running_time(buffer.pts()?).map(gst::ClockTime::nseconds)
}

/// The end of the evidence's own pipeline, as a sink and as an element: only its newest packet is taken, as a sign of
/// life.
pub(in crate::gst) fn packets(pipeline: &gst::Pipeline) -> Result<(gst_app::AppSink, gst::Element), String> {
    let sink = gst_app::AppSink::builder().sync(false).max_buffers(1).drop(true).enable_last_sample(false).build();
    add(pipeline, &[sink.upcast_ref()])?;
    let element = sink.clone().upcast();
    Ok((sink, element))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn times_follow_the_stream_and_a_clock_that_is_set_at_a_key_frame() {
        let mut anchor = Anchor::default();
        let unix = 1_000_000 * MS;
        assert_eq!(anchor.at(500 * MS, 510 * MS, true, unix), unix - 10 * MS, "it arrived before it was parsed");
        assert_eq!(
            anchor.at(540 * MS, 620 * MS, false, unix + 110 * MS),
            unix + 30 * MS,
            "a late thread changes nothing"
        );
        let set = unix + 10_000 * MS;
        assert_eq!(anchor.at(580 * MS, 600 * MS, false, set), unix + 70 * MS);
        assert_eq!(anchor.at(620 * MS, 640 * MS, true, set + 40 * MS), set + 20 * MS);
    }
}
