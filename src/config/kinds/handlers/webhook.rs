//! `webhook`: the alert as JSON, posted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use crate::config::build::Site;
use crate::config::plan::HandlerKind;
use crate::config::schema::Handler;
use crate::config::warning::{Severity, Warning};

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Webhook {
    /// webhook: where alerts are posted, as JSON; mqtt: the broker, mqtt:// or mqtts://. Default none.
    /// Example: "${env:ALERT_WEBHOOK}".
    url: Option<String>,
    /// webhook, email, mqtt: longest wait for an answer. Default 30. Unit: seconds. Range 0.1–300. Example: 5.
    #[schemars(range(min = 0.1, max = 300))]
    timeout: Option<f64>,
    /// webhook: extra headers. Default none. Example: {Authorization: "${file:/run/secrets/hook}"}.
    headers: Option<BTreeMap<String, String>>,
    /// webhook, email, mqtt: authorities whose certificates are trusted beside the machine's, PEM. Default none.
    /// Example: certs/ca.pem.
    ca_file: Option<PathBuf>,
    /// webhook: attempts instead of `alerts.retry_attempts`. Default none. Range 1–100. Example: 5.
    #[schemars(range(min = 1, max = 100))]
    retry_attempts: Option<u32>,
}

impl Type for Webhook {
    const WORD: &'static str = "webhook";

    fn plan(self, handler: &Handler, path: &str, site: &mut Site<'_>) -> Option<HandlerKind> {
        // `retry_attempts` has no effect yet: see the table of keys.
        let Self { url, timeout, headers, ca_file, retry_attempts: _ } = self;
        let Some(url) = url.filter(|url| !url.is_empty()) else {
            if handler.head.enabled {
                let message = format!("the webhook handler `{}` has no url", handler.head.name);
                let hint = "set its config.url, or take it off the list";
                site.warn(path, Warning::new("webhook-without-url", Severity::Refusal, message).hint(hint));
            }
            return None;
        };
        if !is_web_address(&url) {
            let at = format!("{path}.config.url");
            // A webhook's path is a secret, so it is not repeated.
            site.wrong(&at, format!("`{at}` is no web address"), "expected https://host/path");
            return None;
        }
        let timeout = Duration::from_secs_f64(timeout.unwrap_or(30.0));
        let ca_file = ca_file.map(|file| site.find(&file));
        Some(HandlerKind::Webhook { url, timeout, headers: headers.unwrap_or_default(), ca_file })
    }
}

fn is_web_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}
