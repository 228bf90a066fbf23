//! The end of a pipeline: the sink from which decoded frames are pulled.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::observed::Observed;
use super::scale;
use super::turn::Turn;
use crate::backend::supervise::Pacing;
use crate::config::PictureMax;

/// Decoded frames queued for a source that must not lose any.
const LOSSLESS_FRAMES_MAX: u32 = 3;

/// The sink from which frames are pulled; larger pictures than `most` are scaled down before it.
pub(super) fn appsink(pacing: Pacing, observed: &Arc<Observed>, most: Option<PictureMax>) -> gst_app::AppSink {
    let formats = [gst_video::VideoFormat::I420, gst_video::VideoFormat::Nv12];
    let caps = scale::limited(gst_video::VideoCapsBuilder::new().format_list(formats), most).build();
    let appsink = gst_app::AppSink::builder()
        .caps(&caps)
        .sync(pacing == Pacing::Realtime)
        .max_buffers(if pacing == Pacing::Live { 1 } else { LOSSLESS_FRAMES_MAX })
        .drop(pacing == Pacing::Live)
        .enable_last_sample(false)
        .build();
    if let Some(pad) = appsink.static_pad("sink") {
        watch_pad(&pad, observed);
    }
    appsink
}

/// Counts frames, reads the orientation tag, and accepts padded rows in the allocation query (else decoders copy).
fn watch_pad(pad: &gst::Pad, observed: &Arc<Observed>) {
    let counted = Arc::clone(observed);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counted.decoded.fetch_add(1, Ordering::AcqRel);
        gst::PadProbeReturn::Ok
    });
    let turned = Arc::clone(observed);
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &info.data
            && let gst::EventView::Tag(tag) = event.view()
            && let Some(orientation) = tag.tag().get::<gst::tags::ImageOrientation>()
        {
            match Turn::from_tag(orientation.get()) {
                Some(turn) => turned.turn.store(turn.to_bits(), Ordering::Release),
                None => tracing::warn!(tag = orientation.get(), "unknown orientation; the picture stays as it is"),
            }
        }
        gst::PadProbeReturn::Ok
    });
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        if let Some(gst::PadProbeData::Query(query)) = &mut info.data
            && let gst::QueryViewMut::Allocation(allocation) = query.view_mut()
        {
            allocation.add_allocation_meta::<gst_video::VideoMeta>(None);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}
