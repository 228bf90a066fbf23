//! What a source's URI says: which kind it is, and its options.

use std::path::PathBuf;

use url::Url;

use super::nearest::nearest;
use super::plan::Input;
use super::schema::{Parameters, SourceType};
use super::secret;

/// `videotestsrc pattern`, by nick.
const PATTERNS: &[&str] = &[
    "smpte",
    "snow",
    "black",
    "white",
    "red",
    "green",
    "blue",
    "checkers-1",
    "checkers-2",
    "checkers-4",
    "checkers-8",
    "circular",
    "blink",
    "smpte75",
    "zone-plate",
    "gamut",
    "chroma-zone-plate",
    "solid-color",
    "ball",
    "smpte100",
    "bar",
    "pinwheel",
    "spokes",
    "gradient",
    "colors",
    "smpte-rp-219",
];
/// Schemes by kind.
const SCHEMES: &[(&str, SourceType)] = &[
    ("file", SourceType::File),
    ("rtsp", SourceType::Rtsp),
    ("rtsps", SourceType::Rtsp),
    ("http", SourceType::Http),
    ("https", SourceType::Http),
    ("webrtc", SourceType::Webrtc),
    ("whep", SourceType::Webrtc),
    ("udp", SourceType::Network),
    ("tcp", SourceType::Network),
    ("srt", SourceType::Network),
    ("rtmp", SourceType::Network),
];

/// What a URI came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Parsed {
    /// Something to read.
    Input {
        /// What.
        input: Input,
        /// Whether it begins again at its end.
        repeat: bool,
    },
    /// A kind for which there is no reader yet.
    NotBuilt(SourceType),
}

impl Parsed {
    fn once(input: Input) -> Self {
        Self::Input { input, repeat: false }
    }
}

/// Why a URI cannot be used: what is wrong, and what stands under the caret.
pub(super) type Refusal = (String, String);

/// The kind a URI names by itself; a bare word or path is a file.
pub(super) fn kind_of(uri: &str) -> Result<SourceType, Refusal> {
    if uri == "test" || uri.starts_with("test:") || uri == "videotestsrc" || uri.starts_with("videotestsrc ") {
        return Ok(SourceType::Test);
    }
    if uri.starts_with("scene:") {
        return Ok(SourceType::Scene);
    }
    if uri.starts_with("trace:") {
        return Ok(SourceType::Trace);
    }
    if (!uri.is_empty() && uri.bytes().all(|b| b.is_ascii_digit())) || uri.starts_with("/dev/video") {
        return Ok(SourceType::Webcam);
    }
    let Some((scheme, _)) = uri.split_once("://") else { return Ok(SourceType::File) };
    let lower = scheme.to_ascii_lowercase();
    SCHEMES.iter().find(|(name, _)| *name == lower).map(|(_, kind)| *kind).ok_or_else(|| {
        // What can be read is the likelier meaning of a slip.
        let of = |built: bool| SCHEMES.iter().filter(move |(_, kind)| kind.is_built() == built).map(|(name, _)| *name);
        let near = nearest(&lower, of(true)).or_else(|| nearest(&lower, of(false)));
        let label = match near {
            Some(near) => format!("did you mean `{near}://`?"),
            None => "known are a path, file://, rtsp://, test, scene:NAME, trace:PATH".to_owned(),
        };
        (format!("no source is read from `{scheme}://`"), label)
    })
}

/// Reads a URI together with the parameters beside it; options in the URI win. `find` resolves a relative path.
pub(super) fn parse(
    uri: &str,
    kind: SourceType,
    parameters: &Parameters,
    find: &dyn Fn(&str) -> PathBuf,
) -> Result<Parsed, Refusal> {
    match kind {
        SourceType::File => {
            let repeat = parameters.repeat.unwrap_or(false);
            file(uri, find).map(|path| Parsed::Input { input: Input::File(path), repeat })
        }
        SourceType::Trace => {
            let path = uri.strip_prefix("trace:").unwrap_or(uri);
            if path.is_empty() {
                return Err(("the trace has no path".into(), "write trace:PATH".into()));
            }
            Ok(Parsed::once(Input::Trace(find(path))))
        }
        SourceType::Rtsp => match Url::parse(uri) {
            Ok(url) if url.host_str().is_some_and(|host| !host.is_empty()) => {
                Ok(Parsed::once(Input::Rtsp(uri.to_owned())))
            }
            Ok(_) => Err(("the stream's address has no host".into(), "write rtsp://host[:port]/path".into())),
            Err(error) => Err(("the stream's address cannot be read".into(), error.to_string())),
        },
        SourceType::Test => test(uri, parameters).map(Parsed::once),
        SourceType::Scene => scene(uri, parameters, find),
        // Those that `is_built` denies.
        SourceType::Webcam | SourceType::Webrtc | SourceType::Network | SourceType::Http => Ok(Parsed::NotBuilt(kind)),
    }
}

