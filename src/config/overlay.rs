//! Changes laid over the file: what the API and the command line asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Entries by path. A path is dotted; a thing in a list is named by its id in brackets:
/// `alerts.throttle_seconds`, `sources[yard].fps`, `detection.strategies[loitering].config`, `sources[yard]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// The value at each path; `None` takes away what the layers below have there.
    pub entries: BTreeMap<String, Option<Json>>,
}

impl Overlay {
    /// Whether nothing is laid over the file.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
