//! The configuration: reading and changing it.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::sources::apply;
use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::request::{DocumentBody, JsonBody, NoParams, Params, Save};
use crate::config::{Severity, Warning};
use crate::control::{Edit, Outcome};

/// The configuration that is in effect. What the engine answers with; only its description is here.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what Control::config returns")]
pub(in crate::admin) struct EffectiveConfig {
    /// Every key with its value, secrets masked; keys without an effect only where they are set.
    #[schema(value_type = Object)]
    config: Value,
    /// SHA-256 of the configuration, secrets excluded.
    hash: String,
    /// The paths that changes have set, which are not in the file.
    #[schema(required = false)]
    overlay: Vec<String>,
    /// Keys whose new values take effect after a restart only.
    #[schema(required = false)]
    waits_for_restart: Vec<String>,
    /// Keys that are set and have no effect yet, each with what it will do.
    #[schema(required = false)]
    no_effect: Vec<String>,
    /// Strategies that run a promoted shadow's module until the restart.
    #[schema(required = false)]
    promoted: Vec<String>,
    /// Why the files are not what is in effect.
    #[schema(required = false)]
    problem: Option<String>,
}

/// What is worth knowing about a configuration that is valid.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Validation {
    /// One for each thing to know.
    warnings: Vec<WarningBody>,
}

/// Something to know about a configuration or about this machine.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct WarningBody {
    /// Its kind, a word that stays the same.
    name: &'static str,
    /// `note`, `warning` or `refusal`: the engine would not start with it.
    severity: &'static str,
    /// What is the matter, in one sentence.
    message: String,
    /// What can be done.
    hint: Option<String>,
    /// Where it was set, `file:line:column`.
    place: Option<String>,
}

impl From<Warning> for WarningBody {
    fn from(warning: Warning) -> Self {
        let Warning { name, severity, message, hint, place } = warning;
        let severity = match severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Refusal => "refusal",
        };
        Self { name, severity, message, hint, place }
    }
}

/// The configuration that is in effect, secrets masked, and which parts of it are not in the file.
#[utoipa::path(get, path = "/api/v1/config", responses((status = 200, body = EffectiveConfig)))]
pub(in crate::admin) async fn get(State(app): State<AppState>) -> Result<Json<Value>, ApiError> {
    let control = app.control()?;
    app.work.call(move || control.config()).await.map(Json)
}

/// Judges a whole configuration, YAML or JSON, as if it were the file. Changes nothing.
#[utoipa::path(post, path = "/api/v1/config/validate",
    request_body(content((Value = "application/yaml"), (Object = "application/json")),
                 description = "The configuration, as the file would hold it."),
    responses((status = 200, body = Validation)))]
pub(in crate::admin) async fn validate(
    State(app): State<AppState>,
    caller: Caller,
    Params(NoParams {}): Params<NoParams>,
    DocumentBody(document): DocumentBody,
) -> Result<Json<Validation>, ApiError> {
    let (control, who) = (app.control()?, caller.author());
    let warnings = app.work.call(move || control.validate(&document, &who)).await??;
    Ok(Json(Validation { warnings: warnings.into_iter().map(WarningBody::from).collect() }))
}

/// What a change of the configuration would do. Changes nothing.
#[utoipa::path(post, path = "/api/v1/config/diff",
    request_body(content((Object = "application/json"), (Object = "application/merge-patch+json")),
                 description = "A JSON merge patch (RFC 7396); lists of things that have names are merged by those."),
    responses((status = 200, body = Outcome)))]
pub(in crate::admin) async fn diff(
    State(app): State<AppState>,
    caller: Caller,
    Params(NoParams {}): Params<NoParams>,
    JsonBody(document): JsonBody,
) -> Result<Json<Outcome>, ApiError> {
    let (control, who) = (app.control()?, caller.author());
    Ok(Json(app.work.call(move || control.diff(&Edit::Document(document), &who)).await??))
}

/// Changes the configuration: all of it, or nothing.
#[utoipa::path(post, path = "/api/v1/config/apply", params(Save),
    request_body(content((Object = "application/json"), (Object = "application/merge-patch+json")),
                 description = "A JSON merge patch (RFC 7396); lists of things that have names are merged by those."),
    responses((status = 200, body = Outcome)))]
pub(in crate::admin) async fn apply_patch(
    State(app): State<AppState>,
    caller: Caller,
    Params(Save { save }): Params<Save>,
    JsonBody(document): JsonBody,
) -> Result<Json<Outcome>, ApiError> {
    apply(&app, &caller, Edit::Document(document), save).await.map(Json)
}
