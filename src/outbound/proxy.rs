//! Connects directly, or through the proxy that the environment names.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::ClientConfig;
use tower_service::Service;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The environment's proxies: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, except for hosts in `NO_PROXY`. Upper and lower
/// case are both read; empty counts as unset.
#[derive(Clone)]
pub struct Proxies(Arc<Matcher>);

impl Proxies {
    /// Reads an environment's proxies.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| {
            let names = [name.to_ascii_uppercase(), name.to_owned()];
            names.iter().find_map(|name| variable(name).filter(|value| !value.trim().is_empty())).unwrap_or_default()
        };
        let no = value("no_proxy");
        if no.split(',').any(|entry| entry.trim() == "*") {
            // The matcher does not treat `*` as a wildcard.
            return Self(Arc::new(Matcher::builder().build()));
        }
        let builder = Matcher::builder().all(value("all_proxy")).http(value("http_proxy"));
        Self(Arc::new(builder.https(value("https_proxy")).no(no).build()))
    }

    /// The proxy for an address.
    fn on_the_way(&self, to: &Uri) -> Option<Intercept> {
        self.0.intercept(to)
    }

    /// The authorization header for a proxied request that is not tunnelled (plain HTTP).
    pub fn authorization(&self, to: &Uri) -> Option<HeaderValue> {
        let proxy = self.on_the_way(to).filter(|_| to.scheme_str() == Some("http"))?;
        proxy.basic_auth().cloned()
    }

    /// Host and port of the proxy for an address.
    pub fn name(&self, to: &Uri) -> Option<String> {
        let proxy = self.on_the_way(to)?;
        let host = proxy.uri().host()?.to_owned();
        Some(proxy.uri().port().map_or(host.clone(), |port| format!("{host}:{port}")))
    }
}

/// Opens connections, through a proxy where one is configured.
#[derive(Clone)]
pub struct Connector {
    direct: HttpsConnector<HttpConnector>,
    tls: Arc<ClientConfig>,
    proxies: Proxies,
    opening: Opening,
}

/// Counts connections being opened, and notes whether a peer says something, to tell connect timeouts from response
/// timeouts.
#[derive(Clone, Default)]
pub struct Opening(Arc<Progress>);

#[derive(Default)]
struct Progress {
    opening: AtomicUsize,
    heard: AtomicBool,
}

impl Opening {
    /// Whether a connection is being opened.
    pub fn is_under_way(&self) -> bool {
        self.0.opening.load(Ordering::Relaxed) > 0
    }

    /// A request begins: nothing has been said to it yet.
    pub fn begin(&self) {
        self.0.heard.store(false, Ordering::Relaxed);
    }

    /// Whether a peer has said something since the request began.
    pub fn is_heard(&self) -> bool {
        self.0.heard.load(Ordering::Relaxed)
    }
}

/// A guard for one connection being opened.
struct Open(Opening);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.opening.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connector {
    /// Creates a connector with this trust and these proxies.
    pub fn new(tls: &ClientConfig, proxies: Proxies) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let mut alpn = tls.clone();
        alpn.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = Arc::new(alpn);
        Self { direct: HttpsConnector::from((http, Arc::clone(&tls))), tls, proxies, opening: Opening::default() }
    }

    /// The connector's counter of connections being opened.
    pub fn opening(&self) -> Opening {
        self.opening.clone()
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        self.opening.0.opening.fetch_add(1, Ordering::Relaxed);
        let (opening, open) = (self.opening.clone(), Open(self.opening.clone()));
        let (mut direct, tls, proxy) = (self.direct.clone(), Arc::clone(&self.tls), self.proxies.on_the_way(&to));
        Box::pin(async move {
            let _open = open;
            let Some(proxy) = proxy else {
                return Ok(Stream { io: Box::new(direct.call(to).await?), asks_proxy: false, opening });
            };
            if !matches!(proxy.uri().scheme_str(), Some("http" | "https")) {
                return Err("the proxy that the environment names is none for HTTP: write http://host:port".into());
            }
            if to.scheme_str() != Some("https") {
                let io = Box::new(direct.call(proxy.uri().clone()).await?);
                return Ok(Stream { io, asks_proxy: true, opening });
            }
            let mut tunnel = Tunnel::new(proxy.uri().clone(), direct);
            if let Some(auth) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(auth.clone());
            }
            let mut through = HttpsConnector::from((tunnel, tls));
            Ok(Stream { io: Box::new(through.call(to).await?), asks_proxy: false, opening })
        })
    }
}

/// The traits of every connection.
trait Io: Read + Write + Connection + Unpin + Send {}
impl<T: Read + Write + Connection + Unpin + Send> Io for T {}

/// A connection.
pub struct Stream {
    io: Box<dyn Io>,
    /// Requests go to the proxy in absolute form.
    asks_proxy: bool,
    opening: Opening,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.asks_proxy)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = Pin::new(&mut *self.io).poll_read(cx, buffer);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.opening.0.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut *self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }
}
