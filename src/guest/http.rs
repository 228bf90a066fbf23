//! HTTP requests of guests: to granted hosts only, to addresses outside this machine and its management network,
//! without redirects, bounded in time and size.
//!
//! The URL's host must match a grant exactly; an entry with a scheme allows that scheme only, and a secret is sent over
//! plain http only if an entry names that scheme. Names are resolved here, and addresses of this machine or its
//! management network (loopback, link-local, cloud metadata, unspecified, multicast) are dropped unless the grants list
//! that address itself; so a name that points at 127.0.0.1 reaches nothing. Redirects are returned as responses.
//! Secrets are substituted on the host's side, and exact copies of them are masked in everything returned: failures,
//! headers, body.

mod inside;
mod secret;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;

use self::inside::is_inside;
use self::secret::{OPEN, fill, masked, named_hosts, secrets, writes_host};
use super::Grants;
use crate::outbound;
use crate::telemetry::redact::{MASK, redact};

/// Allowed methods.
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
/// Maximum length of a URL, header name or header value.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// Maximum number of headers in a request.
const HEADERS_MAX: usize = 64;
/// Maximum size of a request body.
const BODY_BYTES_MAX: usize = 1 << 20;

/// An HTTP request of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// An absolute URL, `https` or `http`. `${secret:NAME}` in it and in header values is substituted.
    pub url: String,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Timeout for the whole response.
    pub timeout: Duration,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status, 100..599.
    pub status: u16,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The host is not granted, or is a denied address.
    #[error("{0}")]
    Denied(String),
    /// The host's name currently resolves to denied addresses only.
    #[error("{0}")]
    Inside(String),
    /// The URL, method or a header is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The peer could not be reached or closed the connection.
    #[error("{0}")]
    Unreachable(String),
    /// The request timed out.
    #[error("no answer in time")]
    Timeout,
    /// The response was too large; holds the limit in bytes.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(u64),
}

/// Sends requests for guests: the real [`Web`], or a test double.
pub trait Wire: Send + Sync {
    /// Sends a request and waits for its response; call it from a thread that may block.
    ///
    /// # Errors
    /// A [`Failure`] with the reason.
    fn send(&self, request: Request, grants: &Grants, response_bytes: usize) -> Result<Response, Failure>;
}

/// The network client for guests. One per engine.
pub struct Web {
    runtime: tokio::runtime::Handle,
    /// The TLS configuration, loaded by the first request.
    tls: OnceLock<Result<ClientConfig, String>>,
}

impl Web {
    /// Requests run on `runtime`; the calling thread blocks.
    pub fn new(runtime: tokio::runtime::Handle) -> Arc<Self> {
        Arc::new(Self { runtime, tls: OnceLock::new() })
    }
}

impl Wire for Web {
    fn send(&self, request: Request, grants: &Grants, response_bytes: usize) -> Result<Response, Failure> {
        let Checked { request, timeout, inside } = check(request, grants)?;
        let tls = self.tls.get_or_init(|| outbound::tls(None)).clone().map_err(Failure::Unreachable)?;
        let work = async {
            match tokio::time::timeout(timeout, exchange(request, inside, response_bytes, tls)).await {
                Ok(answer) => answer,
                Err(_) => Err(Failure::Timeout),
            }
        };
        let answer = self.runtime.block_on(work);
        answer.map(|answer| clean(answer, grants)).map_err(|failure| hide(failure, grants))
    }
}

/// Checks whether a request may be sent with these grants: for a [`Wire`] that replaces the network.
///
/// # Errors
/// The [`Failure`] that [`Web`] would return.
pub fn admit(request: &Request, grants: &Grants) -> Result<(), Failure> {
    check(request.clone(), grants).map(drop).map_err(|failure| hide(failure, grants))
}

/// A request that passed the checks.
struct Checked {
    request: hyper::Request<Full<Bytes>>,
    timeout: Duration,
    /// Whether the grants list an internal address itself.
    inside: bool,
}

