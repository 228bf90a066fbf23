//! What a strategy or handler is built from: the text, read once, and everything that is its own.

use std::path::PathBuf;

use crate::config::OnFailure;
use crate::error::{Code, Error};
use crate::guest::{GuestContext, Manifest};

/// A script for one source, or as a handler. Loading one has no side effect outside its own VM.
#[derive(Clone)]
pub struct Script {
    /// Its surroundings: name, source, settings, limits, state.
    pub context: GuestContext,
    /// The file as messages name it, `scripts/x.lua`.
    pub file: String,
    /// Its text, read once by the caller.
    pub text: String,
    /// The global table that holds its functions, where they are not globals themselves.
    pub class: Option<String>,
    /// Folders that `require` may read modules from, in order.
    pub roots: Vec<PathBuf>,
    /// What becomes of a frame whose judgement fails.
    pub on_failure: OnFailure,
}

impl Script {
    /// Checks what can be told from the text alone: its length, and the API version it asks for in its leading
    /// comments. Returns the version it says it is.
    pub(super) fn check(&self) -> Result<String, Error> {
        if self.text.len() > self.context.limits.source_bytes {
            return Err(Error::new(
                Code::Plugin,
                format!(
                    "{}: {} bytes of text, the limit is {}",
                    self.file,
                    self.text.len(),
                    self.context.limits.source_bytes
                ),
            )
            .hint("keep data out of scripts: pass it as `config`"));
        }
        Manifest::of_script(&self.text, &self.file).map(|manifest| manifest.version)
    }

    /// The source's name; empty for a handler.
    pub(super) fn source(&self) -> &str {
        self.context.source.as_ref().map_or("", crate::types::SourceId::as_str)
    }

    /// Where random numbers start: the same for the same script on the same source, so that a replay is equal.
    pub(super) fn seed(&self) -> f64 {
        let bytes = self.context.plugin.bytes().chain([0]).chain(self.source().bytes());
        // FNV-1a, 32 bits: exact in a Lua number.
        f64::from(bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)))
    }
}
