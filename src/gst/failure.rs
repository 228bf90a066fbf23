//! Describes GStreamer's errors for a clip in our own words; GStreamer's describe the element's operation.

use gstreamer as gst;

/// GStreamer's messages that carry no information.
const EMPTY: &[&str] = &[
    "Internal data stream error",
    "GStreamer encountered a general stream error",
    "Could not demultiplex stream",
    "Could not decode stream",
    "Internal GStreamer error",
    "streaming stopped, reason error (-5)",
    "streaming stopped, reason not-negotiated (-4)",
    "Failed to connect. (Generic error)",
    "Could not read from resource",
    "Could not get/set settings from/on resource",
];

/// Describes what is wrong with a clip.
pub(super) fn of_clip(error: &gst::message::Error) -> String {
    let (kind, debug) = (error.error(), error.debug().unwrap_or_default());
    let what = match (kind.kind::<gst::StreamError>(), kind.kind::<gst::ResourceError>()) {
        (Some(gst::StreamError::Decrypt | gst::StreamError::DecryptNokey), _) => ENCRYPTED,
        (Some(gst::StreamError::TypeNotFound | gst::StreamError::WrongType), _) => {
            "it is no clip of a kind that GStreamer knows"
        }
        (Some(gst::StreamError::CodecNotFound), _) => "there is no decoder for it here",
        (Some(gst::StreamError::Decode), _) => "its pictures cannot be decoded: it is damaged, or cut off",
        (Some(_), _) if debug.contains("not-negotiated") => "its pictures have a form that nothing here takes",
        (Some(_), _) => "it is damaged, or cut off",
        (None, Some(gst::ResourceError::NotFound)) => "it is not there",
        (None, Some(_)) => "it cannot be read",
        (None, None) => "it cannot be played",
    };
    let words = words(error);
    if words.is_empty() { what.to_owned() } else { format!("{what} ({words})") }
}

/// Why an encrypted clip is refused.
pub(super) const ENCRYPTED: &str = "it is encrypted, and there is no key for it";

/// GStreamer's own message and debug text, without those that carry no information.
pub(super) fn words(error: &gst::message::Error) -> String {
    // The debug text is "file(line): function (): /path/of/element:\ncause"; only the cause helps a user.
    let debug = error.debug().unwrap_or_default();
    let cause = debug.split_once('\n').map_or("", |(_, cause)| cause.trim()).replace('\n', "; ");
    let reason = error.error().message().trim().trim_end_matches('.').to_owned();
    let mut parts: Vec<String> = Vec::new();
    for text in [reason, cause.trim_end_matches('.').to_owned()] {
        let empty = text.is_empty() || EMPTY.iter().any(|words| text.trim_end_matches('.') == *words);
        if !empty && !parts.contains(&text) {
            parts.push(text);
        }
    }
    parts.join(": ")
}