fn file(uri: &str, find: &dyn Fn(&str) -> PathBuf) -> Result<PathBuf, Refusal> {
    let empty = || ("the file has no path".to_owned(), "write a path or file:///path".to_owned());
    if !uri.starts_with("file://") {
        return if uri.is_empty() { Err(empty()) } else { Ok(find(uri)) };
    }
    let url =
        Url::parse(uri).map_err(|error| (format!("`{}` cannot be read", secret::in_text(uri)), error.to_string()))?;
    match url.to_file_path() {
        Ok(path) if path.as_os_str().len() > 1 => Ok(path),
        Ok(_) => Err(empty()),
        Err(()) => Err((
            format!("`{}` names no file of this machine", secret::in_text(uri)),
            "three slashes: file:///path".to_owned(),
        )),
    }
}

fn test(uri: &str, parameters: &Parameters) -> Result<Input, Refusal> {
    let mut pattern = parameters.pattern.clone().unwrap_or_else(|| "smpte".to_owned());
    let mut frames = parameters.frames.or(parameters.num_buffers);
    let (mut width, mut height) = (parameters.width.unwrap_or(640), parameters.height.unwrap_or(480));
    let mut fps = parameters.framerate.as_deref().map_or(Ok(30.0), framerate)?;
    let options = uri.strip_prefix("test").or_else(|| uri.strip_prefix("videotestsrc")).unwrap_or_default();
    for (key, value) in pairs(options.trim_start_matches(':'), &[',', ' '])? {
        match key {
            "pattern" => pattern = value.to_owned(),
            "frames" | "num-buffers" => frames = Some(whole(key, value, 1, 1_000_000_000)?),
            "fps" | "framerate" => fps = framerate(value)?,
            "width" => width = whole(key, value, 16, 8192)? as u32,
            "height" => height = whole(key, value, 16, 8192)? as u32,
            "size" => {
                let (w, h) = value.split_once('x').ok_or_else(|| refuse(key, value, "WIDTHxHEIGHT"))?;
                (width, height) = (whole(key, w, 16, 8192)? as u32, whole(key, h, 16, 8192)? as u32);
            }
            // Ours is live exactly when nothing bounds it; GStreamer's word for it is taken and says nothing new.
            "is-live" => {}
            other => {
                return Err(unknown_option(other, &["pattern", "frames", "size", "width", "height", "fps"], "test"));
            }
        }
    }
    if !PATTERNS.contains(&pattern.as_str()) {
        let label = match nearest(&pattern, PATTERNS.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", PATTERNS.join(", ")),
        };
        return Err((format!("there is no test picture `{pattern}`"), label));
    }
    Ok(Input::Test { pattern, frames, width, height, fps })
}

fn scene(uri: &str, parameters: &Parameters, find: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
    let rest = uri.strip_prefix("scene:").unwrap_or(uri);
    let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
    if name.is_empty() {
        return Err(("the scene has no name".into(), "write scene:NAME or scene:FILE.yaml".into()));
    }
    let is_file = name.ends_with(".yaml") || name.ends_with(".yml");
    let name = if is_file { find(name).to_string_lossy().into_owned() } else { name.to_owned() };
    let mut seed = parameters.seed;
    let mut pixels = parameters.pixels.unwrap_or(true);
    let mut live = parameters.live.unwrap_or(false);
    let mut repeat = parameters.repeat.unwrap_or(false);
    for (key, value) in pairs(query, &['&'])? {
        match key {
            "seed" => seed = Some(whole(key, value, 0, u64::MAX)?),
            "pixels" => pixels = truth(key, value)?,
            "live" => live = truth(key, value)?,
            "loop" => repeat = truth(key, value)?,
            other => return Err(unknown_option(other, &["seed", "pixels", "live", "loop"], "scene")),
        }
    }
    Ok(Parsed::Input { input: Input::Scene { name, pixels, seed, live }, repeat })
}

