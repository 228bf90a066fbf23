//! A picture of kept packets: decoded from the key frame before it, on request.

use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use parking_lot::Mutex;

use super::clip::{feed, finish, source};
use crate::backend::evidence::{Span, Still, decode_times};
use crate::gst::decode::{camera_decodebin, tune_decoders};
use crate::gst::feed::{add, make};
use crate::gst::observed::Observed;
use crate::gst::picture;
use crate::gst::turn::Turn;

/// Decodes the last picture that is shown by the end of a span, within `limit`.
pub(super) fn picture(span: &Span<gst::Caps>, limit: Duration) -> Result<Still, String> {
    let shown: Vec<u64> = span.units.iter().map(|unit| unit.at_ns).collect();
    // The last one in decoding order is that which was asked for; others may be shown after it.
    let wanted = decode_times(&shown).last().map(|times| times.pts_ns).ok_or("there is no picture")?;
    let at_ns = shown.last().copied().unwrap_or_default();
    let pipeline = gst::Pipeline::new();
    let observed = Arc::new(Observed::default());
    let (source, convert, sink) = (source(span), make("videoconvert")?, sink());
    let newest = Arc::new(Mutex::new(None::<gst::Sample>));
    keep_newest(&sink, &newest, gst::ClockTime::from_nseconds(wanted));
    let decode = camera_decodebin(&convert, &observed)?;
    add(&pipeline, &[source.upcast_ref(), &decode, &convert, sink.upcast_ref()])?;
    source.link(&decode).and_then(|()| convert.link(&sink)).map_err(|_| "no decoder takes such a stream")?;
    tune_decoders(&pipeline, &observed);
    finish(&pipeline, || feed(&source, span), limit)?;
    let sample = newest.lock().take().ok_or("none of its pictures can be decoded")?;
    let info = picture::info(&sample).ok_or("its size is not known")?;
    let picture = picture::picture(&sample, &info, Turn::default())?;
    Ok(Still { picture, at_ns })
}

fn sink() -> gst_app::AppSink {
    let formats = [gst_video::VideoFormat::I420, gst_video::VideoFormat::Nv12];
    let caps = gst_video::VideoCapsBuilder::new().format_list(formats).build();
    gst_app::AppSink::builder().caps(&caps).sync(false).enable_last_sample(false).build()
}

/// Keeps the last decoded picture that is shown at `wanted` or before.
fn keep_newest(sink: &gst_app::AppSink, newest: &Arc<Mutex<Option<gst::Sample>>>, wanted: gst::ClockTime) {
    let newest = Arc::clone(newest);
    let take = move |sink: &gst_app::AppSink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        if sample.buffer().and_then(gst::BufferRef::pts).is_none_or(|pts| pts <= wanted) {
            *newest.lock() = Some(sample);
        }
        Ok(gst::FlowSuccess::Ok)
    };
    sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(take).build());
}
