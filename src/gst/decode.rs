//! From a stream to decoded pictures: a decodebin that links its first video stream, and opens nothing else.
//!
//! A clip is one file. Playlists and the like name other files and addresses, and GStreamer has elements that open them;
//! whoever could hand us such a clip would read files and reach machines through us. So none of them is plugged in.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::failure::ENCRYPTED;
use super::feed::make;
use super::told::Told;
use super::{colour, undecoded};

/// Kinds of files that name others, by the media type that GStreamer finds in them.
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

/// Kinds of files that are no clip, and name nothing that would be opened.
const NO_CLIP: &[(&str, &str)] = &[
    ("text/html", "it is a web page, not a clip"),
    ("text/plain", "it is text, not a clip"),
    ("application/xml", "it is XML, not a clip"),
];

/// Streams of pictures and sound that are encrypted.
const ENCRYPTS: &[&str] = &["application/x-cenc", "application/x-cbcs", "application/x-webm-enc", "application/x-aavd"];

/// Why what a file names is left alone.
const NOT_OPENED: &str = "it names other files or addresses, and none of them is opened: give the clip itself";

/// A decodebin that links its first video stream to `convert` and leaves everything else undecoded. Of a `clip`, nothing
/// is plugged in that opens addresses of its own.
pub(super) fn decodebin(convert: &gst::Element, told: &Arc<Told>, clip: bool) -> Result<gst::Element, String> {
    let decode = make("decodebin")?;
    let seen = Arc::clone(told);
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
        keep_to_itself(&decode, told)?;
    }
    let sink: glib::WeakRef<gst::Pad> = convert.static_pad("sink").ok_or("videoconvert has no sink pad")?.downgrade();
    let linked = Arc::clone(told);
    decode.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let video = caps.structure(0).is_some_and(|s| s.name() == "video/x-raw");
        let Some(sink) = sink.upgrade().filter(|sink| video && !sink.is_linked()) else { return };
        match pad.link(&sink) {
            Ok(_) => linked.linked.store(true, Ordering::Release),
            Err(error) => tracing::warn!(%error, "a video stream does not link to the converter"),
        }
    });
    let told = Arc::clone(told);
    decode.connect_no_more_pads(move |_| {
        if !told.linked.load(Ordering::Acquire) {
            told.no_video.store(true, Ordering::Release);
        }
    });
    Ok(decode)
}

/// Why a file of this media type is not played, where that can be told by the type.
fn refusal(name: &str) -> Option<String> {
    if let Some((_, what)) = NAMES_OTHERS.iter().find(|(other, _)| *other == name) {
        return Some(format!("it is {what}, not a clip; {NOT_OPENED}"));
    }
    if ENCRYPTS.contains(&name) {
        return Some(ENCRYPTED.to_owned());
    }
    NO_CLIP.iter().find(|(other, _)| *other == name).map(|(_, why)| (*why).to_owned())
}

/// Elements that open addresses of their own are passed over, whatever media type they take.
fn keep_to_itself(decode: &gst::Element, told: &Arc<Told>) -> Result<(), String> {
    // The signal's own type is known once the element's class is.
    let choices = glib::Type::from_name("GstAutoplugSelectResult").and_then(glib::EnumClass::with_type);
    let choices = choices.ok_or("decodebin does not ask what to plug in")?;
    if choices.value_by_nick("try").is_none() || choices.value_by_nick("skip").is_none() {
        return Err("decodebin asks in a way that is not known".into());
    }
    let told = Arc::clone(told);
    decode.connect("autoplug-select", false, move |args| {
        let factory = args.get(3).and_then(|factory| factory.get::<gst::ElementFactory>().ok());
        if factory.is_some_and(|factory| opens_more(&factory)) {
            let _ = told.refused.set(NOT_OPENED.to_owned());
            return choices.to_value_by_nick("skip");
        }
        choices.to_value_by_nick("try")
    });
    Ok(())
}

/// Whether an element reads more than it is handed: by its class, by being a bin of others that splits streams, or by
/// taking addresses.
fn opens_more(factory: &gst::ElementFactory) -> bool {
    let class = factory.metadata("klass").unwrap_or_default();
    let has = |word: &str| class.split('/').any(|part| part == word);
    if has("Source")
        || has("Adaptive")
        || (has("Network") && has("Demuxer"))
        || factory.uri_type() != gst::URIType::Unknown
    {
        return true;
    }
    // Only a class that is loaded says what it derives from.
    let splits = has("Demuxer") || has("Parser");
    splits && factory.clone().load().is_ok_and(|loaded| loaded.element_type().is_a(gst::Bin::static_type()))
}

/// Decoders get one thread each (streams are the parallelism), and mark what they could not decode instead of
/// swallowing it, so that it can be left out *and* counted; where one swallows it nevertheless, that is counted, too.
pub(super) fn tune_decoders(pipeline: &gst::Pipeline, told: &Arc<Told>) {
    let told = Arc::clone(told);
    pipeline.connect_deep_element_added(move |_, _, element| {
        let factory = element.factory().map(|f| f.name().to_string()).unwrap_or_default();
        if factory.starts_with("avdec_") {
            set_if_there(element, "max-threads", "1");
            set_if_there(element, "output-corrupt", "true");
        } else if factory == "vp8dec" || factory == "vp9dec" {
            set_if_there(element, "threads", "1");
        }
        undecoded::count(element, &factory, &told);
        colour::prefer_the_streams_own(element, &factory);
    });
}

/// Property sets differ between GStreamer versions.
fn set_if_there(element: &gst::Element, property: &str, value: &str) {
    if element.find_property(property).is_some() {
        element.set_property_from_str(property, value);
    }
}
