//! The start of a pipeline: the elements that read each kind of source.

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::camera::{Attempts, Session};
use super::decode::{camera_decodebin, clip_decodebin};
use super::feed::{Place, add, make};
use super::web::Download;
use super::{chain, images, mp4, webcam};
use crate::config::Input;

/// What reads a source beside its elements.
#[derive(Default)]
pub(super) struct Reads {
    /// The RTSP session, for a camera.
    pub(super) session: Option<Session>,
    /// What is read, for a web address.
    pub(super) download: Option<Download>,
}

/// Adds the elements that read `input`. The error is a reason without secrets.
pub(super) fn build(place: &Place<'_>, input: &Input, attempts: &Attempts) -> Result<Reads, String> {
    let Place { convert, observed, .. } = place;
    let mut reads = Reads::default();
    match input {
        Input::File(path) => file(place, path)?,
        Input::Test { pattern, frames, width, height, fps } => test(place, pattern, *frames, (*width, *height), *fps)?,
        Input::Rtsp(camera) => {
            let session = reads.session.insert(Session::new(camera, attempts));
            session.build(place.pipeline, convert, observed)?;
        }
        Input::Images(images) => link(place, &[images::source(images, observed)?], clip_decodebin(convert, observed)?)?,
        Input::Webcam(webcam) => {
            let (source, filter) = webcam::source(webcam)?;
            link(place, &[source, filter], camera_decodebin(convert, observed)?)?;
        }
        Input::Chain { chain, .. } => link(place, &[chain::source(chain)?], clip_decodebin(convert, observed)?)?,
        Input::Web(web) => reads.download = Some(Download::start(web, place, attempts)?),
        Input::Webrtc(_) | Input::Scene { .. } | Input::Trace(_) | Input::Detections(_) => {
            return Err("not a source that GStreamer plays".into());
        }
    }
    Ok(reads)
}

/// Adds elements and the decodebin that ends their chain.
fn link(place: &Place<'_>, elements: &[gst::Element], decode: gst::Element) -> Result<(), String> {
    let chain: Vec<&gst::Element> = elements.iter().chain([&decode]).collect();
    add(place.pipeline, &chain)?;
    gst::Element::link_many(chain).map_err(|_| "its elements do not link".into())
}

fn file(place: &Place<'_>, path: &Path) -> Result<(), String> {
    let Place { pipeline, convert, observed, .. } = place;
    let location = path.to_str().ok_or("its path is not UTF-8")?;
    let source = make("filesrc")?;
    source.set_property("location", location);
    mp4::keep_short_video(&source, path);
    let decode = clip_decodebin(convert, observed)?;
    add(pipeline, &[&source, &decode])?;
    source.link(&decode).map_err(|_| "filesrc and decodebin do not link".into())
}

fn test(
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
