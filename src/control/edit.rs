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
    /// What its edits may bring into the configuration.
    pub rights: Rights,
}

/// What an author's edits may bring into the configuration, with which the engine reads what the author may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// New references (`${env:NAME}`, `${file:/path}`) and other files: a token that may change everything.
    Whole,
    /// Other files and no new references: no such token, where none is required.
    Local,
    /// Neither: a token that is limited to sources.
    Limited,
}

impl Who {
    /// An author of edits for the audit log; they may bring no new references.
    pub fn new(name: impl Into<String>, from: impl Into<String>) -> Self {
        Self { name: name.into(), from: from.into(), rights: Rights::Local }
    }

    /// The same author with other rights.
    #[must_use]
    pub fn with(self, rights: Rights) -> Self {
        Self { rights, ..self }
    }
}
