//! `trace`: recorded detections.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use crate::config::plan::Input;
use crate::config::schema::SourceType;
use crate::config::source_uri::{Parsed, Refusal};

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Trace {}

impl Type for Trace {
    const OF: SourceType = SourceType::Trace;

    fn claims(uri: &str) -> bool {
        uri.starts_with("trace:")
    }

    fn plan(self, uri: &str, find: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        let path = uri.strip_prefix("trace:").unwrap_or(uri);
        if path.is_empty() {
            return Err(("the trace has no path".into(), "write trace:PATH".into()));
        }
        Ok(Parsed::once(Input::Trace(find(path))))
    }
}
