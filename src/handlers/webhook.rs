//! Sends alerts as JSON over HTTP, with the headers of Standard Webhooks, signed where there is a key. `webhook-id` and
//! `idempotency-key` stay the same over retries, so that a receiver can drop duplicates.
//!
//! A redirect is followed only if it keeps the method and body, and stays on the same scheme, host and port. `outbound`
//! handles TLS trust, proxies and error classification. An answer counts once it is whole: one that breaks off may not
//! be the receiver's.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION,
    TRANSFER_ENCODING, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::time;
use url::Url;

use super::attached::Attached;
use super::signature::sign;
use crate::alert::{BoxFuture, Commands, DeliveryError, Handler, Retry};
use crate::config::{HttpMethod, WebhookPlan};
use crate::error::{Code, Error};
use crate::outbound::{self, Connector, Onward, Opening, Proxies};
use crate::telemetry::redact;
use crate::telemetry::redact::MASK;
use crate::types::{Alert, Clock, seconds};

/// Idle connections kept open between alerts.
const IDLE_CONNECTIONS_MAX: usize = 1;
/// Redirects followed for one alert.
const REDIRECTS_MAX: usize = 5;
/// Maximum bytes of an answer that are read; a longer one counts as whole.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Its value is the alert's id.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Sends alerts to one address.
pub struct Webhook {
    name: Arc<str>,
    /// The address is in `url`.
    plan: WebhookPlan,
    /// Without the user info, which is sent as a header.
    url: Url,
    headers: HeaderMap,
    clock: Arc<dyn Clock>,
    attached: Attached,
    proxies: Proxies,
    opening: Opening,
    client: Client<Connector, Full<Bytes>>,
}

/// The body of a request.
#[derive(Serialize)]
struct Contents<'a> {
    #[serde(flatten)]
    alert: &'a Alert,
    /// In base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    picture_jpeg: Option<String>,
}

