//! The pictures of alerts.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::request::{Name, Params};
use crate::alert::Which;
use crate::types::AlertId;

/// Which picture.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct Wanted {
    /// 1: the frame as it was, without boxes and zones.
    #[param(required = false, nullable = false, value_type = u8, maximum = 1)]
    clean: Option<u8>,
}

/// The picture of an alert, as JPEG; of one that has `picture` only, and as long as `alerts.pictures` keeps it. Waits
/// two seconds at most for one that is being encoded.
#[utoipa::path(get, path = "/api/v1/alerts/{id}/picture.jpg",
    params(("id" = String, Path, description = "The alert's id."), Wanted),
    responses((status = 200, description = "The picture.", content_type = "image/jpeg", body = String)))]
pub(in crate::admin) async fn picture(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    Params(Wanted { clean }): Params<Wanted>,
) -> Result<Response, ApiError> {
    let which = match clean {
        None | Some(0) => Which::Annotated,
        Some(1) => Which::Clean,
        Some(_) => return Err(ApiError::unreadable(StatusCode::BAD_REQUEST, "clean is 0 or 1")),
    };
    let no_picture = || ApiError::not_found("there is no such picture, or it is no longer kept");
    let id = AlertId::parse(&id).ok_or_else(no_picture)?;
    let pictures = app.board.pictures();
    let found = app.work.call(move || pictures.find(&id, which)).await?;
    // Who may not see the source is not told whether there is a picture.
    let (_, jpeg) = found.filter(|(source, _)| caller.sees(source.as_str())).ok_or_else(no_picture)?;
    Ok(([(CONTENT_TYPE, "image/jpeg")], jpeg).into_response())
}
