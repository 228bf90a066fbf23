//! Sources of this machine: a file, the test picture.

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::decode::clip_decodebin;
use super::feed::{Place, add, make};
use super::mp4;

/// Adds a media file to a pipeline.
pub(super) fn file(place: &Place<'_>, path: &Path) -> Result<(), String> {
    let Place { pipeline, convert, observed, .. } = place;
    let location = path.to_str().ok_or("its path is not UTF-8")?;
    let source = make("filesrc")?;
    source.set_property("location", location);
    mp4::keep_short_video(&source, path);
    let decode = clip_decodebin(convert, observed)?;
    add(pipeline, &[&source, &decode])?;
    source.link(&decode).map_err(|_| "filesrc and decodebin do not link".into())
}

/// Adds the test picture to a pipeline.
pub(super) fn test(
    place: &Place<'_>,
    pattern: &str,
    frames: Option<u64>,
    (width, height): (u32, u32),
    fps: f64,
) -> Result<(), String> {
    let Place { pipeline, convert, .. } = place;
    let source = make("videotestsrc")?;
    source.set_property_from_str("pattern", pattern);
    source.set_property("is-live", frames.is_none());
    if let Some(frames) = frames {
        source.set_property("num-buffers", i32::try_from(frames).map_err(|_| "more frames than videotestsrc makes")?);
    }
    let size = |v: u32| i32::try_from(v).map_err(|_| "the picture is too large");
    let caps = gst_video::VideoCapsBuilder::new()
        .format(gst_video::VideoFormat::I420)
        .width(size(width)?)
        .height(size(height)?)
        .framerate(gst::Fraction::approximate_f64(fps).ok_or("its frame rate is not a number")?)
        .build();
    add(pipeline, &[&source])?;
    source.link_filtered(*convert, &caps).map_err(|_| "videotestsrc does not make such a picture".into())
}