impl Webhook {
    /// Creates a webhook; user info in its address is sent as Basic authorization. Opens no connection yet: the
    /// receiver may start later. Proxies come from the environment.
    ///
    /// # Errors
    /// [`Code::Handler`] for an invalid address or header, and for an unusable `ca_file`.
    pub fn new(name: Arc<str>, plan: &WebhookPlan, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let wrong = |what: String| Error::new(Code::Handler, format!("handler {name}: {what}"));
        let mut url = Url::parse(&plan.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && uri(url).is_some())
            .ok_or_else(|| wrong("its url is no web address".into()).hint("write url: https://host/path"))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("dsengine/", env!("CARGO_PKG_VERSION"))));
        let user = match &plan.user {
            Some((user, password)) => basic(user.as_bytes(), password.as_bytes()),
            None => basic_of(&url),
        };
        if let Some(user) = user {
            headers.insert(AUTHORIZATION, user);
        }
        // These fail only for an address without a host.
        let _ = (url.set_username(""), url.set_password(None));
        for (key, value) in &plan.headers {
            // The value may be a secret: print only the name.
            let key: HeaderName = key.parse().map_err(|_| wrong(format!("{key:?} is no header name")))?;
            let mut value: HeaderValue = value
                .parse()
                .map_err(|_| wrong(format!("the value of header {key} holds a character that is not allowed")))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let tls = outbound::tls(plan.ca_file.as_deref()).map_err(|what| {
            wrong(format!("ca_file: {what}"))
                .hint("write ca_file: certs/ca.pem, a file with `BEGIN CERTIFICATE` in it, or DER")
        })?;
        let proxies = Proxies::of(|name| std::env::var(name).ok());
        let connector = Connector::new(&tls, proxies.clone());
        let opening = connector.opening();
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(TokioTimer::new())
            .build(connector);
        let attached = Attached::default();
        Ok(Self { name, plan: plan.clone(), url, headers, clock, attached, proxies, opening, client })
    }

    /// Sends an alert, following redirects.
    async fn send(&self, alert: &Alert) -> Result<(), DeliveryError> {
        let mut to = self.url.clone();
        let body: Bytes = match &self.plan.body {
            Some(template) => template.render(alert).into(),
            None => match serde_json::to_vec(&self.contents(alert).await) {
                Ok(body) => body.into(),
                Err(error) => return Err(failed(&to, &error.to_string(), Retry::Never)),
            },
        };
        let until = time::Instant::now() + self.plan.timeout;
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.ask(&to, alert, &body, until).await?;
            if self.is_success(answer.status()) {
                return self.read_whole(&to, answer, until).await;
            }
            // The body of another answer is ignored; dropping it unread closes the connection only if there is one.
            match outbound::onward(answer.status(), answer.headers(), &to) {
                Some(Onward::To(next)) => to = next,
                Some(Onward::Refused(why)) => {
                    let message = format!("the receiver answered {}: {why}", answer.status());
                    return Err(failed(&to, &message, Retry::Never));
                }
                None => return Err(self.refusal(&to, &answer)),
            }
        }
        Err(failed(&to, &format!("the receiver sent it on more than {REDIRECTS_MAX} times"), Retry::Never))
    }

    /// The alert, with its picture if that is wanted and there.
    async fn contents<'a>(&self, alert: &'a Alert) -> Contents<'a> {
        let picture = self.attached.picture(self.plan.picture, alert).await;
        Contents { alert, picture_jpeg: picture.map(|jpeg| STANDARD.encode(jpeg)) }
    }

    /// Sends one request and waits for the response.
    async fn ask(
        &self,
        to: &Url,
        alert: &Alert,
        body: &Bytes,
        until: time::Instant,
    ) -> Result<Response<Incoming>, DeliveryError> {
        let Some(uri) = uri(to) else { return Err(failed(to, "it is sent on to no web address", Retry::Never)) };
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = match self.plan.method {
            HttpMethod::Post => Method::POST,
            HttpMethod::Put => Method::PUT,
            HttpMethod::Patch => Method::PATCH,
        };
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = self.headers_of(alert, body);
        if let Some(value) = self.proxies.authorization(&uri) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, value);
        }
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let proxy = self.proxies.name(&uri);
        self.opening.begin();
        let mut answer = std::pin::pin!(self.client.request(request));
        let (mut limit, mut answered) = (self.plan.timeout, None);
        if let Some(connect) = self.plan.connect_timeout.filter(|connect| *connect < limit) {
            let connected_by = until.min(time::Instant::now() + connect);
            answered = time::timeout_at(connected_by, &mut answer).await.ok();
            if answered.is_none() && self.opening.is_under_way() {
                limit = connect;
            }
        }
        if answered.is_none() && limit == self.plan.timeout {
            answered = time::timeout_at(until, &mut answer).await.ok();
        }
        match answered {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => {
                Err(failed(to, &outbound::of_connection(&error, &host, proxy.as_deref()), Retry::Later))
            }
            None => {
                // Checked before the request is dropped.
                let what = match (self.opening.is_under_way(), self.opening.is_heard()) {
                    (true, _) => format!("no connection to {} within {}", proxy.unwrap_or(host), seconds(limit)),
                    (false, true) => format!("it began to answer, and did not finish within {}", seconds(limit)),
                    (false, false) => format!("connected, and no answer within {}", seconds(limit)),
                };
                Err(failed(to, &what, Retry::Later))
            }
        }
    }

    /// Reads the rest of an answer that says where it ends. What it says does not matter.
    async fn read_whole(
        &self,
        to: &Url,
        answer: Response<Incoming>,
        until: time::Instant,
    ) -> Result<(), DeliveryError> {
        if ![CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| answer.headers().contains_key(name)) {
            return Ok(());
        }
        let (status, mut body) = (answer.status(), answer.into_body());
        let read = async {
            let mut bytes = 0;
            while bytes <= ANSWER_BYTES_MAX
                && let Some(frame) = body.frame().await
            {
                bytes += frame?.data_ref().map_or(0, Bytes::len);
            }
            Ok::<(), hyper::Error>(())
        };
        let what = match time::timeout_at(until, read).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(_)) => "its answer broke off in the middle".to_owned(),
            Err(_) => format!("the rest of its answer did not come within {}", seconds(self.plan.timeout)),
        };
        Err(failed(to, &format!("the receiver answered {status}, and {what}"), Retry::Later))
    }

    /// The headers of a request.
    fn headers_of(&self, alert: &Alert, body: &[u8]) -> HeaderMap {
        let (mut headers, now_s) = (self.headers.clone(), self.clock.unix_ns() / 1_000_000_000);
        let id = alert.id.as_str();
        let signatures = self.plan.signing_keys.iter().filter_map(|key| sign(key, id, now_s, body));
        let signature = Some(signatures.collect::<Vec<_>>().join(" ")).filter(|signature| !signature.is_empty());
        let own = [("webhook-id", Some(id.to_owned())), ("webhook-timestamp", Some(now_s.to_string()))];
        for (key, value) in own.into_iter().chain([("webhook-signature", signature)]) {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(HeaderName::from_static(key), value);
            }
        }
        if let (false, Ok(value)) = (headers.contains_key(IDEMPOTENCY_KEY), HeaderValue::try_from(id)) {
            headers.insert(IDEMPOTENCY_KEY, value);
        }
        headers
    }

    /// Whether an answer means that the alert is delivered.
    fn is_success(&self, status: StatusCode) -> bool {
        if self.plan.success.is_empty() { status.is_success() } else { self.plan.success.contains(&status.as_u16()) }
    }

    /// The error of an answer that is no success.
    fn refusal(&self, to: &Url, answer: &Response<Incoming>) -> DeliveryError {
        let status = answer.status();
        let retry = match status.as_u16() {
            429 | 503 => match outbound::patience(answer.headers(), self.clock.unix_ns()) {
                Some(patience) => Retry::After(patience),
                None => Retry::Later,
            },
            401 | 403 | 407 => Retry::Login,
            408 | 425 => Retry::Later,
            400..=499 => Retry::Never,
            _ => Retry::Later,
        };
        let patience = match retry {
            Retry::After(patience) => format!(", and asks to wait {} s", patience.as_secs()),
            _ => String::new(),
        };
        if status.is_success() {
            return failed(to, &format!("the receiver answered {status}, which is none of its success_codes"), retry);
        }
        let who = if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED { "the proxy" } else { "the receiver" };
        let remedy = match (status, &self.plan.user) {
            (StatusCode::UNAUTHORIZED, Some(_)) => ": it knows no such user or password; check config.auth",
            _ => outbound::of_status(status),
        };
        failed(to, &format!("{who} answered {status}{remedy}{patience}"), retry)
    }
}

