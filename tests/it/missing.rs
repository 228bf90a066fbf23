//! A host without some of GStreamer's packages: what `doctor` and `sources test` say of it. Plugins are hidden by
//! folders of links in which they are left out.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::Dsengine;
use crate::source_test::clip;

/// The plugins that a source needs, without `libgst` and `.so`.
const PLUGINS: &[&str] = &[
    "coreelements",
    "playback",
    "typefindfunctions",
    "videoconvertscale",
    "videoconvert",
    "videoscale",
    "app",
    "videotestsrc",
    "isomp4",
    "matroska",
    "rtsp",
    "rtp",
    "rtpmanager",
    "udp",
    "tcp",
    "videoparsersbad",
    "libav",
    "openh264",
    "de265",
    "vpx",
    "aom",
    "jpeg",
    "mpegtsdemux",
    "webrtc",
    "dtls",
    "srtp",
    "nice",
    "video4linux2",
    "x264",
];

/// A host on which some plugins are not installed.
struct Host {
    dir: tempfile::TempDir,
    /// What `doctor` found, asked once.
    findings: OnceCell<Value>,
}

impl Host {
    fn without(hidden: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let plugins = dir.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        let installed = installed();
        for name in PLUGINS.iter().filter(|name| !hidden.contains(name)) {
            let file = format!("libgst{name}.so");
            if installed.join(&file).exists() {
                std::os::unix::fs::symlink(installed.join(&file), plugins.join(&file)).unwrap();
            }
        }
        Self { dir, findings: OnceCell::new() }
    }

    /// The program on this host.
    fn run(&self, args: &[&str]) -> Dsengine {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        Dsengine::new(args)
            .env("GST_PLUGIN_SYSTEM_PATH_1_0", &path("plugins"))
            .env("GST_PLUGIN_PATH_1_0", "")
            .env("GST_REGISTRY_1_0", &path("registry.bin"))
    }

    /// What `doctor` finds of a capability.
    #[track_caller]
    fn finding(&self, name: &str) -> Value {
        let findings = self.findings.get_or_init(|| self.run(&["doctor", "--json"]).run().json());
        let found = findings.as_array().unwrap().iter().find(|finding| finding["name"] == name);
        found.cloned().unwrap_or_else(|| panic!("{name}: {findings}"))
    }

    /// That a capability is missing, and what brings it.
    #[track_caller]
    fn misses(&self, name: &str, hint: &str) {
        let finding = self.finding(name);
        assert_eq!(finding["ok"], false, "{finding}");
        assert_eq!(finding["hint"], hint, "{finding}");
    }

    /// What is said of a source.
    #[track_caller]
    fn refuses(&self, source: &str, remedy: &str) {
        let out = self.run(&["sources", "test", source]).run().expect(1);
        assert!(out.stderr.contains(remedy), "{source}: {}", out.stderr);
        assert_eq!(out.stderr.lines().count(), 1, "{}", out.stderr);
    }
}

/// Where this machine's plugins are.
fn installed() -> PathBuf {
    gstreamer::init().unwrap();
    let plugin = gstreamer::Registry::get().find_plugin("coreelements").unwrap();
    plugin.filename().unwrap().parent().unwrap().to_owned()
}

fn has(element: &str) -> bool {
    gstreamer::ElementFactory::find(element).is_some()
}

/// A clip of a codec, or `None` where this machine cannot encode it.
fn encoded(dir: &Path, name: &str, encoder: &str) -> Option<String> {
    let element = encoder.split(' ').next().unwrap();
    gstreamer::init().unwrap();
    if !has(element) {
        crate::harness::skip("missing::encoded", &format!("{element} is not installed"));
        return None;
    }
    Some(clip(dir, name, encoder).display().to_string())
}

#[test]
fn whoever_lacks_a_package_is_told_its_name() {
    let (good, bad) = ("apt-get install gstreamer1.0-plugins-good", "apt-get install gstreamer1.0-plugins-bad");
    let libav = "apt-get install gstreamer1.0-libav";
    let dir = tempfile::tempdir().unwrap();
    let host = Host::without(&["rtsp", "libav", "openh264", "de265"]);
    host.misses("network cameras (rtsp://)", good);
    host.refuses("rtsp://127.0.0.1:9/s", good);
    host.misses("H.264 decoder", libav);
    host.misses("H.265 decoder", libav);
    for (name, encoder) in [("a.mp4", "x264enc ! mp4mux"), ("b.mkv", "x265enc ! h265parse ! matroskamux")] {
        if let Some(clip) = encoded(dir.path(), name, encoder) {
            host.refuses(&clip, libav);
        }
    }
    let host = Host::without(&["mpegtsdemux", "webrtc", "nice", "vpx", "jpeg", "libav"]);
    host.misses("HLS (.m3u8)", bad);
    host.misses("WebRTC (WHIP, WHEP)", "apt-get install gstreamer1.0-plugins-bad gstreamer1.0-nice");
    host.misses("MJPEG decoder", good);
    host.misses("VP8 decoder", good);
    if let Some(clip) = encoded(dir.path(), "c.mkv", "vp8enc ! matroskamux") {
        host.refuses(&clip, good);
    }
}

#[test]
fn doctor_decodes_a_picture_of_each_codec() {
    let whole = Host::without(&[]);
    let findings = whole.run(&["doctor", "--json"]).run().json();
    let mut decoded = Vec::new();
    for (name, decoder, element) in [
        ("H.264 decoder", "avdec_h264", "avdec_h264"),
        ("H.265 decoder", "avdec_h265", "avdec_h265"),
        ("VP8 decoder", "vp8dec", "vp8dec"),
        ("VP9 decoder", "vp9dec", "vp9dec"),
        ("AV1 decoder", "av1dec", "av1dec"),
        ("MJPEG decoder", "jpegdec", "jpegdec"),
    ] {
        let finding = findings.as_array().unwrap().iter().find(|finding| finding["name"] == name).unwrap();
        gstreamer::init().unwrap();
        if !has(element) {
            crate::harness::skip("missing::doctor_decodes", &format!("{decoder} is not installed"));
            continue;
        }
        let detail = finding["detail"].as_str().unwrap();
        assert_eq!(finding["ok"], true, "{finding}");
        assert!(detail.ends_with("ware): a test picture reached system memory"), "{finding}");
        decoded.push(name);
    }
    assert!(!decoded.is_empty());
    // Another decoder is used where the first is switched off, and that is what is shown.
    if has("avdec_h264") && has("openh264dec") {
        let other = whole.run(&["doctor", "--json"]).env("GST_PLUGIN_FEATURE_RANK", "avdec_h264:NONE").run().json();
        let finding = other.as_array().unwrap().iter().find(|finding| finding["name"] == "H.264 decoder").unwrap();
        assert!(finding["detail"].as_str().unwrap().starts_with("openh264dec (software)"), "{finding}");
    }
}
