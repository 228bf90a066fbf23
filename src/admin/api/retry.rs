//! Dead letters that are sent again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use utoipa::ToSchema;

use super::alerts::find;
use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::request::{Name, StepBody};
use crate::alert::Cased;
use crate::control::Outcome;

/// Who sends it. Only its description is here.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what the request reads")]
pub(in crate::admin) struct By {
    /// The handler that did not deliver it.
    handler: String,
    /// Another handler that gets it instead; without it the same.
    #[schema(nullable = false)]
    to: Option<String>,
}

/// Sends an alert again by a handler that gave it up, or by another one in its place. Its age counts from now.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/retry",
    params(("id" = String, Path, description = "The alert's id.")),
    request_body(content = By, description = "By which handler."), responses((status = 200, body = Cased)))]
pub(in crate::admin) async fn retry(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    StepBody(body): StepBody,
) -> Result<Json<Cased>, ApiError> {
    let (outbox, cased) = find(&app, &caller, &id)?;
    let Some((former, to)) = names(&body) else {
        let message = "the body has the key `handler`, the name of a handler, and may have `to`, that of another one";
        return Err(ApiError::unreadable(StatusCode::UNPROCESSABLE_ENTITY, message));
    };
    let handler = to.unwrap_or(former);
    if outbox.standing(handler).is_none() {
        return Err(ApiError::not_found(format!("there is no handler '{handler}'")));
    }
    if !outbox.resend(&cased.alert, handler, to.map(|_| former)) {
        let message = format!("{handler} has {} before it already, or its queue is full", cased.alert.id);
        return Err(ApiError::refused(message, "GET /api/v1/status"));
    }
    if let Some(control) = &app.control {
        let what = format!("retry alert {} of {} by {handler}", cased.alert.id, cased.alert.source);
        control.record(
            &caller.author(),
            what,
            &Ok(Outcome { changes: vec![format!("it goes to {handler} again")], ..Outcome::default() }),
        );
    }
    Ok(Json(cased))
}

/// The handler that did not deliver it, and the one that gets it instead.
fn names(body: &Value) -> Option<(&str, Option<&str>)> {
    let body = body.as_object().filter(|body| body.keys().all(|key| key == "handler" || key == "to"))?;
    let handler = body.get("handler")?.as_str()?;
    match body.get("to") {
        Some(to) => Some((handler, Some(to.as_str()?).filter(|to| *to != handler))),
        None => Some((handler, None)),
    }
}
