//! `gstreamer`: a chain of GStreamer elements, from a list of those that open nothing but a stream.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use crate::config::nearest::nearest;
use crate::config::plan::Input;
use crate::config::schema::SourceType;
use crate::config::secret;
use crate::config::source_uri::{Parsed, Refusal};

/// Elements that begin a chain: they read a device, a screen or the network.
const SOURCES: &[&str] = &[
    "videotestsrc",
    "v4l2src",
    "libcamerasrc",
    "nvarguscamerasrc",
    "pipewiresrc",
    "ximagesrc",
    "decklinkvideosrc",
    "aravissrc",
    "udpsrc",
    "tcpclientsrc",
    "srtsrc",
    "ndisrc",
];

/// Elements that may follow: none of them opens a file or an address, or writes anything.
const OTHERS: &[&str] = &[
    "queue",
    "queue2",
    "capsfilter",
    "identity",
    "videoconvert",
    "videoscale",
    "videoconvertscale",
    "videorate",
    "videocrop",
    "videoflip",
    "videobalance",
    "videobox",
    "deinterlace",
    "gaussianblur",
    "rtpjitterbuffer",
    "rtph264depay",
    "rtph265depay",
    "rtpvp8depay",
    "rtpvp9depay",
    "rtpav1depay",
    "rtpjpegdepay",
    "rtpmp2tdepay",
    "rtpvrawdepay",
    "tsparse",
    "tsdemux",
    "h264parse",
    "h265parse",
    "av1parse",
    "vp9parse",
    "jpegparse",
    "mpegvideoparse",
    "multipartdemux",
    "ndisrcdemux",
    "jpegdec",
    "avdec_h264",
    "avdec_h265",
    "vp8dec",
    "vp9dec",
    "av1dec",
    "dav1ddec",
    "openh264dec",
    "bayer2rgb",
];

/// Characters of a chain.
const CHAIN_CHARS_MAX: usize = 4_096;

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Gstreamer {
    /// Whether it has no end and comes at its own pace.
    live: Option<bool>,
}

impl Type for Gstreamer {
    const OF: SourceType = SourceType::Gstreamer;

    fn claims(uri: &str) -> bool {
        uri.starts_with("gst:")
    }

    fn plan(self, uri: &str, _: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        let chain = uri.strip_prefix("gst:").unwrap_or(uri).trim();
        check(chain)?;
        Ok(Parsed::once(Input::Chain { chain: chain.to_owned(), live: self.live.unwrap_or(true) }))
    }
}

/// Checks that a text is one chain of listed elements and caps. Only that form is taken: names of elements, bins and
/// references to pads would let others in.
fn check(chain: &str) -> Result<(), Refusal> {
    let form = "write gst: SOURCE property=value ! ELEMENT ! …, as for gst-launch-1.0, without its sink";
    if chain.is_empty() || chain.chars().count() > CHAIN_CHARS_MAX {
        return Err((
            format!("the chain of elements is empty, or longer than {CHAIN_CHARS_MAX} characters"),
            form.to_owned(),
        ));
    }
    for (at, part) in split(chain, '!').ok_or_else(|| unread(form))?.iter().enumerate() {
        let words = split(part.trim(), ' ').ok_or_else(|| unread(form))?;
        let mut words = words.iter().map(|word| word.trim()).filter(|word| !word.is_empty());
        let Some(first) = words.next() else { return Err(unread(form)) };
        if at > 0 && is_caps(first) {
            if words.next().is_some() {
                return Err(("caps in the chain have a space in them".to_owned(), "write them without one".to_owned()));
            }
            continue;
        }
        let (known, what): (&[&str], _) = if at == 0 { (SOURCES, "begin with") } else { (OTHERS, "have") };
        if !known.contains(&first) {
            let shown = secret::in_text(first);
            let label = match nearest(first, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("a chain can {what} {}", known.join(", ")),
            };
            return Err((format!("a chain cannot {what} the element `{shown}`"), label));
        }
        if let Some(word) = words.find(|word| !is_property(word)) {
            return Err((format!("`{}` is not a property", secret::in_text(word)), form.to_owned()));
        }
    }
    Ok(())
}