/// Checks a request against the grants and substitutes secrets.
fn check(request: Request, grants: &Grants) -> Result<Checked, Failure> {
    let Request { method, url, headers, body, timeout } = request;
    let invalid = |what: String| Failure::Invalid(what);
    let method = METHODS
        .into_iter()
        .find(|known| known.as_str() == method)
        .ok_or_else(|| invalid(format!("'{method}' is none of GET, POST, PUT, PATCH, DELETE")))?;
    if url.len() > TEXT_BYTES_MAX || headers.len() > HEADERS_MAX || body.len() > BODY_BYTES_MAX {
        return Err(invalid(format!(
            "the request is too large: at most {TEXT_BYTES_MAX} bytes of URL, {HEADERS_MAX} headers, {BODY_BYTES_MAX} bytes of body"
        )));
    }
    // Secrets are allowed in path, query and headers only; in the host they would choose the destination, and leak into
    // messages that name it.
    if url.contains(OPEN) && !writes_host(&url) {
        return Err(invalid(format!("a secret stands in the URL's host: write it out, https://host/{OPEN}NAME}}")));
    }
    let has_secret = url.contains(OPEN) || headers.iter().any(|(_, value)| value.contains(OPEN));
    let parse = |url: &str| url::Url::parse(url).map_err(|e| invalid(format!("the URL is none: {e}")));
    let hosts = named_hosts(&parse(&url)?);
    let parsed = parse(&fill(&url, grants, &hosts)?)?;
    if named_hosts(&parsed) != hosts {
        return Err(invalid("a secret changes the URL's host".into()));
    }
    let host = parsed.host_str().unwrap_or_default().to_owned();
    if !matches!(parsed.scheme(), "http" | "https") || host.is_empty() {
        return Err(invalid("the URL is none: write https://host/path".into()));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(invalid("the URL holds a user name: send an Authorization header instead".into()));
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = parsed.port_or_known_default().unwrap_or(0);
    let with_port = format!("{host}:{port}");
    let allows = |entry: &str| {
        let (scheme, entry) = split_scheme(entry);
        scheme.is_none_or(|scheme| scheme == parsed.scheme())
            && (entry == with_port || (parsed.port().is_none() && (entry == host || entry == bare)))
    };
    let named = if parsed.port().is_some() { &with_port } else { &host };
    let mut listed = grants.has.http.iter().filter(|entry| allows(entry)).peekable();
    if listed.peek().is_none() {
        return Err(Failure::Denied(denied(named, &host, grants)));
    }
    if has_secret && parsed.scheme() == "http" && !listed.any(|entry| split_scheme(entry).0 == Some("http")) {
        return Err(Failure::Denied(format!(
            "a secret would be sent to {named} in clear: write https://, or grant it as such: http: ['http://{named}']"
        )));
    }
    let inside = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(is_inside);
    let uri: Uri = parsed.as_str().parse().map_err(|_| invalid("the URL is none".into()))?;
    let mut out = hyper::Request::new(Full::new(Bytes::from(body)));
    (*out.method_mut(), *out.uri_mut()) = (method, uri);
    let agent = HeaderValue::from_static(concat!("dsengine/", env!("CARGO_PKG_VERSION")));
    out.headers_mut().insert(USER_AGENT, agent);
    for (name, value) in headers {
        let key: HeaderName = name.parse().map_err(|_| invalid(format!("{name:?} is no header name")))?;
        if matches!(key.as_str(), "host" | "connection" | "transfer-encoding" | "content-length" | "upgrade" | "te") {
            return Err(invalid(format!("the header {key} is the host's own")));
        }
        let value = fill(&value, grants, &hosts)?;
        let mut value: HeaderValue = value
            .parse()
            .map_err(|_| invalid(format!("the value of header {key} holds a character that is not allowed")))?;
        value.set_sensitive(true);
        out.headers_mut().append(key, value);
    }
    Ok(Checked { request: out, timeout, inside })
}

/// Says why requests to `named`, which is `host` with its port if the URL has one, are not granted.
fn denied(named: &str, host: &str, grants: &Grants) -> String {
    let is_in = |entries: &[String], named: &str| entries.iter().any(|entry| split_scheme(entry).1 == named);
    if is_in(&grants.unasked_hosts, named) {
        return format!(
            "requests to {named} are granted but not requested, so not available: ask with `---@needs http {named}` or in \
             plugin.toml"
        );
    }
    if named != host && is_in(&grants.has.http, host) {
        return format!(
            "requests to {named} are not granted: without a port {host} is its usual one; write {named} both in the \
             request (`---@needs http {named}`, or [needs] of plugin.toml) and in the grant"
        );
    }
    format!("requests to {named} are not granted")
}

/// Splits an entry into its scheme, if it has one, and the rest.
fn split_scheme(entry: &str) -> (Option<&str>, &str) {
    entry.split_once("://").map_or((None, entry), |(scheme, host)| (Some(scheme), host))
}

/// Masks secrets that the peer returns. One pass over the bytes per secret.
fn clean(mut answer: Response, grants: &Grants) -> Response {
    for secret in secrets(grants) {
        for (_, value) in answer.headers.iter_mut().filter(|(_, value)| value.contains(secret)) {
            *value = value.replace(secret, MASK);
        }
        answer.body = masked(answer.body, secret.as_bytes());
    }
    answer
}

/// Masks secrets in a failure.
fn hide(failure: Failure, grants: &Grants) -> Failure {
    let clean = |text: String| {
        let text = secrets(grants).into_iter().fold(text, |text, secret| text.replace(secret, MASK));
        redact(&text).into_owned()
    };
    match failure {
        Failure::Denied(text) => Failure::Denied(clean(text)),
        Failure::Inside(text) => Failure::Inside(clean(text)),
        Failure::Invalid(text) => Failure::Invalid(clean(text)),
        Failure::Unreachable(text) => Failure::Unreachable(clean(text)),
        other => other,
    }
}

async fn exchange(
    request: hyper::Request<Full<Bytes>>,
    inside: bool,
    response_bytes: usize,
    tls: ClientConfig,
) -> Result<Response, Failure> {
    let mut http = HttpConnector::new_with_resolver(Resolver { inside });
    http.enforce_http(false);
    let connector: HttpsConnector<HttpConnector<Resolver>> =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let answer = client.request(request).await.map_err(|error| unreachable(&error, &host))?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, response_bytes).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            Failure::TooLarge(response_bytes as u64)
        } else {
            Failure::Unreachable(format!("the answer broke off: {error}"))
        }
    })?;
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    Ok(Response { status: parts.status.as_u16(), headers, body: body.to_bytes().to_vec() })
}

