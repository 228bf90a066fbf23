//! Posts alerts as JSON over HTTP, with the headers of Standard Webhooks (`webhook-id` stays the same over retries, so
//! that a receiver can drop duplicates).
//!
//! A redirect is followed only if it keeps the method and body, and stays on the same scheme, host and port. `outbound`
//! handles TLS trust, proxies and error classification.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::time;
use url::Url;

use crate::alert::{BoxFuture, DeliveryError, Handler, Retry};
use crate::error::{Code, Error};
use crate::outbound::{self, Connector, Onward, Opening, Proxies};
use crate::telemetry::redact;
use crate::telemetry::redact::MASK;
use crate::types::{Alert, Clock, seconds};

/// Idle connections kept open between alerts.
const IDLE_CONNECTIONS_MAX: usize = 1;
/// Redirects followed for one alert.
const REDIRECTS_MAX: usize = 5;

/// Posts alerts to one address.
pub struct Webhook {
    name: Arc<str>,
    /// Without the user info, which is sent as a header.
    url: Url,
    timeout: Duration,
    headers: HeaderMap,
    clock: Arc<dyn Clock>,
    proxies: Proxies,
    opening: Opening,
    client: Client<Connector, Full<Bytes>>,
}

impl Webhook {
    /// Creates a webhook for `url`; user info in it is sent as Basic authorization. Opens no connection yet: the
    /// receiver may start later. `ca_file` holds authorities trusted in addition to the machine's; proxies come from
    /// the environment.
    ///
    /// # Errors
    /// [`Code::Handler`] for an invalid address or header, and for an unusable `ca_file`.
    pub fn new(
        name: Arc<str>,
        url: &str,
        timeout: Duration,
        extra: &BTreeMap<String, String>,
        ca_file: Option<&Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let wrong = |what: String| Error::new(Code::Handler, format!("handler {name}: {what}"));
        let mut url = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && uri(url).is_some())
            .ok_or_else(|| wrong("its url is no web address".into()).hint("write url: https://host/path"))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("dsengine/", env!("CARGO_PKG_VERSION"))));
        if let Some(user) = basic(&url) {
            headers.insert(AUTHORIZATION, user);
        }
        // These fail only for an address without a host.
        let _ = (url.set_username(""), url.set_password(None));
        for (key, value) in extra {
            // The value may be a secret: print only the name.
            let key: HeaderName = key.parse().map_err(|_| wrong(format!("{key:?} is no header name")))?;
            let mut value: HeaderValue = value
                .parse()
                .map_err(|_| wrong(format!("the value of header {key} holds a character that is not allowed")))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let tls = outbound::tls(ca_file).map_err(|what| {
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
        Ok(Self { name, url, timeout, headers, clock, proxies, opening, client })
    }

    /// Posts an alert, following redirects.
    async fn post(&self, alert: &Alert) -> Result<(), DeliveryError> {
        let mut to = self.url.clone();
        let body: Bytes = match serde_json::to_vec(alert) {
            Ok(body) => body.into(),
            Err(error) => return Err(failed(&to, &error.to_string(), Retry::Never)),
        };
        let until = time::Instant::now() + self.timeout;
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.ask(&to, alert, &body, until).await?;
            // The response body is ignored; dropping it unread closes the connection only if there is one.
            match outbound::onward(answer.status(), answer.headers(), &to) {
                Some(Onward::To(next)) => to = next,
                Some(Onward::Refused(why)) => {
                    let message = format!("the receiver answered {}: {why}", answer.status());
                    return Err(failed(&to, &message, Retry::Never));
                }
                None => return self.verdict(&to, &answer),
            }
        }
        Err(failed(&to, &format!("the receiver sent it on more than {REDIRECTS_MAX} times"), Retry::Never))
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
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        for (key, value) in [
            ("webhook-id", alert.id.to_string()),
            ("webhook-timestamp", (self.clock.unix_ns() / 1_000_000_000).to_string()),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(key), value);
            }
        }
        if let Some(value) = self.proxies.authorization(&uri) {
            headers.insert(PROXY_AUTHORIZATION, value);
        }
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let proxy = self.proxies.name(&uri);
        let mut answer = std::pin::pin!(self.client.request(request));
        match time::timeout_at(until, &mut answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failed(to, &outbound::of_connection(&error, &host, proxy.as_deref()), Retry::Later)),
            Err(_) => {
                // Checked before the request is dropped.
                let what = match self.opening.is_under_way() {
                    true => format!("no connection to {} within {}", proxy.unwrap_or(host), seconds(self.timeout)),
                    false => format!("connected, and no answer within {}", seconds(self.timeout)),
                };
                Err(failed(to, &what, Retry::Later))
            }
        }
    }

    /// Maps a response to the outcome of the delivery.
    fn verdict(&self, to: &Url, answer: &Response<Incoming>) -> Result<(), DeliveryError> {
        let status = answer.status();
        let retry = match status.as_u16() {
            200..=299 => return Ok(()),
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
        let who = if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED { "the proxy" } else { "the receiver" };
        Err(failed(to, &format!("{who} answered {status}{}{patience}", outbound::of_status(status)), retry))
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
fn basic(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut user = percent_decode_str(url.username()).collect::<Vec<u8>>();
    user.push(b':');
    user.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(user))).ok()?;
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

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(self.post(alert))
    }
}
