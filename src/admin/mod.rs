//! HTTP: metrics, health, the API, the page and live pictures. Uses the engine's [`EngineApi`], and its [`Control`] for
//! changes.
//!
//! | path | what |
//! |---|---|
//! | `/livez` | 200 while the process answers; depends on no source |
//! | `/readyz` | 200 while at least one source delivers frames, else 503 with the reason |
//! | `/health`, `/healthz` | JSON; 200 when healthy or degraded, 503 when unhealthy |
//! | `monitoring.prometheus.path` | metrics |
//! | `/api/v1/…` | the API, described at `/api/v1/openapi.json` |
//! | `/live/SOURCE`, `/live` | live pictures of one source (MJPEG), of all |
//! | `/whip/SOURCE` | publishing to a source over WebRTC (WHIP) |
//! | `/whep/SOURCE` | watching a source over WebRTC (WHEP) |
//! | `/` | the page |
//!
//! Every request passes `same_origin` (host, origin, caller) first; `routes` has what each requires, and `access`
//! checks it. Nothing here waits for a lane or a script, so it responds while a script hangs; calls that wait for a
//! change run in `work`.

mod access;
mod api;
mod connections;
mod error;
mod follow;
mod health;
mod history;
mod listen;
mod live;
mod openapi;
mod page;
mod refused;
mod request;
mod routes;
mod same_origin;
mod session;
mod streams;
mod webrtc;
mod work;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{delete, get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::{runtime, time};

pub use follow::LogPort;
pub use streams::{STREAMS_MAX, STREAMS_PER_TOKEN_MAX};

use access::{Access, Caller};
use error::ApiError;
use history::History;
use listen::PORT_KEY;
use refused::Refused;
use session::Sessions;
use streams::Streams;
use work::Work;

use crate::config::AdminPlan;
use crate::control::Control;
use crate::engine::{EngineApi, SystemClock};
use crate::error::Error;
use crate::telemetry::log::Tail;

/// A client that reads nothing for this long is dropped, so that it does not occupy a stream slot forever.
const CLIENT_STALL_MAX: Duration = Duration::from_secs(10);

/// The listener. Dropping it stops it.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    settings: Settings,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    history: JoinHandle<()>,
}

/// The listener's settings that can change while it runs: tokens, hosts, what is public, the metrics page.
#[derive(Clone)]
pub struct Settings {
    bound: IpAddr,
    access: Arc<watch::Sender<Arc<Access>>>,
}

/// The state shared by all endpoints.
#[derive(Clone)]
struct AppState {
    board: Arc<dyn EngineApi>,
    /// `None` in an embedder's engine, which has no changeable configuration.
    control: Option<Arc<Control>>,
    access: watch::Receiver<Arc<Access>>,
    sessions: Arc<Sessions>,
    /// The session cookie's name: engines on one host share its cookies.
    cookie: Arc<str>,
    streams: Arc<Streams>,
    refused: Arc<Refused>,
    work: Work,
    history: Arc<History>,
    /// `None` if no log stream is served.
    logs: Option<Arc<Tail>>,
    stop: watch::Receiver<bool>,
}

impl AppState {
    fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.borrow())
    }

    /// The control of the configuration.
    ///
    /// # Errors
    /// 409 if there is none.
    fn control(&self) -> Result<Arc<Control>, ApiError> {
        self.control.clone().ok_or_else(ApiError::no_control)
    }

    /// Waits until a stream of this caller must end: on shutdown, or when its token is removed or changed.
    async fn over(&self, caller: &Caller) {
        let (mut stop, mut access) = (self.stop.clone(), self.access.clone());
        // An error means that the sender is gone: over as well.
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            _ = access.wait_for(|access| !access.still_allows(caller)) => {}
        }
    }
}

/// The port, bound before the engine is ready: clients that connect meanwhile wait.
#[derive(Debug)]
pub struct Port {
    listener: std::net::TcpListener,
    address: SocketAddr,
    logs: Option<Arc<Tail>>,
}

impl Port {
    /// Binds the plan's address and port; port 0 binds any free one.
    ///
    /// # Errors
    /// [`crate::error::Code::Listen`] when it is not available; names the process that holds it if `/proc` shows it.
    pub fn take(plan: &AdminPlan) -> Result<Self, Error> {
        let (listener, address) = listen::on(SocketAddr::new(plan.listen, plan.port), PORT_KEY)?;
        Ok(Self { listener, address, logs: None })
    }

    /// Serves this log at `/api/v1/logs`; without it, the response is 409.
    #[must_use]
    pub fn with_log(self, tail: Arc<Tail>) -> Self {
        Self { logs: Some(tail), ..self }
    }
}

/// Binds the plan's port and serves until stopped. The API cannot change anything: see [`serve_at`].
///
/// # Errors
/// As [`Port::take`].
pub fn serve(runtime: &runtime::Handle, plan: &AdminPlan, board: Arc<dyn EngineApi>) -> Result<Admin, Error> {
    serve_at(Port::take(plan)?, runtime, plan, board, None)
}

