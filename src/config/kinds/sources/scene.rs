//! `scene`: scripted objects.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use super::option::{pairs, parse_bool, parse_integer, unknown_option};
use crate::config::plan::Input;
use crate::config::schema::SourceType;
use crate::config::source_uri::{Parsed, Refusal};

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Scene {
    /// Begin again at the end, with times and frame numbers that go on.
    #[serde(rename = "loop")]
    repeat: Option<bool>,
    /// scene: the chance it is drawn from. Default: the scene's own. Example: 7.
    seed: Option<u64>,
    /// scene: draw pictures; false gives detections only. Default true. Example: false.
    pixels: Option<bool>,
    /// scene: play at the scene's pace and drop what is late, as a camera does; http: whether it has no end.
    /// Default false for a scene, and for an address whose path ends as a clip's does (.mp4 …); else true. Example: true.
    live: Option<bool>,
}

impl Type for Scene {
    const OF: SourceType = SourceType::Scene;

    fn claims(uri: &str) -> bool {
        uri.starts_with("scene:")
    }

    fn plan(self, uri: &str, find: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        let rest = uri.strip_prefix("scene:").unwrap_or(uri);
        let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
        if name.is_empty() {
            return Err(("the scene has no name".into(), "write scene:NAME or scene:FILE.yaml".into()));
        }
        let is_file = name.ends_with(".yaml") || name.ends_with(".yml");
        let name = if is_file { find(name).to_string_lossy().into_owned() } else { name.to_owned() };
        let Self { repeat, mut seed, pixels, live } = self;
        let (mut pixels, mut live) = (pixels.unwrap_or(true), live.unwrap_or(false));
        let mut repeat = repeat.unwrap_or(false);
        for (key, value) in pairs(query, &['&'])? {
            match key {
                "seed" => seed = Some(parse_integer(key, value, 0, u64::MAX)?),
                "pixels" => pixels = parse_bool(key, value)?,
                "live" => live = parse_bool(key, value)?,
                "loop" => repeat = parse_bool(key, value)?,
                other => return Err(unknown_option(other, &["seed", "pixels", "live", "loop"], "scene")),
            }
        }
        Ok(Parsed { input: Input::Scene { name, pixels, seed, live }, repeat, realtime: false })
    }
}
