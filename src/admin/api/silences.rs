//! Silences: for which alerts nobody is notified, and until when.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::request::{JsonBody, Name, NoParams, Params};
use crate::alert::silence::{SilenceBody, SilenceRequest};
use crate::control::Refusal;

/// Which silences are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct Which {
    /// Those that have ended within five days, too.
    #[serde(default)]
    #[param(required = false)]
    all: bool,
}

/// A silence that was created.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct CreatedSilence {
    /// The silence.
    #[serde(flatten)]
    silence: SilenceBody,
    /// What to check, one sentence each: a source or a rule that is not known.
    warnings: Vec<String>,
}

/// The silences that hold or will, the newest first.
#[utoipa::path(get, path = "/api/v1/silences", params(Which), responses((status = 200, body = Vec<SilenceBody>)))]
pub(in crate::admin) async fn list(
    State(app): State<AppState>,
    Params(Which { all }): Params<Which>,
) -> Result<Json<Vec<SilenceBody>>, ApiError> {
    let control = app.control()?;
    let mut silences = app.work.call(move || control.handle().silences()).await?;
    silences.retain(|silence| all || silence.state != "ended");
    Ok(Json(silences))
}

/// Creates a silence: nobody is notified of the alerts that it matches until it ends, and they count as suppressed. It
/// outlasts a restart. A critical alert is silenced only where a matcher names the level.
#[utoipa::path(post, path = "/api/v1/silences",
    request_body(content = SilenceRequest, description = "What to silence, and for how long."),
    responses((status = 201, body = CreatedSilence)))]
pub(in crate::admin) async fn add(
    State(app): State<AppState>,
    caller: Caller,
    Params(NoParams {}): Params<NoParams>,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<CreatedSilence>), ApiError> {
    let request: SilenceRequest = serde_json::from_value(body)
        .map_err(|error| ApiError::unreadable(StatusCode::UNPROCESSABLE_ENTITY, format!("the silence: {error}")))?;
    let (control, who) = (app.control()?, caller.author());
    let create = move || {
        let silence = control.silence(&request, &who)?;
        let warnings = control.silence_warnings(&silence.matchers);
        Ok(CreatedSilence { silence, warnings })
    };
    let created = app.work.call(create).await?;
    Ok((StatusCode::CREATED, Json(created.map_err(|refusal: Refusal| ApiError::from(refusal))?)))
}

/// Ends a silence now. It is listed as ended for five days.
#[utoipa::path(delete, path = "/api/v1/silences/{id}",
    params(("id" = String, Path, description = "The silence's id.")),
    responses((status = 200, body = SilenceBody)))]
pub(in crate::admin) async fn end(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Json<SilenceBody>, ApiError> {
    let (control, who) = (app.control()?, caller.author());
    app.work.call(move || control.end_silence(&id, &who)).await?.map(Json).map_err(ApiError::from)
}
