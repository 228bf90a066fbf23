//! Scales pictures beyond a size down, once, between the decoder and everything else.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::feed::{add, make};
use crate::config::PictureMax;

/// The caps of the sink with the largest size. With square pixels, the scaler keeps a picture's shape.
pub(super) fn limited<T>(
    caps: gst_video::VideoCapsBuilder<T>,
    most: Option<PictureMax>,
) -> gst_video::VideoCapsBuilder<T> {
    let Some(PictureMax { width, height }) = most else { return caps };
    let side = |most: u32| 1..=i32::try_from(most).unwrap_or(i32::MAX);
    caps.width_range(side(width)).height_range(side(height)).pixel_aspect_ratio(gst::Fraction::new(1, 1))
}

/// Links the converter to the sink, through a scaler where pictures have a largest size.
pub(super) fn link(
    pipeline: &gst::Pipeline,
    convert: &gst::Element,
    appsink: &gst_app::AppSink,
    most: Option<PictureMax>,
) -> Result<(), String> {
    let linked = if most.is_some() {
        let scale = make("videoscale")?;
        add(pipeline, &[&scale])?;
        gst::Element::link_many([convert, &scale, appsink.upcast_ref()])
    } else {
        convert.link(appsink)
    };
    linked.map_err(|_| "videoconvert and appsink do not link".into())
}
