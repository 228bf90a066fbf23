//! `http`: not built yet.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use crate::config::schema::SourceType;
use crate::config::source_uri::{Parsed, Refusal};

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Http {
    /// The jitter buffer. Unit: milliseconds. Range 0–60000.
    #[schemars(range(min = 0, max = 60_000))]
    latency: Option<u32>,
    /// Size of the receive buffer. Unit: KiB. Range 1–1048576.
    #[schemars(range(min = 1, max = 1_048_576))]
    buffer_size: Option<u32>,
}

impl Type for Http {
    const OF: SourceType = SourceType::Http;
    const SCHEMES: &'static [&'static str] = &["http", "https"];
    const BUILT: bool = false;

    fn plan(self, _: &str, _: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        Ok(Parsed::NotBuilt(Self::OF))
    }
}
