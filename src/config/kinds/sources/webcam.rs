//! `webcam`: a camera of this machine.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use super::option::framerate;
use crate::config::plan::{self, Input};
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

    fn claims(uri: &str) -> bool {
        is_number(uri) || uri.starts_with("/dev/video")
    }

    fn plan(self, uri: &str, _: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        let Self { framerate: rate, width, height } = self;
        let device = match is_number(uri) {
            true => PathBuf::from(format!("/dev/video{uri}")),
            false if Path::new(uri).is_absolute() => PathBuf::from(uri),
            false => {
                let label = "write its number, as 0, or its device, as /dev/video0 or /dev/v4l/by-id/…";
                return Err(("a webcam is a number or the path of a device".to_owned(), label.to_owned()));
            }
        };
        let fps = rate.as_deref().map(framerate).transpose()?;
        Ok(Parsed::once(Input::Webcam(plan::Webcam { device, width, height, fps })))
    }
}

fn is_number(uri: &str) -> bool {
    (1..=3).contains(&uri.len()) && uri.bytes().all(|b| b.is_ascii_digit())
}
