//! `webcam`: not built yet.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use crate::config::schema::SourceType;
use crate::config::source_uri::{Parsed, Refusal};

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Webcam {
    /// Frames per second, a number or a fraction.
    #[schemars(extend("type" = ["string", "number", "integer", "null"]))]
    framerate: Option<String>,
    /// Width of the picture. Unit: pixels. Range 16–8192.
    #[schemars(range(min = 16, max = 8192))]
    width: Option<u32>,
    /// Height of the picture. Unit: pixels. Range 16–8192.
    #[schemars(range(min = 16, max = 8192))]
    height: Option<u32>,
}

impl Type for Webcam {
    const OF: SourceType = SourceType::Webcam;
    const BUILT: bool = false;

    fn claims(uri: &str) -> bool {
        (!uri.is_empty() && uri.bytes().all(|b| b.is_ascii_digit())) || uri.starts_with("/dev/video")
    }

    fn plan(self, _: &str, _: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        Ok(Parsed::NotBuilt(Self::OF))
    }
}
