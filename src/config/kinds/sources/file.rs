//! `file`: a media file, or pictures.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Type;
use super::option::framerate;
use crate::config::plan::{Images, Input, Numbered};
use crate::config::schema::SourceType;
use crate::config::secret;
use crate::config::source_uri::{Parsed, Refusal};

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct File {
    /// file, scene: begin again at the end, with times and frame numbers that go on. Default false. Example: true.
    #[serde(rename = "loop")]
    repeat: Option<bool>,
    /// file: the same as `realtime` beside it. Default false. Example: true.
    realtime: Option<bool>,
    /// test, webcam, file: frames per second, a number or a fraction; of a file if it is a folder of pictures.
    /// Default 30. Example: "30/1".
    #[schemars(extend("type" = ["string", "number", "integer", "null"]))]
    framerate: Option<String>,
}

/// Frames per second of pictures.
const FPS: f64 = 30.0;

impl Type for File {
    const OF: SourceType = SourceType::File;
    const SCHEMES: &'static [&'static str] = &["file"];

    fn plan(self, uri: &str, find: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        let Self { repeat, realtime, framerate: rate } = self;
        let path = path(uri, find)?;
        let fps = rate.as_deref().map(framerate).transpose()?;
        let input = match (images(uri, &path, fps.unwrap_or(FPS)), fps) {
            (Some(images), _) => Input::Images(images),
            (None, None) => Input::File(path),
            (None, Some(_)) => {
                let label = "leave parameters.framerate out, or name a folder or numbered pictures, as frames/%05d.jpg";
                return Err(("a clip has a frame rate of its own".to_owned(), label.to_owned()));
            }
        };
        Ok(Parsed { input, repeat: repeat.unwrap_or(false), realtime: realtime.unwrap_or(false) })
    }
}

/// The pictures that a path names: all of a folder, or those whose names are numbered.
fn images(uri: &str, path: &Path, fps: f64) -> Option<Images> {
    if uri.ends_with('/') || path.is_dir() {
        return Some(Images { folder: path.to_owned(), numbered: None, fps });
    }
    let numbered = Numbered::read(path.file_name()?.to_str()?).filter(|_| !path.is_file())?;
    Some(Images { folder: path.parent().unwrap_or(Path::new(".")).to_owned(), numbered: Some(numbered), fps })
}

fn path(uri: &str, find: &dyn Fn(&str) -> PathBuf) -> Result<PathBuf, Refusal> {
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