fn unread(form: &str) -> Refusal {
    ("the chain of elements cannot be read".to_owned(), form.to_owned())
}

/// Splits a text where it is not in double quotes; `None` where a quote is not closed, or something is escaped.
fn split(text: &str, at: char) -> Option<Vec<&str>> {
    let mut quoted = false;
    let parts: Vec<&str> = text
        .split(|c: char| {
            quoted ^= c == '"';
            c == at && !quoted
        })
        .collect();
    (!quoted && !text.contains(['\\', '\'']) && !text.chars().any(char::is_control)).then_some(parts)
}

/// Whether a word is caps, `video/x-raw,width=640`.
fn is_caps(word: &str) -> bool {
    let kind = word.split([',', '(']).next().unwrap_or_default();
    let is_kind = kind.split_once('/').is_some_and(|(media, name)| {
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || "-.+".contains(c));
        ["video", "image", "application"].contains(&media) && is_name
    });
    is_kind && is_closed(word) && !word.contains('"')
}

/// Whether parentheses are closed in it: one more would end the chain.
fn is_closed(word: &str) -> bool {
    let mut depth = 0_i32;
    let never_below = word.chars().all(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth >= 0
    });
    never_below && depth == 0
}

/// Whether a word sets a property. Names of elements are not set, so nothing can refer to them.
fn is_property(word: &str) -> bool {
    word.split_once('=').is_some_and(|(key, value)| {
        let is_name = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let is_quoted =
            value.len() >= 2 && value.starts_with('"') && value.ends_with('"') && value.matches('"').count() == 2;
        let is_value = is_quoted || (!value.is_empty() && !value.contains('"') && is_closed(value));
        is_name && is_value && !["name", "uri", "location"].contains(&key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_chain_of_listed_elements_is_taken() {
        for chain in [
            "videotestsrc",
            "videotestsrc pattern=ball is-live=true ! video/x-raw,width=64,height=48,framerate=10/1 ! videoconvert",
            "udpsrc port=5004 caps=\"application/x-rtp, media=video\" ! rtpjitterbuffer ! rtph264depay",
            "v4l2src device=/dev/video2 ! image/jpeg ! jpegdec",
        ] {
            assert_eq!(check(chain), Ok(()), "{chain}");
        }
        for (chain, said) in [
            ("", "empty"),
            ("filesrc location=/etc/passwd", "cannot begin with the element `filesrc`"),
            ("videotestsrc ! filesink location=/tmp/x", "cannot have the element `filesink`"),
            ("videotestsrc ! uridecodebin", "cannot have the element `uridecodebin`"),
            ("videotestsrc ! souphttpclientsink location=http://h/", "cannot have the element `souphttpclientsink`"),
            ("videotestsrc ! ( queue )", "cannot have the element `(`"),
            ("videotestsrc name=a", "`name=a` is not a property"),
            ("videotestsrc ! queue a. ! filesink", "`a.` is not a property"),
            ("videotestsrc filesink", "`filesink` is not a property"),
            ("videotestsrc ! queue filesink location=x", "`filesink` is not a property"),
            ("videotestsrc ! video/x-raw filesink", "caps in the chain"),
            ("videotestsrc ! \"video/x-raw\" filesink", "cannot have the element"),
            ("videotestsrc pattern=ball) ! queue", "`pattern=ball)` is not a property"),
            ("videotestsrc ! video/x-raw) ! queue", "cannot have the element"),
            ("videotestsrc pattern=\"a\"filesink", "is not a property"),
            ("videotestsrc ! ! queue", "cannot be read"),
            ("videotestsrc caps=\"video/x-raw", "cannot be read"),
            ("videotestsrc caps='a ! filesink'", "cannot be read"),
            ("videotestsrc \\! filesink", "cannot be read"),
            ("videotestsrc\n! filesink", "cannot be read"),
            ("udpsrc uri=file:///etc/passwd", "`uri="),
        ] {
            let (what, _) = check(chain).unwrap_err();
            assert!(what.contains(said), "{chain}: {what}");
        }
        let (_, label) = check("videotestsrc ! videocovert").unwrap_err();
        assert_eq!(label, "did you mean `videoconvert`?");
    }
}
