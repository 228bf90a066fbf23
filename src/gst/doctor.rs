//! Which GStreamer elements are installed, and which package provides the missing ones.

use gstreamer as gst;

use super::codecs::CODECS;
use crate::types::Finding;

/// A capability, its elements (one of each inner list is enough), and the Debian package.
const NEEDS: &[(&str, &[&[&str]], &str)] = &[
    ("files and the decoder's plumbing", &[&["filesrc"], &["typefind"]], "libgstreamer1.0-0"),
    ("decoding", &[&["decodebin"], &["videoconvert"], &["appsink"], &["videotestsrc"]], "gstreamer1.0-plugins-base"),
    ("mp4 and mkv files", &[&["qtdemux"], &["matroskademux"]], "gstreamer1.0-plugins-good"),
    ("network cameras (rtsp://)", &[&["rtspsrc"], &["rtph264depay"], &["rtph265depay"]], "gstreamer1.0-plugins-good"),
    ("stream parsers", &[&["h264parse"], &["h265parse"]], "gstreamer1.0-plugins-bad"),
    ("writing mp4", &[&["x264enc", "openh264enc"], &["mp4mux"]], "gstreamer1.0-plugins-ugly gstreamer1.0-plugins-good"),
];

/// Checks GStreamer's version and the elements of each capability.
pub fn doctor() -> Vec<Finding> {
    if let Err(error) = gst::init() {
        return vec![Finding {
            name: "GStreamer".into(),
            ok: false,
            optional: false,
            detail: error.to_string(),
            hint: Some("apt-get install libgstreamer1.0-0 gstreamer1.0-plugins-base".into()),
        }];
    }
    let version = Finding {
        name: "GStreamer".into(),
        ok: true,
        optional: false,
        detail: gst::version_string().trim_start_matches("GStreamer ").to_owned(),
        hint: None,
    };
    let found = |name: &&&str| gst::ElementFactory::find(name).is_some();
    std::iter::once(version)
        .chain(NEEDS.iter().map(|(name, needs, package)| {
            let missing: Vec<String> =
                needs.iter().filter(|any| !any.iter().any(|e| found(&e))).map(|any| any.join(" or ")).collect();
            let there: Vec<&str> = needs.iter().filter_map(|any| any.iter().find(found).copied()).collect();
            let ok = missing.is_empty();
            Finding {
                name: (*name).into(),
                ok,
                optional: false,
                detail: if ok { there.join(", ") } else { format!("missing: {}", missing.join(", ")) },
                hint: (!ok).then(|| format!("apt-get install {package}")),
            }
        }))
        .chain(CODECS.iter().map(|codec| {
            let decoder = codec.decoder();
            let hint = decoder.is_none().then(|| format!("apt-get install {}", codec.package));
            Finding {
                name: format!("{} decoder", codec.name),
                ok: decoder.is_some(),
                optional: false,
                detail: decoder.unwrap_or_else(|| "missing".into()),
                hint,
            }
        }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_its_package() {
        let findings = doctor();
        assert_eq!(findings.len(), NEEDS.len() + CODECS.len() + 1);
        for finding in findings {
            assert_eq!(finding.ok, finding.hint.is_none(), "{finding:?}");
            assert!(!finding.detail.is_empty(), "{finding:?}");
        }
    }
}
