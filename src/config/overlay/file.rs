//! An overlay file: one entry per line, replaced atomically, readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path as FilePath;

use serde_json::Value as Json;

use super::Overlay;
use crate::config::problem::{LoadError, Location, Origin, Origins, Problems};
use crate::config::tree::{self, FILE_BYTES_MAX, Value};
use crate::error::{Code, Error};
use crate::text;

/// The first line of the file.
const HEAD: &str = "# Changes that were saved by API or command line; dsengine writes this file.\n";

impl Overlay {
    /// Reads an overlay. A missing file is an empty overlay.
    ///
    /// # Errors
    /// When it cannot be read or is not a map of paths, with `file:line:column`.
    pub fn read(path: &FilePath) -> Result<Self, LoadError> {
        let name = path.display().to_string();
        let size = match fs::metadata(path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(LoadError::plain(format!("{name} cannot be read: {error}"))),
        };
        if size > FILE_BYTES_MAX {
            return Err(LoadError::plain(format!("{name} is larger than {} KiB", FILE_BYTES_MAX / 1024)));
        }
        let text = text::read(path);
        let text = text.map_err(|error| LoadError::plain(format!("{name} cannot be read: {error}")))?;
        let (mut origins, mut problems) = (Origins::default(), Problems::default());
        let origin = origins.add(Origin::File { name, text: text.clone() });
        let root = tree::parse(&text, origin, &mut problems);
        let mut overlay = Self::default();
        match root.map(|root| (root.place, root.is_nothing(), root.value)) {
            Some((_, true, _)) | None => {}
            Some((_, _, Value::Map(entries))) => {
                for (key, node) in entries {
                    let value = (!node.is_nothing()).then(|| node.to_json());
                    overlay.entries.insert(key.text, value);
                }
            }
            Some((place, ..)) => {
                let place = Location { width: 1, ..place };
                problems.at_value(place, "an overlay is a map", "expected paths such as `sources[yard].fps: 5`");
            }
        }
        if problems.is_empty() { Ok(overlay) } else { Err(problems.into_error(&origins)) }
    }

    /// Writes the overlay to a temporary file, then renames it, so that a reader sees either the old or the new one.
    ///
    /// # Errors
    /// [`Code::Io`] when the file cannot be written; the old one is then unchanged.
    pub fn write(&self, path: &FilePath) -> Result<(), Error> {
        let mut text = HEAD.to_owned();
        for (entry, value) in &self.entries {
            let value = value.as_ref().unwrap_or(&Json::Null);
            text.push_str(&format!("{}: {value}\n", Json::String(entry.clone())));
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let written = write_and_rename(&beside, path, text.as_bytes());
        written.map_err(|error| {
            // Ignored: the original error is the one to report.
            let _ = fs::remove_file(&beside);
            Error::new(Code::Io, format!("{} cannot be written: {error}", path.display()))
        })
    }
}

fn write_and_rename(beside: &FilePath, path: &FilePath, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        // Only for its owner: a saved edit may say where cameras are.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, path)
}
