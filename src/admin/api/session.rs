//! Login: the page exchanges its token for a cookie.

use axum::Json;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::same_origin::session_id;
use crate::admin::session::SESSION_AGE_MAX;

/// Who is logged in.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct SessionBody {
    /// The token's name; `loopback` where no token is needed.
    name: String,
    /// What it may do: of `read`, `control`, `publish`.
    scopes: Vec<&'static str>,
    /// The only sources that it is for; absent where it is for all.
    sources: Option<Vec<String>>,
}

/// Who asks, and what it may do.
#[utoipa::path(get, path = "/api/v1/session", responses((status = 200, body = SessionBody)))]
pub(in crate::admin) async fn show(caller: Caller) -> Json<SessionBody> {
    body(&caller)
}

fn body(caller: &Caller) -> Json<SessionBody> {
    Json(SessionBody {
        name: caller.name().to_owned(),
        scopes: caller.scopes().into_iter().map(|scope| scope.as_str()).collect(),
        sources: caller.sources().map(<[String]>::to_vec),
    })
}

/// Trades the token in `Authorization` for a cookie that no script can read. Where no token is needed there is none.
#[utoipa::path(post, path = "/api/v1/session", responses(
    (status = 200, description = "Who is logged in from now on.", body = SessionBody,
     headers(("Set-Cookie" = String, description = "The session; absent where no token is needed.")))))]
pub(in crate::admin) async fn open(State(app): State<AppState>, caller: Caller) -> Result<Response, ApiError> {
    if caller.scopes().is_empty() {
        return Err(ApiError::no_token());
    }
    let body = body(&caller);
    let Some(token) = caller.token() else { return Ok(body.into_response()) };
    let id = app.sessions.open(token, Instant::now());
    let id = id.ok_or_else(|| ApiError::busy("the system has no random numbers", 1))?;
    let age = SESSION_AGE_MAX.as_secs();
    let cookie = format!("{}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}", app.cookie);
    Ok(([(SET_COOKIE, cookie)], body).into_response())
}

/// Ends the session of the cookie.
#[utoipa::path(delete, path = "/api/v1/session", responses((status = 204, description = "There is none any more.")))]
pub(in crate::admin) async fn close(State(app): State<AppState>, headers: HeaderMap) -> Response {
    if let Some(id) = session_id(&headers, &app.cookie) {
        app.sessions.close(id, Instant::now());
    }
    let gone = format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0", app.cookie);
    (StatusCode::NO_CONTENT, [(SET_COOKIE, gone)]).into_response()
}