/// A delivery error. It masks the address's path, which may itself be a secret.
fn failed(to: &Url, what: &str, retry: Retry) -> DeliveryError {
    let port = to.port().map(|port| format!(":{port}")).unwrap_or_default();
    let shown = format!("{}://{}{port}/{MASK}", to.scheme(), to.host_str().unwrap_or_default());
    DeliveryError { message: format!("{shown}: {}", redact(what)), retry }
}

/// The request URI: the address without user info and fragment.
fn uri(url: &Url) -> Option<Uri> {
    let mut bare = url.clone();
    bare.set_fragment(None);
    // These fail only for an address without a host.
    let _ = (bare.set_username(""), bare.set_password(None));
    bare.as_str().parse().ok()
}

/// An address's user info as Basic authorization.
fn basic_of(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    basic(&decoded(url.username()), &decoded(url.password().unwrap_or_default()))
}

/// A user and a password as Basic authorization.
fn basic(user: &[u8], password: &[u8]) -> Option<HeaderValue> {
    let mut value =
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode([user, b":", password].concat()))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Handler for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    /// The request has its own timeout.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    fn attach(&self, commands: Commands) {
        self.attached.attach(&commands);
    }

    fn attempts(&self) -> Option<u32> {
        self.plan.attempts
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(self.send(alert))
    }
}
