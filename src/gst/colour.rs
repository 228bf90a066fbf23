//! A stream's own colorimetry takes precedence over its container's: cameras write full-range pictures into MP4 files
//! whose `colr` box says otherwise.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;
use parking_lot::Mutex;

/// The caps field for colorimetry.
const FIELD: &str = "colorimetry";
/// Parsers that read colorimetry from the bitstream unless upstream caps already state it.
const PARSERS: &[&str] = &["h264parse", "h265parse", "av1parse", "vp9parse"];

/// Makes a parser read colorimetry from the bitstream. The container's value is used where the bitstream has none.
pub(super) fn prefer_the_streams_own(element: &gst::Element, factory: &str) {
    if !PARSERS.contains(&factory) {
        return;
    }
    let (Some(sink), Some(src)) = (element.static_pad("sink"), element.static_pad("src")) else { return };
    let stated = Arc::new(Mutex::new(None::<String>));
    let kept = Arc::clone(&stated);
    on_caps(&sink, move |caps| {
        let structure = caps.structure(0)?;
        *kept.lock() = structure.get::<String>(FIELD).ok();
        structure.has_field(FIELD).then(|| {
            let mut caps = caps.clone();
            caps.make_mut().iter_mut().for_each(|structure| structure.remove_field(FIELD));
            caps
        })
    });
    on_caps(&src, move |caps| {
        let found = caps.structure(0)?.has_field(FIELD);
        let stated = stated.lock().clone().filter(|_| !found)?;
        let mut caps = caps.clone();
        caps.make_mut().set(FIELD, stated);
        Some(caps)
    });
}

/// Replaces caps events on `pad` by what `change` returns; `None` leaves them unchanged.
fn on_caps(pad: &gst::Pad, change: impl Fn(&gst::Caps) -> Option<gst::Caps> + Send + Sync + 'static) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let caps = match &info.data {
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                gst::EventView::Caps(caps) => change(&caps.caps_owned()),
                _ => None,
            },
            _ => None,
        };
        if let Some(caps) = caps {
            info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
        }
        gst::PadProbeReturn::Ok
    });
}
