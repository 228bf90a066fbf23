//! `email`: not built yet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Email {
    /// email: the mail server. Default none. Example: mail.example.com.
    smtp_server: Option<String>,
    /// email: its port. Default 587. Range 1–65535. Example: 25.
    #[schemars(range(min = 1, max = 65_535))]
    smtp_port: Option<u32>,
    /// email: user name. Default none. Example: alerts.
    username: Option<String>,
    /// email: password. Default none. Example: "${env:SMTP_PASSWORD}".
    password: Option<String>,
    /// email: receivers. Default none. Example: [guard@example.com].
    to_addresses: Option<Vec<String>>,
}

impl Type for Email {
    const WORD: &'static str = "email";
}
