//! HTTP on the loopback address: metrics, health, the API, the page and live pictures. Holds the engine's [`Board`].
//!
//! | path | what |
//! |---|---|
//! | `/livez` | 200 while the process answers; depends on no source |
//! | `/readyz` | 200 while at least one source delivers frames, else 503 with the reason |
//! | `/health`, `/healthz` | JSON; 200 when healthy or degraded, 503 when unhealthy |
//! | `monitoring.prometheus.path` | metrics |
//! | `/api/v1/status`, `/api/v1/alerts`, `/api/v1/events`, `/api/v1/openapi.json` | the API |
//! | `/live/SOURCE`, `/live` | live pictures of one source (MJPEG), of all |
//! | `/` | the page |
//!
//! Nothing is asked of a lane or a script here, so it answers while a script hangs.

mod api;
mod connections;
mod door;
mod health;
mod listen;
mod live;
mod page;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::{runtime, time};

use crate::config::AdminPlan;
use crate::engine::Board;
use crate::error::Error;

/// Streams (live pictures, events) served at the same time; more are answered 503.
pub const STREAMS_MAX: usize = 64;

/// A client that takes nothing for this long is dropped, so that it does not hold one of those for ever.
const CLIENT_STALL_MAX: Duration = Duration::from_secs(10);

/// The listener. Dropping it stops it.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What every handler of a request has at hand.
#[derive(Clone)]
struct Desk {
    board: Arc<dyn Board>,
    /// Where the metrics page is; `None` where it is not served.
    metrics_path: Option<Arc<str>>,
    streams: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

/// The port, taken before there is anything to show: who comes meanwhile waits.
#[derive(Debug)]
pub struct Port {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Takes `port` on `127.0.0.1`; 0 takes any free one.
    ///
    /// # Errors
    /// [`crate::error::Code::Listen`] when it cannot be had; names the process that has it where `/proc` tells.
    pub fn take(port: u16) -> Result<Self, Error> {
        let (listener, address) = listen::on_loopback(port)?;
        Ok(Self { listener, address })
    }
}

/// Takes the plan's port and answers there until stopped.
///
/// # Errors
/// As [`Port::take`].
pub fn serve(runtime: &runtime::Handle, plan: &AdminPlan, board: Arc<dyn Board>) -> Result<Admin, Error> {
    serve_at(Port::take(plan.port)?, runtime, plan, board)
}

/// Answers at a port that was taken before, until stopped.
///
/// # Errors
/// [`crate::error::Code::Listen`] when the runtime cannot use the port.
pub fn serve_at(
    port: Port,
    runtime: &runtime::Handle,
    plan: &AdminPlan,
    board: Arc<dyn Board>,
) -> Result<Admin, Error> {
    let Port { listener, address } = port;
    let (stop, stopped) = watch::channel(false);
    let desk = Desk {
        board,
        metrics_path: plan.metrics.then(|| plan.metrics_path.as_str().into()),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        stop: stopped.clone(),
    };
    let router = Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/health", get(health::health))
        .route("/healthz", get(health::health))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/alerts", get(api::alerts))
        .route("/api/v1/events", get(api::events))
        .route("/api/v1/plugins", get(api::plugins))
        .route("/api/v1/plugins/{name}/reload", post(api::reload))
        .route("/api/v1/plugins/{name}/promote", post(api::promote))
        .route("/api/v1/openapi.json", get(api::openapi))
        .route("/live", get(live::all))
        .route("/live/{source}", get(live::one))
        .route("/", get(page::index))
        .route("/assets/{name}", get(page::asset))
        // The metrics page has a configured path, which may be any but those above.
        .fallback(get(health::metrics_or_not_found))
        .layer(middleware::from_fn(door::check))
        .with_state(desk);
    let _in_runtime = runtime.enter();
    let listener = TcpListener::from_std(listener).map_err(|error| listen::cannot(plan.port, &error))?;
    let task = runtime.spawn(connections::serve(listener, router, stopped));
    Ok(Admin { address, stop, task })
}

impl Admin {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page's address, for people.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Ends streams, lets requests finish, and frees the port; gives up waiting after `deadline`.
    pub async fn stop(mut self, deadline: Duration) {
        self.stop.send_replace(true);
        // Late or failed: the drop below ends it.
        let _ = time::timeout(deadline, &mut self.task).await;
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.task.abort();
    }
}
