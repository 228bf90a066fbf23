//! Which GStreamer elements are installed, and which package provides the missing ones.

use gstreamer as gst;

use super::decoders;
use crate::types::Finding;

/// The command that installs Debian packages.
const INSTALL: &str = "apt-get install";
/// GStreamer's own packages.
const CORE: &str = "libgstreamer1.0-0";
const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";
const UGLY: &str = "gstreamer1.0-plugins-ugly";
const NICE: &str = "gstreamer1.0-nice";

/// A capability other than decoding.
struct Need {
    name: &'static str,
    /// Elements, one of each list is enough, and the Debian package.
    elements: &'static [(&'static [&'static str], &'static str)],
    /// Whether only one kind of source needs it.
    is_optional: bool,
}

/// A capability that every host should have.
const fn need(name: &'static str, elements: &'static [(&'static [&'static str], &'static str)]) -> Need {
    Need { name, elements, is_optional: false }
}

/// A capability that a host needs for one kind of source.
const fn option(name: &'static str, elements: &'static [(&'static [&'static str], &'static str)]) -> Need {
    Need { name, elements, is_optional: true }
}

const NEEDS: &[Need] = &[
    need("files and the decoder's plumbing", &[(&["filesrc"], CORE), (&["typefind"], CORE)]),
    need(
        "decoding",
        &[
            (&["decodebin"], BASE),
            (&["videoconvert"], BASE),
            (&["videoscale"], BASE),
            (&["appsink"], BASE),
            (&["videotestsrc"], BASE),
        ],
    ),
    need("mp4 and mkv files", &[(&["qtdemux"], GOOD), (&["matroskademux"], GOOD)]),
    need("network cameras (rtsp://)", &[(&["rtspsrc"], GOOD), (&["rtph264depay"], GOOD), (&["rtph265depay"], GOOD)]),
    need("stream parsers", &[(&["h264parse"], BAD), (&["h265parse"], BAD)]),
    option("HLS (.m3u8)", &[(&["tsdemux"], BAD)]),
    option(
        "WebRTC (WHIP, WHEP)",
        &[(&["webrtcbin"], BAD), (&["dtlsdec"], BAD), (&["srtpdec"], BAD), (&["nicesrc"], NICE)],
    ),
    option("webcams", &[(&["v4l2src"], GOOD)]),
    need("writing mp4", &[(&["x264enc", "openh264enc"], UGLY), (&["mp4mux"], GOOD)]),
];

/// Checks GStreamer's version and the elements of each capability, and decodes a picture of each codec.
pub fn doctor() -> Vec<Finding> {
    if let Err(error) = gst::init() {
        return vec![Finding {
            name: "GStreamer".into(),
            ok: false,
            optional: false,
            detail: error.to_string(),
            hint: Some(format!("{INSTALL} {CORE} {BASE}")),
        }];
    }
    let version = Finding {
        name: "GStreamer".into(),
        ok: true,
        optional: false,
        detail: gst::version_string().trim_start_matches("GStreamer ").to_owned(),
        hint: None,
    };
    let mut findings = vec![version];
    findings.extend(NEEDS.iter().map(Need::finding));
    findings.extend(decoders::findings());
    findings
}

/// What to do where an element is missing.
pub(super) fn remedy(element: &str) -> String {
    let elements = || NEEDS.iter().flat_map(|need| need.elements);
    match elements().find(|(any, _)| any.contains(&element)) {
        Some((_, package)) => format!("{INSTALL} {package}"),
        None => "install its package: `dsengine doctor` names it".into(),
    }
}

impl Need {
    fn finding(&self) -> Finding {
        let found = |name: &&&str| gst::ElementFactory::find(name).is_some();
        let there: Vec<&str> = self.elements.iter().filter_map(|(any, _)| any.iter().find(found).copied()).collect();
        let (mut missing, mut packages) = (Vec::new(), Vec::new());
        for (any, package) in self.elements {
            if !any.iter().any(|name| found(&name)) {
                missing.push(any.join(" or "));
                if !packages.contains(package) {
                    packages.push(*package);
                }
            }
        }
        let ok = missing.is_empty();
        Finding {
            name: self.name.into(),
            ok,
            optional: self.is_optional,
            detail: if ok { there.join(", ") } else { format!("missing: {}", missing.join(", ")) },
            hint: (!ok).then(|| format!("{INSTALL} {}", packages.join(" "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_its_package() {
        let findings = doctor();
        assert!(findings.len() > NEEDS.len() + 1);
        for finding in findings {
            assert_eq!(finding.ok, finding.hint.is_none(), "{finding:?}");
            assert!(!finding.detail.is_empty(), "{finding:?}");
        }
        let need = need("nothing", &[(&["no-such-element", "nor-this"], GOOD), (&["filesrc"], CORE)]);
        let finding = need.finding();
        assert_eq!(finding.detail, "missing: no-such-element or nor-this");
        assert_eq!(finding.hint.as_deref(), Some("apt-get install gstreamer1.0-plugins-good"));
        assert_eq!(remedy("nicesrc"), "apt-get install gstreamer1.0-nice");
    }
}
