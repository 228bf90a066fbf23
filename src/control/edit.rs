//! What may be asked of a running engine's configuration, and by whom.

use serde_json::Value as Json;

/// One change of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Adds a source, written as an entry of `sources`.
    AddSource(Json),
    /// Changes keys of a source: a JSON merge patch (RFC 7396) of its entry.
    ChangeSource {
        /// Which one.
        id: String,
        /// The keys to change; `null` takes a key back to its default.
        to: Json,
    },
    /// Takes a source out.
    RemoveSource(String),
    /// Lets a source run, or keeps its entry without running it.
    EnableSource {
        /// Which one.
        id: String,
        /// Whether it runs.
        enabled: bool,
    },
    /// Stops a source and starts it again; nothing of the configuration changes.
    RestartSource(String),
    /// Sets values by overlay path (`sources[yard].fps`, `alerts.throttle_seconds`); `None` takes them away.
    Set(Vec<(String, Option<Json>)>),
    /// Changes any keys: a JSON merge patch over the whole configuration. A list of things that have names is merged
    /// by those: an entry changes the one of its name or is added, and one that is absent from it stays.
    Document(Json),
}

/// Who asked for a change, for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The token's name, or `cli`, `file`, `SIGHUP`, `loopback`.
    pub name: String,
    /// Their address, or the file.
    pub from: String,
}

impl Who {
    /// Somebody of this name, from there.
    pub fn new(name: impl Into<String>, from: impl Into<String>) -> Self {
        Self { name: name.into(), from: from.into() }
    }
}
