//! Probes and metrics.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

use super::AppState;
use super::access::Caller;
use super::api::status::seen_by;
use super::error::ApiError;
use crate::engine::status::{Health, Status};

/// 200 while the process answers. No source, script or handler can change that.
#[utoipa::path(get, path = "/livez", responses(
    (status = 200, description = "The process answers.", content_type = "text/plain", body = String)))]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// 200 while at least one source delivers frames.
#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, description = "At least one source delivers frames.", content_type = "text/plain", body = String),
    (status = 503, description = "None does; the body says why, to who may read it.", content_type = "text/plain",
     body = String)))]
pub(super) async fn readyz(State(app): State<AppState>, caller: Caller) -> Response {
    let status = app.board.status();
    if status.ready {
        return "ok\n".into_response();
    }
    let problems = if caller.reads() { seen_by(&caller, status).problems } else { vec!["not ready".to_owned()] };
    (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n").into_response()
}

/// The whole status, 503 when unhealthy. Who may not read, and is let here because probes are public, gets it without
/// sources, strategies, handlers and problems.
#[utoipa::path(get, path = "/health", responses(
    (status = 200, description = "Healthy or degraded.", body = Status),
    (status = 503, description = "Unhealthy.", body = Status)))]
pub(super) async fn health(State(app): State<AppState>, caller: Caller) -> (StatusCode, Json<Status>) {
    let status = app.board.status();
    let code = if status.health == Health::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let shown = if caller.reads() { seen_by(&caller, status) } else { status.bare() };
    (code, Json(shown))
}

/// The same as `/health`.
#[utoipa::path(get, path = "/healthz", responses(
    (status = 200, description = "Healthy or degraded.", body = Status),
    (status = 503, description = "Unhealthy.", body = Status)))]
pub(super) async fn healthz(state: State<AppState>, caller: Caller) -> (StatusCode, Json<Status>) {
    health(state, caller).await
}

/// The metrics at their configured path; 404 for any other.
pub(super) async fn metrics_or_not_found(State(app): State<AppState>, uri: Uri) -> Response {
    if app.access().metrics_path() == Some(uri.path()) {
        let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
        return (kind, app.board.metrics_text()).into_response();
    }
    ApiError::not_found("there is nothing at this path").into_response()
}
