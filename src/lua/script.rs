//! The inputs of a strategy or handler: its text, read once, and its context.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::OnFailure;
use crate::error::{Code, Error};
use crate::guest::{Fault, GuestContext, Manifest};

/// A script for one source, or as a handler. Loading one has no side effect outside its own VM.
#[derive(Clone)]
pub struct Script {
    /// Its context: name, source, settings, limits, state.
    pub context: GuestContext,
    /// Its file name in messages, `scripts/x.lua`.
    pub file: String,
    /// Its text, read once by the caller.
    pub text: String,
    /// The global table that contains its functions, if they are not globals themselves.
    pub class: Option<String>,
    /// Folders that `require` may read modules from, in order.
    pub roots: Vec<PathBuf>,
    /// How to treat a frame whose judgement fails.
    pub on_failure: OnFailure,
}

impl Script {
    /// A fault of this script, without the secrets of its settings.
    pub(super) fn masked(&self, mut fault: Fault) -> Fault {
        self.context.mask(&mut fault.message);
        fault
    }

    /// Checks its length and what its leading comments declare, and fills in the defaults of its settings. Returns its
    /// version.
    pub(super) fn check(&mut self) -> Result<String, Error> {
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
        let Manifest { version, settings, .. } = Manifest::of_script(&self.text, &self.file)?;
        self.context.config = Arc::new(settings.fill(&self.context.plugin, &self.context.config)?);
        Ok(version)
    }

    /// The source's name; empty for a handler.
    pub(super) fn source(&self) -> &str {
        self.context.source.as_ref().map_or("", crate::types::SourceId::as_str)
    }

    /// The random seed: the same for the same script on the same source, so that a replay is equal.
    pub(super) fn seed(&self) -> f64 {
        let bytes = self.context.plugin.bytes().chain([0]).chain(self.source().bytes());
        // FNV-1a, 32 bits: exact in a Lua number.
        f64::from(bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)))
    }
}
