//! The profiles: which one applies, and the switch to another.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::sources::apply;
use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::request::{JsonBody, Params};
use crate::control::{Edit, Outcome, ProfileBody};

/// The profile to switch to. Only its description is here.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what a switch reads")]
pub(in crate::admin) struct Switch {
    /// Its name; `null` for none.
    #[schema(required = true)]
    name: Option<String>,
}

/// How a switch is made.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct Keep {
    /// Whether the switch outlasts a restart; it does where this is left out.
    #[serde(default = "yes")]
    #[param(required = false)]
    save: bool,
}

fn yes() -> bool {
    true
}

/// The profiles of the configuration, and the one that applies.
#[utoipa::path(get, path = "/api/v1/profile", responses((status = 200, body = ProfileBody)))]
pub(in crate::admin) async fn profile(State(app): State<AppState>) -> Result<Json<ProfileBody>, ApiError> {
    let control = app.control()?;
    app.work.call(move || control.profiles()).await.map(Json)
}

/// Switches to another profile: all that differs changes at once, or nothing.
#[utoipa::path(post, path = "/api/v1/profile", params(Keep),
    request_body(content = Switch, description = "The profile to switch to."),
    responses((status = 200, body = Outcome)))]
pub(in crate::admin) async fn switch(
    State(app): State<AppState>,
    caller: Caller,
    Params(Keep { save }): Params<Keep>,
    JsonBody(body): JsonBody,
) -> Result<Json<Outcome>, ApiError> {
    let name = match (body.get("name"), body.as_object().map(serde_json::Map::len)) {
        (Some(serde_json::Value::String(name)), Some(1)) => Some(name.clone()),
        (Some(serde_json::Value::Null), Some(1)) => None,
        _ => {
            let message = "the body is an object with one key, `name`: a profile, or null for none";
            return Err(ApiError::unreadable(axum::http::StatusCode::UNPROCESSABLE_ENTITY, message));
        }
    };
    apply(&app, &caller, Edit::Profile(name), save).await.map(Json)
}
