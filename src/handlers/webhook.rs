//! Alerts as HTTP POSTs of their JSON, with the headers of Standard Webhooks (`webhook-id` is constant over retries, so
//! that a receiver can drop repeats).
//!
//! Redirects are not followed: an alert goes where the config says. TLS is rustls with the web's root certificates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time;

use crate::alert::{BoxFuture, DeliveryError, Handler, Retry};
use crate::error::{Code, Error};
use crate::telemetry::redact;
use crate::telemetry::redact::MASK;
use crate::types::{Alert, Clock};

/// Connections kept open between alerts.
const IDLE_CONNECTIONS_MAX: usize = 1;

/// Posts alerts to one address.
pub struct Webhook {
    name: Arc<str>,
    uri: Uri,
    /// The address without its path, which is a secret by itself: whoever knows it may post.
    shown: String,
    timeout: Duration,
    headers: HeaderMap,
    clock: Arc<dyn Clock>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Webhook {
    /// A webhook to `url`. Opens no connection yet: the receiver may come later.
    ///
    /// # Errors
    /// [`Code::Handler`] for an address or header that is none.
    pub fn new(
        name: Arc<str>,
        url: &str,
        timeout: Duration,
        extra: &BTreeMap<String, String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let wrong = |what: String| Error::new(Code::Handler, format!("handler {name}: {what}"));
        let uri: Uri = url
            .parse()
            .ok()
            .filter(|uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
            .ok_or_else(|| wrong("its url is no web address".into()).hint("write url: https://host/path"))?;
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        let shown =
            format!("{}://{}{port}/{MASK}", uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("dsengine/", env!("CARGO_PKG_VERSION"))));
        for (key, value) in extra {
            // The value may be a secret: only the name is printed.
            let key: HeaderName = key.parse().map_err(|_| wrong(format!("{key:?} is no header name")))?;
            let mut value: HeaderValue = value
                .parse()
                .map_err(|_| wrong(format!("the value of header {key} holds a character that is not allowed")))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let connector = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { name, uri, shown, timeout, headers, clock, client })
    }

    async fn post(&self, alert: &Alert) -> Result<(), DeliveryError> {
        let failed = |what: String, retry| {
            let message = format!("{}: {}", self.shown, redact(&what));
            Err(DeliveryError { message, retry })
        };
        let body = match serde_json::to_vec(alert) {
            Ok(body) => body,
            Err(error) => return failed(error.to_string(), Retry::Never),
        };
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
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
        let answer = match time::timeout(self.timeout, self.client.request(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return failed(causes(&error), Retry::Later),
            Err(_) => return failed(format!("no answer within {:?}", self.timeout), Retry::Later),
        };
        // The body is of no interest; dropping it unread costs the connection only if there is one.
        match verdict(answer.status()) {
            None => Ok(()),
            Some(retry) => failed(format!("the receiver answered {}", answer.status()), retry),
        }
    }
}

/// Whether a status means another try; `None` = delivered.
fn verdict(status: StatusCode) -> Option<Retry> {
    match status.as_u16() {
        200..=299 => None,
        408 | 425 | 429 => Some(Retry::Later),
        400..=499 => Some(Retry::Never),
        _ => Some(Retry::Later),
    }
}

/// The error with what is behind it: "client error (Connect)" alone tells nobody anything.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

impl Handler for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    /// The request has its own.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(self.post(alert))
    }
}
