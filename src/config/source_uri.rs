//! Determines a source's kind from its URI. The kind parses its options.

use super::kinds::sources;
use super::nearest::nearest;
use super::plan::Input;
use super::schema::SourceType;
use super::secret;

/// A parsed URI.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parsed {
    pub(super) input: Input,
    /// Whether it loops.
    pub(super) repeat: bool,
    /// Whether it plays in real time, by its parameters.
    pub(super) realtime: bool,
}

impl Parsed {
    pub(super) fn once(input: Input) -> Self {
        Self { input, repeat: false, realtime: false }
    }
}

/// Why a URI is invalid: the message, and the label under the caret.
pub(super) type Refusal = (String, String);

/// The kind of a URI by itself; a bare word or path is a file.
pub(super) fn kind_of(uri: &str) -> Result<SourceType, Refusal> {
    if let Some(kind) = sources::claimed(uri) {
        return Ok(kind);
    }
    if secret::is_bare_address(uri) {
        let label = "write rtsp:// before the user; before the name of a file, write ./";
        return Err(("the address of a camera has no scheme".to_owned(), label.to_owned()));
    }
    let Some((scheme, _)) = uri.split_once("://") else { return Ok(SourceType::File) };
    let lower = scheme.to_ascii_lowercase();
    sources::of_scheme(&lower).ok_or_else(|| {
        let label = match nearest(&lower, sources::schemes()) {
            Some(near) => format!("did you mean `{near}://`?"),
            None => "known are a path, file://, rtsp://, http://, test, scene:NAME, trace:PATH, mqtt://, detections:, \
                     gst:ELEMENTS"
                .to_owned(),
        };
        (format!("no source is read from `{scheme}://`"), label)
    })
}

/// The id of a source without one.
pub(super) fn generated_id(input: &Parsed, index: usize) -> String {
    stem(input).unwrap_or_else(|| format!("source{index}"))
}

/// The name of a source derived from its input, if possible.
pub(super) fn stem(input: &Parsed) -> Option<String> {
    let stem = |path: &std::path::Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    match &input.input {
        Input::File(path) | Input::Trace(path) => stem(path),
        Input::Scene { name, .. } => stem(std::path::Path::new(name)),
        Input::Web(web) => web.stem(),
        Input::Images(images) => images.folder.file_name().map(|name| name.to_string_lossy().into_owned()),
        Input::Test { .. } | Input::Rtsp(_) | Input::Webcam(_) | Input::Chain { .. } => None,
        Input::Webrtc(_) | Input::Detections(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::kinds::sources::{Parameters, plan};
    use super::super::plan::{Camera, Images, Numbered, Web, Webcam};
    use super::*;

    fn read(uri: &str) -> Result<Parsed, Refusal> {
        plan(uri, kind_of(uri)?, &Parameters::default(), &|path| PathBuf::from(path))
    }

    #[test]
    fn every_form_of_uri_is_read() {
        let test = |pattern: &str, frames, width, height, fps| {
            Ok(Parsed::once(Input::Test { pattern: pattern.into(), frames, width, height, fps }))
        };
        assert_eq!(read("clip.mp4"), Ok(Parsed::once(Input::File("clip.mp4".into()))));
        assert_eq!(read("file:///a%20b/c.mp4"), Ok(Parsed::once(Input::File("/a b/c.mp4".into()))));
        assert_eq!(read("test"), test("smpte", None, 640, 480, 30.0));
        assert_eq!(read("test:pattern=ball,frames=100,size=320x240,fps=15"), test("ball", Some(100), 320, 240, 15.0));
        assert_eq!(read("videotestsrc pattern=snow num-buffers=9 is-live=true"), test("snow", Some(9), 640, 480, 30.0));
        let scene =
            |name: &str, pixels, seed, live| Ok(Parsed::once(Input::Scene { name: name.into(), pixels, seed, live }));
        assert_eq!(read("scene:street"), scene("street", true, None, false));
        assert_eq!(read("scene:street?seed=1&pixels=false&live=true"), scene("street", false, Some(1), true));
        let endless = read("scene:street?loop=true");
        assert!(matches!(endless, Ok(Parsed { repeat: true, .. })), "{endless:?}");
        let bare = plan("street", SourceType::Scene, &Parameters::default(), &|path| PathBuf::from(path));
        assert_eq!(bare, scene("street", true, None, false), "`type: scene` says what a bare word is");
        assert_eq!(read("trace:a.jsonl"), Ok(Parsed::once(Input::Trace("a.jsonl".into()))));
        let camera = "rtsps://u:p@cam:322/s";
        assert_eq!(read(camera), Ok(Parsed::once(Input::Rtsp(Box::new(Camera::read(camera).unwrap())))));
        let webcam = |device: &str| {
            let webcam = Webcam { device: device.into(), width: None, height: None, fps: None };
            Ok(Parsed::once(Input::Webcam(webcam)))
        };
        assert_eq!(read("0"), webcam("/dev/video0"));
        assert_eq!(read("/dev/video7"), webcam("/dev/video7"));
        let images = |folder: &str, pattern: Option<&str>| {
            let numbered = pattern.and_then(Numbered::read);
            Ok(Parsed::once(Input::Images(Images { folder: folder.into(), numbered, fps: 30.0 })))
        };
        assert_eq!(read("frames/"), images("frames/", None));
        assert_eq!(read("frames/%05d.jpg"), images("frames", Some("%05d.jpg")));
        let chain = Input::Chain { chain: "videotestsrc ! videoconvert".into(), live: true };
        assert_eq!(read("gst: videotestsrc ! videoconvert"), Ok(Parsed::once(chain)));
        assert!(read("gst:filesrc location=/etc/passwd").unwrap_err().0.contains("`filesrc`"));
        let web = "https://u:p@x/y.m3u8";
        assert_eq!(read(web), Ok(Parsed::once(Input::Web(Box::new(Web::read(web).unwrap())))));
    }

    #[test]
    fn a_wrong_uri_gets_a_suggestion() {
        assert_eq!(read("rstp://cam/s").unwrap_err().1, "did you mean `rtsp://`?");
        assert_eq!(read("rtp://cam/s").unwrap_err().1, "did you mean `rtsp://`?");
        assert_eq!(read("test:pattern=bal").unwrap_err().1, "did you mean `ball`?");
        assert_eq!(read("test:patern=ball").unwrap_err().1, "did you mean `pattern`?");
        assert_eq!(read("scene:street?sed=1").unwrap_err().1, "did you mean `seed`?");
        for uri in
            ["admin:C4n4ry@cam/s", "rtsp:/admin:C4n4ry@cam/s", "rtsp:\\\\admin:C4n4ry@cam/s", "//admin:C4n4ry@cam"]
        {
            let (message, label) = read(uri).unwrap_err();
            assert!(label.starts_with("write rtsp://") && !message.contains("C4n4ry"), "{uri}: {message}: {label}");
        }
        assert_eq!(read("./a:b@c.mp4"), Ok(Parsed::once(Input::File("./a:b@c.mp4".into()))));
        assert!(read("rtsp://").is_err());
        assert!(read("").is_err());
        assert!(read("test:size=4x4").is_err());
    }
}
