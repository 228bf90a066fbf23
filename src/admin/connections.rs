//! HTTP connections: their number and their timeouts.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time;
use tower_service::Service as _;

use super::same_origin::Peer;

/// Maximum concurrent connections; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// Timeout for a request's head, also on an idle kept-alive connection.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// Timeout for data that a client does not read.
const UNREAD_WAIT_MS: u32 = 30_000;
/// Pause after a failed accept, most likely for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves until stopped; then finishes running requests. Dropping it closes all connections.
pub(super) async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut open = JoinSet::new();
    let stopped = stop.clone();
    loop {
        tokio::select! {
            (stream, peer, permit) = accept(&listener, &room) => {
                open.spawn(talk(stream, peer, permit, router.clone(), stopped.clone()));
            }
            Some(_) = open.join_next() => {}
            // An error means that the sender is gone: stop as well.
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// Accepts the next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let permit = Arc::clone(room).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // The kernel closes a connection whose client reads nothing.
                if let Err(error) = set_tcp_user_timeout(&stream, UNREAD_WAIT_MS) {
                    tracing::debug!(%error, "no time limit for what a client does not read");
                }
                return (stream, peer, permit);
            }
            // The client has closed the connection already.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection cannot be accepted");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection until its end.
async fn talk(
    stream: TcpStream,
    peer: SocketAddr,
    _permit: Option<OwnedSemaphorePermit>,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    // A router is always ready.
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    // How a connection ends does not matter here.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
