//! Connections for protocols other than HTTP: straight to the peer, over TLS if wanted.

use std::sync::Arc;

use hyper::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service as _;

use super::of_broker;

/// The traits of every connection.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Opens connections to one peer.
#[derive(Clone)]
pub struct Dialer {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl Dialer {
    /// A dialer for `host`, a name or an IP address without brackets; with `tls`, the connection is encrypted, and the
    /// peer's certificate must be for `host`.
    pub fn new(host: &str, port: u16, tls: Option<ClientConfig>) -> Self {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Self { host, port, tls: tls.map(Arc::new) }
    }

    /// `host:port`, for display.
    pub fn peer(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Opens a connection. It has no time limit of its own.
    ///
    /// # Errors
    /// Why it failed, with a remedy.
    pub async fn dial(&self) -> Result<Box<dyn Io>, String> {
        let peer = self.peer();
        // The scheme only tells the connector whether to use TLS.
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let to: Uri = format!("{scheme}://{peer}").parse().map_err(|_| format!("{peer} is no name of a machine"))?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let Some(tls) = &self.tls else {
            let stream = http.call(to).await.map_err(|error| of_broker(&error, &peer))?;
            return Ok(Box::new(stream.into_inner()));
        };
        let mut https = HttpsConnector::from((http, Arc::clone(tls)));
        let stream = https.call(to).await.map_err(|error| of_broker(&*error, &peer))?;
        Ok(Box::new(TokioIo::new(stream)))
    }
}
