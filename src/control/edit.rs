//! The edits of a running engine's configuration, and their authors.

use serde_json::Value as Json;

/// One change of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Adds a source, written as an entry of `sources`.
    AddSource(Json),
    /// Changes keys of a source: a JSON merge patch (RFC 7396) of its entry.
    ChangeSource {
        /// The source's id.
        id: String,
        /// The keys to change; `null` resets a key to its default.
        to: Json,
    },
    /// Removes a source.
    RemoveSource(String),
    /// Enables or disables a source; its entry stays.
    EnableSource {
        /// The source's id.
        id: String,
        /// Whether it runs.
        enabled: bool,
    },
    /// Stops a source and starts it again; the configuration does not change.
    RestartSource(String),
    /// Selects a profile; `None` selects none.
    Profile(Option<String>),
    /// Sets values by overlay path (`sources[yard].fps`, `alerts.throttle_seconds`); `None` removes them.
    Set(Vec<(String, Option<Json>)>),
    /// Changes any keys: a JSON merge patch over the whole configuration. A list of named items is merged by name: an
    /// entry changes the item of its name or is added, and absent items stay.
    Document(Json),
}

/// The author of a change, for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The token's name, or `cli`, `file`, `SIGHUP`, `loopback`.
    pub name: String,
    /// The peer's address, or the file.
    pub from: String,
    /// Whether its edits may bring new references (`${env:NAME}`, `${file:/path}`), with which the engine reads any
    /// variable or file that it may.
    pub may_refer: bool,
}

impl Who {
    /// An author of edits for the audit log; they may bring no new references.
    pub fn new(name: impl Into<String>, from: impl Into<String>) -> Self {
        Self { name: name.into(), from: from.into(), may_refer: false }
    }

    /// The same author, whose edits may bring new references.
    #[must_use]
    pub fn referring(self, may_refer: bool) -> Self {
        Self { may_refer, ..self }
    }
}
