//! `webhook`: the alert as JSON over HTTP.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use crate::config::build::Site;
use crate::config::nearest::nearest;
use crate::config::plan::{BodyError, BodyTemplate, HandlerKind, HttpMethod, WebhookPlan};
use crate::config::schema::Handler;
use crate::config::warning::{Severity, Warning};

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Webhook {
    /// webhook: where alerts are posted, as JSON; mqtt: the broker, mqtt:// or mqtts://. Default none.
    /// Example: "${env:ALERT_WEBHOOK}".
    url: Option<String>,
    /// webhook: the method of the request. Default POST. Example: PUT.
    method: Option<Method>,
    /// webhook, email, mqtt: longest wait for an answer, connecting included. Default 30. Unit: seconds.
    /// Range 0.1–300. Example: 5.
    #[schemars(range(min = 0.1, max = 300))]
    timeout: Option<f64>,
    /// webhook: longest wait for the connection, at most `timeout`. Default `timeout`. Unit: seconds. Range 0.1–300.
    /// Example: 2.
    #[schemars(range(min = 0.1, max = 300))]
    connect_timeout: Option<f64>,
    /// webhook: extra headers. Default none. Example: {Authorization: "${file:/run/secrets/hook}"}.
    headers: Option<BTreeMap<String, String>>,
    /// webhook: who it logs in as (Basic authorization). Default none.
    /// Example: {username: desk, password: "${env:HOOK_PASSWORD}"}.
    auth: Option<Auth>,
    /// webhook: the body, JSON in which `{{field}}` stands for a field of the alert, or `{{alert}}` for all of it.
    /// Default the alert. Example: '{"text": "{{source}}: {{message}}", "count": {{suppressed}}}'.
    body: Option<String>,
    /// webhook: add the alert's picture as `picture_jpeg`, in base64; not with `body`. Default false. Example: true.
    include_picture: Option<bool>,
    /// webhook: the answers that count as delivered. Default 200 to 299. Range 200–599. Example: [200, 202].
    #[schemars(inner(range(min = 200, max = 599)), length(max = 100))]
    success_codes: Option<Vec<u32>>,
    /// webhook: signs each request as Standard Webhooks does; `whsec_` and the key in base64. Of two with a space in
    /// between, both sign: the new and the old one while a receiver changes. Default none.
    /// Example: "${env:HOOK_SECRET}".
    signing_secret: Option<String>,
    /// webhook, email, mqtt: authorities whose certificates are trusted beside the machine's, PEM. Default none.
    /// Example: certs/ca.pem.
    ca_file: Option<PathBuf>,
    /// webhook: attempts instead of `alerts.retry_attempts`. Default none. Range 1–100. Example: 5.
    #[schemars(range(min = 1, max = 100))]
    retry_attempts: Option<u32>,
}

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    Post,
    Put,
    Patch,
}

impl From<Method> for HttpMethod {
    fn from(method: Method) -> Self {
        match method {
            Method::Post => Self::Post,
            Method::Put => Self::Put,
            Method::Patch => Self::Patch,
        }
    }
}

/// A user and a password.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
struct Auth {
    /// The user, without a colon. Default none. Example: desk.
    username: String,
    /// The password. Default none. Example: "${env:HOOK_PASSWORD}".
    password: String,
}

impl Type for Webhook {
    const WORD: &'static str = "webhook";

