//! The start of a pipeline: the elements that read each kind of source.

use gstreamer as gst;

use super::camera::{Attempts, Session};
use super::decode::{camera_decodebin, clip_decodebin};
use super::feed::{Place, add};
use super::web::Download;
use super::{chain, images, local, webcam};
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
        Input::File(path) => local::file(place, path)?,
        Input::Test { pattern, frames, width, height, fps } => {
            local::test(place, pattern, *frames, (*width, *height), *fps)?;
        }
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
