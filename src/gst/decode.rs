//! From a stream to decoded pictures: a decodebin that links the first video stream and opens nothing else.
//!
//! A clip is one file. Playlists and the like name other files and addresses, and GStreamer has elements that open
//! them: such a clip could make the engine read local files and reach hosts on its network. So those elements are never
//! plugged in.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::failure::ENCRYPTED;
use super::feed::make;
use super::observed::Observed;
use super::{colour, undecoded};

/// Types of files that refer to others, by the media type that GStreamer detects.
const NAMES_OTHERS: &[(&str, &str)] = &[
    ("application/x-hls", "a playlist (HLS)"),
    ("application/vnd.apple.mpegurl", "a playlist (HLS)"),
    ("application/dash+xml", "a playlist (DASH)"),
    ("application/vnd.ms-sstr+xml", "a playlist (Smooth Streaming)"),
    ("application/smil", "a playlist (SMIL)"),
    ("text/uri-list", "a playlist"),
    ("application/sdp", "the description of a session (SDP)"),
    ("application/xges", "an editing project"),
];

/// Types of files that are not clips and refer to nothing that would be opened.
const NO_CLIP: &[(&str, &str)] = &[
    ("text/html", "it is a web page, not a clip"),
    ("text/plain", "it is text, not a clip"),
    ("application/xml", "it is XML, not a clip"),
];

/// Encrypted audio and video streams.
const ENCRYPTS: &[&str] = &["application/x-cenc", "application/x-cbcs", "application/x-webm-enc", "application/x-aavd"];

/// Why a file that refers to others is refused.
const NOT_OPENED: &str = "it names other files or addresses, and none of them is opened: give the clip itself";

/// A decodebin for a camera's stream, which links its first video stream to `convert` and decodes nothing else.
pub(super) fn camera_decodebin(convert: &gst::Element, observed: &Arc<Observed>) -> Result<gst::Element, String> {
    decodebin(convert, observed, false)
}

/// The same for a clip: it never plugs in elements that open addresses of their own.
pub(super) fn clip_decodebin(convert: &gst::Element, observed: &Arc<Observed>) -> Result<gst::Element, String> {
    decodebin(convert, observed, true)
}

fn decodebin(convert: &gst::Element, observed: &Arc<Observed>, clip: bool) -> Result<gst::Element, String> {
    let decode = make("decodebin")?;
    let seen = Arc::clone(observed);
    decode.connect("autoplug-continue", false, move |args| {
        let caps = args.get(2).and_then(|caps| caps.get::<gst::Caps>().ok());
        let name = caps.as_ref().and_then(|caps| caps.structure(0)).map_or("", |s| s.name().as_str());
        if clip && let Some(why) = refusal(name) {
            let _ = seen.refused.set(why);
            return Some(false.to_value());
        }
        let other = ["audio/", "text/", "subpicture/", "closedcaption/"];
        Some((!other.iter().any(|o| name.starts_with(o))).to_value())
    });
    if clip {
        skip_openers(&decode, observed)?;
    }
    let sink: glib::WeakRef<gst::Pad> = convert.static_pad("sink").ok_or("videoconvert has no sink pad")?.downgrade();
    let linked = Arc::clone(observed);
    decode.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let video = caps.structure(0).is_some_and(|s| s.name() == "video/x-raw");
        let Some(sink) = sink.upgrade().filter(|sink| video && !sink.is_linked()) else { return };
        match pad.link(&sink) {
            Ok(_) => linked.linked.store(true, Ordering::Release),
            Err(error) => tracing::warn!(%error, "a video stream does not link to the converter"),
        }
    });
    let observed = Arc::clone(observed);
    decode.connect_no_more_pads(move |_| {
        if !observed.linked.load(Ordering::Acquire) {
            observed.no_video.store(true, Ordering::Release);
        }
    });
    Ok(decode)
}

/// Why files of this media type are refused; `None` where the type alone does not rule it out.
fn refusal(name: &str) -> Option<String> {
    if let Some((_, what)) = NAMES_OTHERS.iter().find(|(other, _)| *other == name) {
        return Some(format!("it is {what}, not a clip; {NOT_OPENED}"));
    }
    if ENCRYPTS.contains(&name) {
        return Some(ENCRYPTED.to_owned());
    }
    NO_CLIP.iter().find(|(other, _)| *other == name).map(|(_, why)| (*why).to_owned())
}

/// Skips elements that open addresses of their own, whatever media type they accept.
fn skip_openers(decode: &gst::Element, observed: &Arc<Observed>) -> Result<(), String> {
    // The signal's enum type is registered once decodebin's class is loaded.
    let choices = glib::Type::from_name("GstAutoplugSelectResult").and_then(glib::EnumClass::with_type);
    let choices = choices.ok_or("decodebin does not ask what to plug in")?;
    if choices.value_by_nick("try").is_none() || choices.value_by_nick("skip").is_none() {
        return Err("decodebin asks in a way that is not known".into());
    }
    let observed = Arc::clone(observed);
    decode.connect("autoplug-select", false, move |args| {
        let factory = args.get(3).and_then(|factory| factory.get::<gst::ElementFactory>().ok());
        if factory.is_some_and(|factory| opens_addresses(&factory)) {
            let _ = observed.refused.set(NOT_OPENED.to_owned());
            return choices.to_value_by_nick("skip");
        }
        choices.to_value_by_nick("try")
    });
    Ok(())
}

/// Whether an element reads more than its input: by its class, by being a bin that splits streams, or by handling URIs.
fn opens_addresses(factory: &gst::ElementFactory) -> bool {
    let class = factory.metadata("klass").unwrap_or_default();
    let has = |word: &str| class.split('/').any(|part| part == word);
    if has("Source")
        || has("Adaptive")
        || (has("Network") && has("Demuxer"))
        || factory.uri_type() != gst::URIType::Unknown
    {
        return true;
    }
    // Only a loaded factory knows its element's parent types.
    let splits = has("Demuxer") || has("Parser");
    splits && factory.clone().load().is_ok_and(|loaded| loaded.element_type().is_a(gst::Bin::static_type()))
}

/// Gives each decoder one thread (parallelism comes from the number of streams) and lets it output corrupt pictures,
/// which are dropped *and* counted. Pictures that a decoder swallows all the same are counted by `undecoded`.
pub(super) fn tune_decoders(pipeline: &gst::Pipeline, observed: &Arc<Observed>) {
    let observed = Arc::clone(observed);
    pipeline.connect_deep_element_added(move |_, _, element| {
        let factory = element.factory().map(|f| f.name().to_string()).unwrap_or_default();
        if factory.starts_with("avdec_") {
            set_if_there(element, "max-threads", "1");
            set_if_there(element, "output-corrupt", "true");
        } else if factory == "vp8dec" || factory == "vp9dec" {
            set_if_there(element, "threads", "1");
        }
        undecoded::count(element, &factory, &observed);
        colour::prefer_the_streams_own(element, &factory);
    });
}

/// Sets a property if this GStreamer version has it.
pub(super) fn set_if_there(element: &gst::Element, property: &str, value: &str) {
    if element.find_property(property).is_some() {
        element.set_property_from_str(property, value);
    }
}