    fn plan(self, handler: &Handler, path: &str, site: &mut Site<'_>) -> Option<HandlerKind> {
        let Self {
            url,
            method,
            timeout,
            connect_timeout,
            headers,
            auth,
            body,
            include_picture,
            success_codes,
            signing_secret,
            ca_file,
            retry_attempts,
        } = self;
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
        if body.is_some() && include_picture == Some(true) {
            let at = format!("{path}.config.include_picture");
            let label = "leave `body` out: the alert is sent as it is, with `picture_jpeg`";
            site.wrong(&at, "a body of one's own has no place for the picture", label);
            return None;
        }
        if ca_file.is_some() && url::Url::parse(&url).is_ok_and(|url| url.scheme() == "http") {
            let label = "write https:// in the url, or leave ca_file out";
            site.wrong_key(&format!("{path}.config.ca_file"), "`ca_file` has no effect without TLS", label);
            return None;
        }
        let success = success_codes.unwrap_or_default();
        Some(HandlerKind::Webhook(Box::new(WebhookPlan {
            method: method.unwrap_or(Method::Post).into(),
            timeout: Duration::from_secs_f64(timeout.unwrap_or(30.0)),
            connect_timeout: connect_timeout.map(Duration::from_secs_f64),
            headers: headers.unwrap_or_default(),
            user: auth.and_then(|auth| user(auth, &url, &format!("{path}.config.auth"), site)),
            body: body.and_then(|text| template(&text, &format!("{path}.config.body"), site)),
            picture: include_picture.unwrap_or_default(),
            success: success.into_iter().filter_map(|code| code.try_into().ok()).collect(),
            attempts: retry_attempts,
            signing_keys: signing_secret.map(|secrets| keys(&secrets, path, site)).unwrap_or_default(),
            ca_file: ca_file.map(|file| site.find(&file)),
            url,
        })))
    }
}

fn is_web_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The user for Basic authorization; reports one that cannot be sent.
fn user(auth: Auth, url: &str, path: &str, site: &mut Site<'_>) -> Option<(String, String)> {
    let Auth { username, password } = auth;
    let names_user = url::Url::parse(url).is_ok_and(|url| !url.username().is_empty() || url.password().is_some());
    let (message, label) = match () {
        () if names_user => ("the user is set twice", "the url names one, too: take one of them away"),
        () if username.is_empty() => ("the user has no name", "set its username, or leave auth out"),
        () if username.contains(':') => ("the user's name holds a colon", "a colon ends the name in the request"),
        () => return Some((username, password)),
    };
    site.wrong(path, message, label);
    None
}

/// The template of the body; reports what is wrong with it.
fn template(text: &str, path: &str, site: &mut Site<'_>) -> Option<BodyTemplate> {
    let error = match BodyTemplate::parse(text) {
        Ok(template) => return Some(template),
        Err(error) => error,
    };
    let label = match &error {
        BodyError::Unknown(name) => match nearest(name, BodyTemplate::fields()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the fields are {}", BodyTemplate::fields().collect::<Vec<_>>().join(", ")),
        },
        BodyError::Open => "write {{message}}; a `{{` of its own is \\u007b\\u007b".to_owned(),
        BodyError::Escaped => "take the backslash away".to_owned(),
        BodyError::Json(_) => "expected JSON such as {\"text\": \"{{message}}\"}".to_owned(),
    };
    site.wrong(path, format!("`{path}`: {error}"), label);
    None
}

/// The keys of one or more signing secrets.
fn keys(secrets: &str, path: &str, site: &mut Site<'_>) -> Vec<Vec<u8>> {
    let at = format!("{path}.config.signing_secret");
    let secrets: Vec<&str> = secrets.split_whitespace().collect();
    match secrets.is_empty() {
        true => key("", &at, site).into_iter().collect(),
        false => secrets.into_iter().filter_map(|secret| key(secret, &at, site)).collect(),
    }
}

/// The key of a signing secret; reports one that is none.
fn key(secret: &str, path: &str, site: &mut Site<'_>) -> Option<Vec<u8>> {
    let text = secret.strip_prefix("whsec_").map(|text| text.trim_end_matches('='));
    // Some write it without padding.
    let key = text.and_then(|text| STANDARD_NO_PAD.decode(text).ok()).filter(|key| !key.is_empty());
    if key.is_none() {
        let label = "expected `whsec_` and a key in base64; `openssl rand -base64 24` makes one";
        site.wrong(path, format!("`{path}` is no signing secret"), label);
    }
    key
}
