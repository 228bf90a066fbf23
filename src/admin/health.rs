//! Probes and metrics.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

use super::Desk;
use crate::engine::status::{Health, Status};

/// 200 while the process answers. No source, script or handler can change that.
#[utoipa::path(get, path = "/livez", responses((status = 200, description = "The process answers.")))]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// 200 while at least one source delivers frames.
#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, description = "At least one source delivers frames."),
    (status = 503, description = "None does; the body says why."),
))]
pub(super) async fn readyz(State(desk): State<Desk>) -> Response {
    let status = desk.board.status();
    if status.ready {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, status.problems.join("\n") + "\n").into_response()
}

/// The whole status, 503 when unhealthy.
#[utoipa::path(get, path = "/health", responses(
    (status = 200, description = "Healthy or degraded.", body = Status),
    (status = 503, description = "Unhealthy.", body = Status),
))]
pub(super) async fn health(State(desk): State<Desk>) -> (StatusCode, Json<Status>) {
    let status = desk.board.status();
    let code = if status.health == Health::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(status))
}

/// The metrics at their configured path; nothing anywhere else.
pub(super) async fn metrics_or_not_found(State(desk): State<Desk>, uri: Uri) -> Response {
    if desk.metrics_path.as_deref() == Some(uri.path()) {
        let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
        return (kind, desk.board.metrics_text()).into_response();
    }
    (StatusCode::NOT_FOUND, "There is nothing here. The page is at /, the API at /api/v1/openapi.json.\n")
        .into_response()
}
