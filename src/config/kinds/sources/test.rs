//! `test`: GStreamer's test picture.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use super::option::{framerate, pairs, parse_integer, refuse, unknown_option};
use crate::config::nearest::nearest;
use crate::config::plan::Input;
use crate::config::schema::SourceType;
use crate::config::source_uri::{Parsed, Refusal};

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

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Test {
    /// test: the picture. Default smpte. Example: ball.
    pattern: Option<String>,
    /// test: end after so many frames. Default none, never. Range 1–1000000000. Example: 300.
    #[schemars(range(min = 1, max = 1_000_000_000_u64))]
    frames: Option<u64>,
    /// test: the same as `frames`, by GStreamer's name. Default none. Range 1–1000000000. Example: 300.
    #[serde(rename = "num-buffers")]
    #[schemars(range(min = 1, max = 1_000_000_000_u64))]
    num_buffers: Option<u64>,
    /// Frames per second. Example: "30/1".
    #[schemars(extend("type" = ["string", "number", "integer", "null"]))]
    framerate: Option<String>,
    /// test, webcam, detections: width of the picture. Default 640. Unit: pixels. Range 16–8192. Example: 1280.
    #[schemars(range(min = 16, max = 8192))]
    width: Option<u32>,
    /// test, webcam, detections: height of the picture. Default 480. Unit: pixels. Range 16–8192. Example: 720.
    #[schemars(range(min = 16, max = 8192))]
    height: Option<u32>,
}

impl Type for Test {
    const OF: SourceType = SourceType::Test;

    fn claims(uri: &str) -> bool {
        uri == "test" || uri.starts_with("test:") || uri == "videotestsrc" || uri.starts_with("videotestsrc ")
    }

    fn plan(self, uri: &str, _: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        input(uri, self).map(Parsed::once)
    }
}

fn input(uri: &str, parameters: Test) -> Result<Input, Refusal> {
    let Test { pattern, frames, num_buffers, framerate: rate, width, height } = parameters;
    let mut pattern = pattern.unwrap_or_else(|| "smpte".to_owned());
    let mut frames = frames.or(num_buffers);
    let (mut width, mut height) = (width.unwrap_or(640), height.unwrap_or(480));
    let mut fps = rate.as_deref().map_or(Ok(30.0), framerate)?;
    let options = uri.strip_prefix("test").or_else(|| uri.strip_prefix("videotestsrc")).unwrap_or_default();
    for (key, value) in pairs(options.trim_start_matches(':'), &[',', ' '])? {
        match key {
            "pattern" => pattern = value.to_owned(),
            "frames" | "num-buffers" => frames = Some(parse_integer(key, value, 1, 1_000_000_000)?),
            "fps" | "framerate" => fps = framerate(value)?,
            "width" => width = parse_integer(key, value, 16, 8192)? as u32,
            "height" => height = parse_integer(key, value, 16, 8192)? as u32,
            "size" => {
                let (w, h) = value.split_once('x').ok_or_else(|| refuse(key, value, "WIDTHxHEIGHT"))?;
                (width, height) = (parse_integer(key, w, 16, 8192)? as u32, parse_integer(key, h, 16, 8192)? as u32);
            }
            // Our source is live if its frames are not limited; GStreamer's option is accepted and ignored.
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
