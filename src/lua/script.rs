//! What a strategy is built from: the text, read once, and everything that is its own.

use std::path::PathBuf;
use std::sync::Arc;

use super::Limits;
use crate::error::{Code, Error};
use crate::strategy::StateStore;
use crate::types::SourceId;

/// The API version scripts are written to (`---@since 0.1`), major and minor.
const API: (u32, u32) = (0, 1);

/// A script for one source. Loading one has no side effect outside its own VM.
#[derive(Debug, Clone)]
pub struct Script {
    /// The strategy's name from the config; also names its state.
    pub name: String,
    /// The source it will judge.
    pub source: SourceId,
    /// The file as messages name it, `scripts/x.lua`.
    pub file: String,
    /// Its text, read once by the caller.
    pub text: String,
    /// The strategy's own settings: the script's global `config`.
    pub config: serde_json::Value,
    /// What it may use.
    pub limits: Limits,
    /// Where its state is kept.
    pub state: Arc<StateStore>,
    /// Folders that `require` may read modules from, in order.
    pub roots: Vec<PathBuf>,
}

impl Script {
    /// Checks what can be told from the text alone: its length, and the API version it asks for in its leading
    /// comments.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.text.len() > self.limits.source_bytes {
            return Err(Error::new(
                Code::Plugin,
                format!("{}: {} bytes of text, the limit is {}", self.file, self.text.len(), self.limits.source_bytes),
            )
            .hint("keep data out of scripts: pass it as `config`"));
        }
        let comments = self.text.lines().enumerate().take_while(|(_, l)| l.trim().is_empty() || l.starts_with("--"));
        for (number, line) in comments {
            let Some(wanted) = line.split("---@since").nth(1).map(str::trim) else { continue };
            let place = format!("{}:{}", self.file, number + 1);
            let mut parts = wanted.split('.').map(str::parse::<u32>);
            let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
                return Err(Error::new(Code::Plugin, format!("{place}: '---@since {wanted}' is no version"))
                    .hint(format!("write ---@since {}.{}", API.0, API.1)));
            };
            // Before 1.0 a minor version may break, so only the same major with at most our minor is known to run.
            if major != API.0 || minor > API.1 {
                return Err(Error::new(
                    Code::Plugin,
                    format!("{place}: the script wants API {major}.{minor}, this engine offers {}.{}", API.0, API.1),
                )
                .hint("use a newer dsengine, or a version of the script for this one"));
            }
        }
        Ok(())
    }

    /// Where random numbers start: the same for the same script on the same source, so that a replay is equal.
    pub(super) fn seed(&self) -> f64 {
        let bytes = self.name.bytes().chain([0]).chain(self.source.as_str().bytes());
        // FNV-1a, 32 bits: exact in a Lua number.
        f64::from(bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)))
    }
}
