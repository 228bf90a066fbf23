//! Every documented path, and the token that it requires: the guard and the OpenAPI description both use this table.

use axum::http::Method;

use crate::config::Scope;

/// A request's requirements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    /// The scope; `None` for the page and for login.
    pub(super) scope: Option<Scope>,
    /// Whether it requires a token that is not limited to some sources.
    pub(super) whole: bool,
    /// The part that the plan may make public.
    pub(super) public: Option<Public>,
}

/// What requires no token if `monitoring.public` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Public {
    Probes,
    Metrics,
}

impl Public {
    /// Its name in `monitoring.public`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Probes => "probes",
            Self::Metrics => "metrics",
        }
    }
}

/// One row of the table.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) need: Need,
}

const NONE: Need = Need { scope: None, whole: false, public: None };
const READ: Need = Need { scope: Some(Scope::Read), whole: false, public: None };
const READ_ALL: Need = Need { whole: true, ..READ };
const CONTROL: Need = Need { scope: Some(Scope::Control), whole: false, public: None };
const CONTROL_ALL: Need = Need { whole: true, ..CONTROL };
const PUBLISH: Need = Need { scope: Some(Scope::Publish), whole: false, public: None };
const PROBE: Need = Need { public: Some(Public::Probes), ..READ };
/// The metrics page, at whatever path: it shows every source.
pub(super) const METRICS: Need = Need { public: Some(Public::Metrics), ..READ_ALL };

const fn row(method: &'static str, path: &'static str, need: Need) -> Route {
    Route { method, path, need }
}

pub(super) const ROUTES: &[Route] = &[
    row("GET", "/livez", PROBE),
    row("GET", "/readyz", PROBE),
    row("GET", "/health", PROBE),
    row("GET", "/healthz", PROBE),
    row("GET", "/api/v1/status", READ),
    row("GET", "/api/v1/sources", READ),
    row("POST", "/api/v1/sources", CONTROL),
    row("GET", "/api/v1/sources/{source}", READ),
    row("PATCH", "/api/v1/sources/{source}", CONTROL),
    row("DELETE", "/api/v1/sources/{source}", CONTROL),
    row("POST", "/api/v1/sources/{source}/enable", CONTROL),
    row("POST", "/api/v1/sources/{source}/disable", CONTROL),
    row("POST", "/api/v1/sources/{source}/restart", CONTROL),
    row("POST", "/api/v1/sources/{source}/detections", PUBLISH),
    row("GET", "/api/v1/sources/{source}/evidence.mp4", READ),
    row("GET", "/api/v1/sources/{source}/evidence.jpg", READ),
    row("GET", "/api/v1/strategies", READ),
    row("GET", "/api/v1/plugins", READ),
    row("POST", "/api/v1/plugins/{name}/reload", CONTROL_ALL),
    row("POST", "/api/v1/plugins/{name}/promote", CONTROL_ALL),
    row("GET", "/api/v1/plugins/{name}/state", READ_ALL),
    row("DELETE", "/api/v1/plugins/{name}/state", CONTROL_ALL),
    row("GET", "/api/v1/config", READ_ALL),
    row("POST", "/api/v1/config/validate", CONTROL_ALL),
    row("POST", "/api/v1/config/diff", CONTROL_ALL),
    row("POST", "/api/v1/config/apply", CONTROL_ALL),
    row("GET", "/api/v1/profile", READ_ALL),
    row("POST", "/api/v1/profile", CONTROL_ALL),
    row("GET", "/api/v1/alerts", READ),
    row("GET", "/api/v1/silences", READ_ALL),
    row("POST", "/api/v1/silences", CONTROL_ALL),
    row("DELETE", "/api/v1/silences/{id}", CONTROL_ALL),
    row("GET", "/api/v1/alerts/{id}", READ),
    row("POST", "/api/v1/alerts/{id}/acknowledge", CONTROL),
    row("POST", "/api/v1/alerts/{id}/resolve", CONTROL),
    row("POST", "/api/v1/alerts/{id}/reopen", CONTROL),
    row("POST", "/api/v1/alerts/{id}/verdict", CONTROL),
    row("POST", "/api/v1/alerts/{id}/retry", CONTROL),
    row("GET", "/api/v1/alerts/{id}/explain", READ),
    row("GET", "/api/v1/explain", READ),
    row("GET", "/api/v1/alerts/{id}/picture.jpg", READ),
    row("GET", "/api/v1/events", READ),
    row("GET", "/api/v1/logs", READ_ALL),
    row("GET", "/api/v1/audit", READ_ALL),
    row("GET", "/api/v1/openapi.json", READ),
    row("GET", "/api/v1/session", READ),
    row("POST", "/api/v1/session", NONE),
    row("DELETE", "/api/v1/session", NONE),
    row("GET", "/live", READ),
    row("GET", "/live/{source}", READ),
    row("POST", "/whep/{source}", READ),
    row("DELETE", "/whep/{source}/{session}", READ),
    row("POST", "/whip/{source}", PUBLISH),
    row("DELETE", "/whip/{source}/{session}", PUBLISH),
    // The page contains no data, and is where a token is entered.
    row("GET", "/", NONE),
    row("GET", "/assets/{name}", NONE),
];

/// A request's requirements, by the path of its route. An unknown path requires what a page does; a route that is
/// missing in the table requires full control.
pub(super) fn need(method: &Method, route: Option<&str>, is_metrics: bool) -> Need {
    let Some(route) = route else { return if is_metrics { METRICS } else { READ } };
    // HEAD is GET without the body.
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    ROUTES.iter().find(|row| row.method == method && row.path == route).map_or(CONTROL_ALL, |row| row.need)
}
