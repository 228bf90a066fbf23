//! The requests of a WebRTC source to its server: an offer, and the end of a session.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::sdp::SDP_BYTES_MAX;
use crate::backend::Failure;
use crate::config::Whep;
use crate::outbound;
use crate::own::Stop;

/// Longest wait for the answer to an offer: the server gathers its addresses first.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the end of a session.
const END_MAX: Duration = Duration::from_secs(1);
/// How often the request looks whether the source ends.
const TICK: Duration = Duration::from_millis(50);

/// A request to the server.
pub(super) struct Call {
    method: Method,
    url: url::Url,
    token: Option<String>,
    body: String,
    peer: String,
}

/// The server's answer.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) phrase: String,
    pub(super) location: Option<String>,
    pub(super) body: String,
}

impl Call {
    /// An offer.
    pub(super) fn post(server: &Whep, offer: String) -> Self {
        let (url, token, peer) = (server.url.clone(), server.token.clone(), server.peer());
        Self { method: Method::POST, url, token, body: offer, peer }
    }

    /// The end of a session.
    pub(super) fn delete(server: &Whep, session: url::Url) -> Self {
        let (token, peer) = (server.token.clone(), server.peer());
        Self { method: Method::DELETE, url: session, token, body: String::new(), peer }
    }
}

/// Sends an offer; ends early when the source does.
pub(super) fn ask(call: &Call, stop: &Stop) -> Result<Answered, Failure> {
    let stopped = async {
        while !stop.requested() {
            tokio::time::sleep(TICK).await;
        }
    };
    block_on(async {
        tokio::select! {
            answer = tokio::time::timeout(ANSWER_MAX, exchange(call)) => answer.unwrap_or_else(|_| Err(silent(call))),
            () = stopped => Err(silent(call)),
        }
    })
}

/// Ends a session, without insisting.
pub(super) fn ask_briefly(call: &Call) -> Result<Answered, Failure> {
    block_on(async { tokio::time::timeout(END_MAX, exchange(call)).await.unwrap_or_else(|_| Err(silent(call))) })
}

fn silent(call: &Call) -> Failure {
    format!("{} does not answer the offer", call.peer).into()
}

/// A runtime for one request: the calling thread is its own.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(format!("no runtime for its request: {error}").into()),
    }
}

async fn exchange(call: &Call) -> Result<Answered, Failure> {
    let tls = outbound::tls(None)?;
    let connector: HttpsConnector<HttpConnector> =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let uri: Uri = call.url.as_str().parse().map_err(|_| "its address cannot be read")?;
    let mut request = Request::new(Full::new(Bytes::from(call.body.clone())));
    (*request.method_mut(), *request.uri_mut()) = (call.method.clone(), uri);
    if call.method == Method::POST {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/sdp"));
    }
    if let Some(token) = &call.token {
        let mut value =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| "parameters.token cannot be sent")?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let answer = client.request(request).await;
    let answer = answer.map_err(|error| outbound::of_connection(&error, &call.peer, None))?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, SDP_BYTES_MAX).collect().await;
    let body = body.map_err(|_| format!("{}: its answer broke off, or is too long", call.peer))?.to_bytes();
    let location = parts.headers.get(LOCATION).and_then(|place| place.to_str().ok()).map(str::to_owned);
    let phrase = parts.status.canonical_reason().unwrap_or_default().to_owned();
    Ok(Answered { status: parts.status.as_u16(), phrase, location, body: String::from_utf8_lossy(&body).into_owned() })
}
