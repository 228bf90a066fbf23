//! Changes by API and command line, applied over the file.
//!
//! `path` parses the paths of entries, `json` edits parts of a value, `lay` applies an overlay to the tree, `changes`
//! finds what an edit of the file changed, and `file` stores an overlay on disk.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::reference;
use crate::error::{Code, Error};

mod changes;
mod file;
mod json;
mod lay;
mod path;

pub use changes::{changed_paths, changed_paths_with};
pub(super) use lay::{Reports, lay, merge};
pub use path::id_key;
pub(super) use path::{Path, Step};

/// Entries by path. A path is dotted; an item of a list has its id in brackets: `alerts.throttle_seconds`,
/// `sources[yard].fps`, `detection.strategies[loitering].config`, `sources[yard]`.
///
/// A value replaces the file's value at its path; only a section's map (`alerts`, `pipeline`) is merged into it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// The value at each path; `None` removes the value of the layers below.
    pub entries: BTreeMap<String, Option<Json>>,
}

impl Overlay {
    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value at a path, also inside an entry's value: `Some(None)` if the overlay removes the path, `None` if it
    /// does not set it.
    pub fn get(&self, path: &str) -> Option<Option<&Json>> {
        let path = Path::parse(path);
        let (above, value) = self.covering(&path)?;
        match value {
            None => Some(None),
            Some(value) => json::find(value, &above, path.below(above.steps().len())).map(Some),
        }
    }

    /// Sets a path; `None` removes the file's value. Removes entries below the path; if an entry above it has a value,
    /// edits inside that.
    pub fn set(&mut self, path: &str, value: Option<Json>) {
        let path = Path::parse(path);
        self.entries.retain(|other, _| !path.covers(&Path::parse(other)));
        let above = self.covering(&path).map(|(above, _)| above);
        match above {
            Some(above) => {
                let below = path.below(above.steps().len());
                let Some((_, whole)) = self.entry_mut(&above) else { return };
                match (whole.as_mut(), value) {
                    (Some(whole), Some(value)) => json::put(whole, &above, below, value),
                    (Some(whole), None) => json::take(whole, &above, below),
                    (None, Some(value)) => {
                        let mut made = Json::Object(serde_json::Map::new());
                        json::put(&mut made, &above, below, value);
                        *whole = Some(made);
                    }
                    (None, None) => {}
                }
            }
            None => {
                self.entries.insert(path.to_string(), value);
            }
        }
    }

    /// Removes the entries at and below a path, so that the file's value applies again; returns whether there were any.
    pub fn remove(&mut self, path: &str) -> bool {
        let path = Path::parse(path);
        let before = self.entries.len();
        self.entries.retain(|other, _| !path.covers(&Path::parse(other)));
        let mut said = self.entries.len() < before;
        if let Some((above, _)) = self.covering(&path)
            && let Some((_, Some(whole))) = self.entry_mut(&above)
        {
            let below = path.below(above.steps().len());
            said |= json::find(whole, &above, below).is_some();
            json::take(whole, &above, below);
        }
        said
    }

    /// Removes the entries at, above or below the paths, and returns the paths of the removed ones.
    pub fn without(&mut self, paths: &[String]) -> Vec<String> {
        let paths: Vec<Path> = paths.iter().map(|path| Path::parse(path)).collect();
        let meets = |entry: &str| {
            let entry = Path::parse(entry);
            paths.iter().any(|path| path.meets(&entry))
        };
        let (gone, kept) = std::mem::take(&mut self.entries).into_iter().partition(|(entry, _)| meets(entry));
        self.entries = kept;
        let gone: BTreeMap<String, Option<Json>> = gone;
        gone.into_keys().collect()
    }

    /// Checks that every secret in it is a reference (`${env:NAME}`, `${file:/path}`), so that it may be saved.
    ///
    /// # Errors
    /// [`Code::Config`] with the path of the first literal secret.
    pub fn check_secrets(&self) -> Result<(), Error> {
        for (path, value) in &self.entries {
            let Some(value) = value else { continue };
            let mut plain = None;
            json::leaves(value, &Path::parse(path), &mut |path, leaf| {
                let path = path.to_string();
                if plain.is_none() && reference::is_written_out(&path, leaf) {
                    plain = Some(path);
                }
            });
            if let Some(path) = plain {
                return Err(Error::new(Code::Config, format!("overlay: `{path}` holds a secret as text")).hint(
                    "refer to it, `${env:NAME}` or `${file:/path}`, in the configuration's file, or by a token \
                     (DSENGINE_TOKEN) with the scope 'control' for all sources",
                ));
            }
        }
        Ok(())
    }

    /// Checks that a reference in it (`${env:NAME}`, `${file:/path}`) stands for a secret: as the value of a secret key,
    /// or for user, password or query of an address. Anywhere else whoever may read the status would see what it names.
    /// The references of the files (`written`) may stay where they are.
    ///
    /// # Errors
    /// [`Code::Config`] with the path of the first other reference.
    pub fn check_references(&self, written: &Json) -> Result<(), Error> {
        for (path, value) in &self.entries {
            let Some(value) = value else { continue };
            let mut shown = None;
            json::leaves(value, &Path::parse(path), &mut |path, leaf| {
                let stands = json::find(written, &Path::parse(""), path.steps()).and_then(Json::as_str) == Some(leaf);
                if shown.is_none() && !stands && !reference::may_refer(&path.to_string(), leaf) {
                    shown = Some(path.to_string());
                }
            });
            if let Some(path) = shown {
                return Err(Error::new(Code::Config, format!("`{path}`: a reference stands for a secret only"))
                    .hint("write the value itself; in an address, refer to user and password: rtsp://${env:USER}:${file:/path}@host/path"));
            }
        }
        Ok(())
    }

    /// The path of the first value with a reference that stands neither in `before` nor in the files (`written`) at the
    /// same place, as the same text.
    pub fn new_reference(&self, before: &Self, written: &Json) -> Option<String> {
        let words = |path: &Path| path.steps().iter().map(|step| step.text().to_owned()).collect::<Vec<_>>();
        let mut known = HashSet::new();
        let mut know = |path: &Path, leaf: &str| {
            if reference::refers(leaf) {
                known.insert((words(path), leaf.to_owned()));
            }
        };
        json::leaves(written, &Path::parse(""), &mut know);
        for (path, value) in &before.entries {
            value.iter().for_each(|value| json::leaves(value, &Path::parse(path), &mut know));
        }
        let mut found = None;
        for (path, value) in &self.entries {
            let Some(value) = value else { continue };
            json::leaves(value, &Path::parse(path), &mut |path, leaf| {
                if found.is_none() && reference::refers(leaf) && !known.contains(&(words(path), leaf.to_owned())) {
                    found = Some(path.to_string());
                }
            });
        }
        found
    }

    /// The entry at or above a path.
    fn covering(&self, path: &Path) -> Option<(Path, Option<&Json>)> {
        self.entries.iter().find_map(|(entry, value)| {
            let entry = Path::parse(entry);
            (!entry.steps().is_empty() && entry.covers(path)).then_some((entry, value.as_ref()))
        })
    }

    fn entry_mut(&mut self, path: &Path) -> Option<(&String, &mut Option<Json>)> {
        let text = path.to_string();
        self.entries.iter_mut().find(|(entry, _)| Path::parse(entry).to_string() == text)
    }
}

#[cfg(test)]
mod tests;
