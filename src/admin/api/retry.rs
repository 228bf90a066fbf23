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
use crate::alert::again::{NOTHING_AGAIN, has_failed, waits_at};
use crate::alert::{Cased, Outbox};
use crate::control::Outcome;
use crate::types::AlertId;

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
        let standings = outbox.standings();
        let names: Vec<&str> = standings.iter().map(|standing| &**standing.name()).collect();
        return Err(ApiError::no_handler(handler, &names));
    }
    check(&app, &outbox, &cased.alert.id, former, to).await?;
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

/// Checks that a handler is done with an alert that it did not deliver, and that the other one can still get it.
async fn check(
    app: &AppState,
    outbox: &Outbox,
    alert: &AlertId,
    former: &str,
    to: Option<&str>,
) -> Result<(), ApiError> {
    let kept = match app.control.clone() {
        Some(control) => {
            let alert = alert.clone();
            app.work.call(move || control.delivered(&alert)).await?
        }
        None => None,
    };
    let settled = if kept.is_none() { app.board.records().settled } else { Vec::new() };
    let outcome = |handler: &str| match &kept {
        _ if outbox.is_pending(alert, handler) => Some("pending"),
        Some(kept) => kept.iter().find(|at| *at.handler == *handler).map(|at| at.outcome.as_str()),
        None => settled.iter().rev().find(|at| at.id == *alert && at.handler == handler).map(|at| at.how.as_str()),
    };
    let hint = format!("GET /api/v1/alerts/{alert}/explain says what became of it");
    match (outcome(former), to.and_then(outcome)) {
        (Some("pending"), _) => {
            let message = format!("nothing to send again yet: {}", waits_at(former, 1));
            Err(ApiError::refused(message, &hint))
        }
        // One that gave it away itself may get it back.
        (Some(failed), None | Some("given_away")) if has_failed(failed) => Ok(()),
        (Some(failed), Some(other)) if has_failed(failed) && has_failed(other) => Ok(()),
        _ => Err(ApiError::refused(NOTHING_AGAIN.to_owned(), &hint)),
    }
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