/// Converts an error, with its cause.
fn unreachable(error: &(dyn std::error::Error + 'static), host: &str) -> Failure {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return Failure::Inside(refused.to_string());
        }
        // An `io::Error`'s `source` is its inner error's source, not the inner error.
        if let Some(refused) =
            cause.downcast_ref::<std::io::Error>().and_then(|e| e.get_ref()).and_then(|e| e.downcast_ref::<Refused>())
        {
            return Failure::Inside(refused.to_string());
        }
        next = cause.source();
    }
    Failure::Unreachable(outbound::of_connection(error, host, None))
}

/// Every address of a name is internal.
#[derive(Debug, thiserror::Error)]
#[error("{0} has only addresses inside this machine or its network, which are not granted")]
struct Refused(String);

/// Resolves names on the runtime's threads and drops denied addresses.
#[derive(Clone)]
struct Resolver {
    inside: bool,
}

impl tower_service::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let inside = self.inside;
        Box::pin(async move {
            // Port 0: the connector sets the actual port.
            let all: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let open: Vec<SocketAddr> = all.into_iter().filter(|a| inside || !is_inside(a.ip())).collect();
            if open.is_empty() {
                return Err(std::io::Error::other(Refused(name.as_str().to_owned())));
            }
            Ok(open.into_iter())
        })
    }
}

#[cfg(test)]
mod tests;
