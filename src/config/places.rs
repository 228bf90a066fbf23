//! The location of every key that was set, by path.

use std::collections::BTreeMap;

use super::problem::Location;

/// The locations of keys and values, by path (`sources[0].uri`).
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    found: BTreeMap<String, Found>,
}

/// One path that was set.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) key: Location,
    pub(super) value: Location,
    /// The text before `${…}` was replaced, if it was.
    pub(super) template: Option<String>,
}

impl Places {
    pub(super) fn insert(&mut self, path: &str, found: Found) {
        self.found.insert(path.to_owned(), found);
    }

    pub(super) fn is_set(&self, path: &str) -> bool {
        self.found.contains_key(path)
    }

    /// The location of a path's value; of its nearest parent if it was not written itself.
    pub(super) fn value(&self, path: &str) -> Location {
        self.nearest(path).map_or_else(Location::nowhere, |found| found.value)
    }

    /// The location of a path's key; of its nearest parent if it was not written itself.
    pub(super) fn key(&self, path: &str) -> Location {
        self.nearest(path).map_or_else(Location::nowhere, |found| found.key)
    }

    /// Every path that was set, sorted.
    pub(super) fn set(&self) -> impl Iterator<Item = (&str, &Found)> {
        self.found.iter().map(|(path, found)| (path.as_str(), found))
    }

    /// The text before `${…}` was replaced, if it was.
    pub(super) fn template(&self, path: &str) -> Option<&str> {
        self.found.get(path)?.template.as_deref()
    }

    /// The paths that were set below `prefix`, without the prefix.
    pub(super) fn below<'p>(&'p self, prefix: &'p str) -> impl Iterator<Item = &'p str> {
        self.found.range(prefix.to_owned()..).map_while(move |(path, _)| path.strip_prefix(prefix))
    }

    fn nearest(&self, path: &str) -> Option<&Found> {
        let mut path = path;
        loop {
            if let Some(found) = self.found.get(path) {
                return Some(found);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}