fn pairs<'t>(text: &'t str, separators: &[char]) -> Result<Vec<(&'t str, &'t str)>, Refusal> {
    text.split(separators)
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.split_once('=').ok_or_else(|| {
                (format!("the option `{}` has no value", secret::in_text(part)), "options are written key=value".into())
            })
        })
        .collect()
}

fn whole(key: &str, value: &str, min: u64, max: u64) -> Result<u64, Refusal> {
    value
        .parse()
        .ok()
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| refuse(key, value, &format!("a whole number from {min} to {max}")))
}

fn truth(key: &str, value: &str) -> Result<bool, Refusal> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(refuse(key, value, "`true` or `false`")),
    }
}

/// Frames per second, as a number or a fraction.
fn framerate(value: &str) -> Result<f64, Refusal> {
    let parsed = match value.split_once('/') {
        Some((n, d)) => n.parse::<f64>().ok().zip(d.parse::<f64>().ok()).map(|(n, d)| n / d),
        None => value.parse().ok(),
    };
    parsed
        .filter(|fps| (0.01..=240.0).contains(fps))
        .ok_or_else(|| refuse("framerate", value, "a number or fraction from 0.01 to 240"))
}

fn refuse(key: &str, value: &str, expected: &str) -> Refusal {
    (format!("`{key}` cannot be `{value}`"), format!("expected {expected}"))
}

fn unknown_option(word: &str, known: &[&str], kind: &str) -> Refusal {
    let label = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}", known.join(", ")),
    };
    (format!("a {kind} source has no option `{word}`"), label)
}

/// The id of a source that was given none.
pub(super) fn generated_id(input: &Parsed, index: usize) -> String {
    stem(input).unwrap_or_else(|| format!("source{index}"))
}

/// The name that a source has by what it reads, where it has one.
pub(super) fn stem(input: &Parsed) -> Option<String> {
    let stem = |path: &std::path::Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    match input {
        Parsed::Input { input, .. } => match input {
            Input::File(path) | Input::Trace(path) => stem(path),
            Input::Scene { name, .. } => stem(std::path::Path::new(name)),
            Input::Test { .. } | Input::Rtsp(_) => None,
        },
        Parsed::NotBuilt(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str) -> Result<Parsed, Refusal> {
        parse(uri, kind_of(uri)?, &Parameters::default(), &|path| PathBuf::from(path))
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
        assert!(matches!(endless, Ok(Parsed::Input { repeat: true, .. })), "{endless:?}");
        let bare = parse("street", SourceType::Scene, &Parameters::default(), &|path| PathBuf::from(path));
        assert_eq!(bare, scene("street", true, None, false), "`type: scene` says what a bare word is");
        assert_eq!(read("trace:a.jsonl"), Ok(Parsed::once(Input::Trace("a.jsonl".into()))));
        let camera = "rtsps://u:p@cam:322/s";
        assert_eq!(read(camera), Ok(Parsed::once(Input::Rtsp(camera.into()))));
        assert_eq!(read("0"), Ok(Parsed::NotBuilt(SourceType::Webcam)));
        assert_eq!(read("https://x/y.m3u8"), Ok(Parsed::NotBuilt(SourceType::Http)));
    }

    #[test]
    fn a_wrong_uri_says_what_was_meant() {
        assert_eq!(read("rstp://cam/s").unwrap_err().1, "did you mean `rtsp://`?");
        assert_eq!(read("rtp://cam/s").unwrap_err().1, "did you mean `rtsp://`?");
        assert_eq!(read("test:pattern=bal").unwrap_err().1, "did you mean `ball`?");
        assert_eq!(read("test:patern=ball").unwrap_err().1, "did you mean `pattern`?");
        assert_eq!(read("scene:street?sed=1").unwrap_err().1, "did you mean `seed`?");
        assert!(read("rtsp://").is_err());
        assert!(read("").is_err());
        assert!(read("test:size=4x4").is_err());
    }
}
