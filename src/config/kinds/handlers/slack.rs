//! `slack`: not built yet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Slack {
    /// slack: the incoming webhook's address. Default none. Example: "${env:SLACK_WEBHOOK}".
    webhook_url: Option<String>,
}

impl Type for Slack {
    const WORD: &'static str = "slack";
}