/// Serves at a bound port until stopped. Without `control`, changes get 409. The caller must also pass applied plans to
/// [`Admin::settings`].
///
/// # Errors
/// [`crate::error::Code::Listen`] when the runtime cannot use the port.
pub fn serve_at(
    port: Port,
    runtime: &runtime::Handle,
    plan: &AdminPlan,
    board: Arc<dyn EngineApi>,
    control: Option<Arc<Control>>,
) -> Result<Admin, Error> {
    let Port { listener, address, logs } = port;
    let (stop, stopped) = watch::channel(false);
    let (sender, access) = watch::channel(Arc::new(Access::new(plan, address.ip())));
    let app = AppState {
        board,
        control,
        access,
        sessions: Arc::default(),
        cookie: format!("dsengine-{}", address.port()).into(),
        streams: Streams::new(),
        refused: Arc::default(),
        work: Work::new(),
        history: Arc::default(),
        logs,
        stop: stopped.clone(),
    };
    let _in_runtime = runtime.enter();
    let listener = TcpListener::from_std(listener).map_err(|error| listen::cannot(address, &error, PORT_KEY))?;
    let (board, history, until) = (Arc::clone(&app.board), Arc::clone(&app.history), stopped.clone());
    let history = runtime.spawn(async move { history.keep(&*board, &SystemClock::new(), until).await });
    let serving = runtime.spawn(connections::serve(listener, router(app), stopped));
    let settings = Settings { bound: address.ip(), access: Arc::new(sender) };
    Ok(Admin { address, settings, stop, serving, history })
}

/// The endpoints. `routes` has what each requires.
fn router(app: AppState) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/health", get(health::health))
        .route("/healthz", get(health::healthz))
        .merge(api_router())
        .route("/live", get(live::all))
        .route("/live/{source}", get(live::one))
        .route("/whip/{source}", webrtc::open(post(webrtc::publish)))
        .route("/whip/{source}/{session}", delete(webrtc::unpublish))
        .route("/whep/{source}", webrtc::open(post(webrtc::watch)))
        .route("/whep/{source}/{session}", delete(webrtc::unwatch))
        .route("/", get(page::index))
        .route("/assets/{name}", get(page::asset))
        // The metrics page has a configured path, any but those above.
        .fallback(get(health::metrics_or_not_found))
        .method_not_allowed_fallback(async || ApiError::method())
        .layer(DefaultBodyLimit::max(request::BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(app.clone(), same_origin::check))
        .with_state(app)
}

fn api_router() -> Router<AppState> {
    use api::{
        alerts, audit, config, detections, events, evidence, explain, logs, pictures, plugins, profile, retry, session,
        silences, sources, status,
    };
    Router::new()
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/sources", get(sources::list).post(sources::add))
        .route("/api/v1/sources/{source}", get(sources::get).patch(sources::change).delete(sources::remove))
        .route("/api/v1/sources/{source}/enable", post(sources::enable))
        .route("/api/v1/sources/{source}/disable", post(sources::disable))
        .route("/api/v1/sources/{source}/restart", post(sources::restart))
        .route("/api/v1/sources/{source}/detections", post(detections::publish))
        .route("/api/v1/sources/{source}/evidence.mp4", get(evidence::clip))
        .route("/api/v1/sources/{source}/evidence.jpg", get(evidence::picture))
        .route("/api/v1/strategies", get(status::strategies))
        .route("/api/v1/plugins", get(plugins::list))
        .route("/api/v1/plugins/{name}/reload", post(plugins::reload))
        .route("/api/v1/plugins/{name}/promote", post(plugins::promote))
        .route("/api/v1/plugins/{name}/state", get(plugins::state).delete(plugins::clear_state))
        .route("/api/v1/config", get(config::get))
        .route("/api/v1/config/validate", post(config::validate))
        .route("/api/v1/config/diff", post(config::diff))
        .route("/api/v1/config/apply", post(config::apply_patch))
        .route("/api/v1/profile", get(profile::profile).post(profile::switch))
        .route("/api/v1/alerts", get(alerts::alerts))
        .route("/api/v1/silences", get(silences::list).post(silences::add))
        .route("/api/v1/silences/{id}", delete(silences::end))
        .route("/api/v1/alerts/{id}", get(alerts::alert))
        .route("/api/v1/alerts/{id}/acknowledge", post(alerts::acknowledge))
        .route("/api/v1/alerts/{id}/resolve", post(alerts::resolve))
        .route("/api/v1/alerts/{id}/reopen", post(alerts::reopen))
        .route("/api/v1/alerts/{id}/verdict", post(alerts::verdict))
        .route("/api/v1/alerts/{id}/retry", post(retry::retry))
        .route("/api/v1/alerts/{id}/explain", get(explain::alert))
        .route("/api/v1/explain", get(explain::source))
        .route("/api/v1/alerts/{id}/picture.jpg", get(pictures::picture))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/logs", get(logs::logs))
        .route("/api/v1/audit", get(audit::audit))
        .route("/api/v1/session", get(session::show).post(session::open).delete(session::close))
        .route("/api/v1/openapi.json", get(openapi::openapi))
}

impl Settings {
    /// Applies the plan's tokens, hosts, public pages and metrics page. Ends streams whose token was removed or
    /// changed. The address and the port stay.
    pub fn set(&self, plan: &AdminPlan) {
        self.access.send_replace(Arc::new(Access::new(plan, self.bound)));
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("bound", &self.bound).finish_non_exhaustive()
    }
}

impl Admin {
    /// The listening address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page's URL; on this machine's loopback where it listens on every address.
    pub fn url(&self) -> String {
        let mut address = self.address;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        format!("http://{address}/")
    }

    /// Its changeable settings, for the code that applies plans.
    pub fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// See [`Settings::set`].
    pub fn set_plan(&self, plan: &AdminPlan) {
        self.settings.set(plan);
    }

    /// Ends streams, finishes requests, and frees the port; stops waiting after `deadline`.
    pub async fn stop(mut self, deadline: Duration) {
        self.stop.send_replace(true);
        // On timeout or failure the drop below ends it.
        let _ = time::timeout(deadline, &mut self.serving).await;
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.serving.abort();
        self.history.abort();
    }
}
