//! `file`: a media file.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Type;
use crate::config::plan::Input;
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
}

impl Type for File {
    const OF: SourceType = SourceType::File;
    const SCHEMES: &'static [&'static str] = &["file"];

    fn plan(self, uri: &str, find: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        let Self { repeat, realtime } = self;
        Ok(Parsed::Input {
            input: Input::File(path(uri, find)?),
            repeat: repeat.unwrap_or(false),
            realtime: realtime.unwrap_or(false),
        })
    }
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
