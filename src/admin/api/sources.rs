//! Sources: the configured ones, their status, and changes.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::history::StateChange;
use crate::admin::request::{JsonBody, Name, NoParams, Params, Save};
use crate::control::{Edit, Outcome, SourceEntry};
use crate::engine::status::SourceStatus;

/// A source, and the states it was in.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct SourceDetail {
    /// Its name.
    id: String,
    /// `file` or `overlay`: who added it.
    origin: &'static str,
    /// Whether an edit that is not in the file changes it.
    changed: bool,
    /// Whether it is to run.
    enabled: bool,
    /// Its keys, secrets masked.
    #[schema(value_type = Object)]
    config: Value,
    /// How it runs; absent while it does not.
    status: Option<SourceStatus>,
    /// The states it went into, newest first, up to 50.
    history: Vec<StateChange>,
}

/// Every configured source, including disabled ones.
async fn entries(app: &AppState) -> Result<Vec<SourceEntry>, ApiError> {
    match app.control() {
        Ok(control) => app.work.call(move || control.sources()).await,
        // An embedder's engine: the running ones.
        Err(_) => Ok(app.board.status().sources.into_iter().map(running).collect()),
    }
}

/// A source with nothing known but its status.
fn running(status: SourceStatus) -> SourceEntry {
    SourceEntry {
        id: status.id.clone(),
        origin: "file",
        changed: false,
        enabled: true,
        config: Value::Object(serde_json::Map::new()),
        status: Some(status),
    }
}

/// Every configured source, those that are switched off included. A token that is limited to some sees those only.
#[utoipa::path(get, path = "/api/v1/sources", responses((status = 200, body = Vec<SourceEntry>)))]
pub(in crate::admin) async fn list(
    State(app): State<AppState>,
    caller: Caller,
) -> Result<Json<Vec<SourceEntry>>, ApiError> {
    let mut sources = entries(&app).await?;
    sources.retain(|source| caller.sees(&source.id));
    Ok(Json(sources))
}

/// One source, and the states it was in.
#[utoipa::path(get, path = "/api/v1/sources/{source}",
    params(("source" = String, Path, description = "The source's id.")),
    responses((status = 200, body = SourceDetail)))]
pub(in crate::admin) async fn get(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
) -> Result<Json<SourceDetail>, ApiError> {
    caller.check_source(&id)?;
    let found = entries(&app).await?.into_iter().find(|source| source.id == id);
    let SourceEntry { id, origin, changed, enabled, config, status } = found.ok_or_else(|| unknown(&id))?;
    let history = app.history.of(&id);
    Ok(Json(SourceDetail { id, origin, changed, enabled, config, status, history }))
}

/// The 404 error for an unknown source.
pub(in crate::admin) fn unknown(source: &str) -> ApiError {
    ApiError::not_found(format!("there is no source '{source}'"))
}

/// Adds a source.
#[utoipa::path(post, path = "/api/v1/sources", params(Save),
    request_body(content = Object, description = "The source, written as an entry of `sources` in the configuration."),
    responses((status = 201, description = "It is there and runs.", body = Outcome)))]
pub(in crate::admin) async fn add(
    State(app): State<AppState>,
    caller: Caller,
    Params(Save { save }): Params<Save>,
    JsonBody(entry): JsonBody,
) -> Result<(StatusCode, Json<Outcome>), ApiError> {
    caller.check_source(entry["id"].as_str().unwrap_or_default())?;
    let outcome = apply(&app, &caller, Edit::AddSource(entry), save).await?;
    Ok((StatusCode::CREATED, Json(outcome)))
}

/// Changes keys of a source.
#[utoipa::path(patch, path = "/api/v1/sources/{source}",
    params(("source" = String, Path, description = "The source's id."), Save),
    request_body(content((Object = "application/json"), (Object = "application/merge-patch+json")),
                 description = "A JSON merge patch (RFC 7396) of its entry; null takes a key back to its default."),
    responses((status = 200, body = Outcome)))]
pub(in crate::admin) async fn change(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    Params(Save { save }): Params<Save>,
    JsonBody(to): JsonBody,
) -> Result<Json<Outcome>, ApiError> {
    caller.check_source(&id)?;
    if let Some(renamed) = to.get("id") {
        caller.check_source(renamed.as_str().unwrap_or_default())?;
    }
    apply(&app, &caller, Edit::ChangeSource { id, to }, save).await.map(Json)
}

/// Takes a source out.
#[utoipa::path(delete, path = "/api/v1/sources/{source}",
    params(("source" = String, Path, description = "The source's id."), Save),
    responses((status = 200, body = Outcome)))]
pub(in crate::admin) async fn remove(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    Params(Save { save }): Params<Save>,
) -> Result<Json<Outcome>, ApiError> {
    caller.check_source(&id)?;
    apply(&app, &caller, Edit::RemoveSource(id), save).await.map(Json)
}

/// Lets a source run that was switched off.
#[utoipa::path(post, path = "/api/v1/sources/{source}/enable",
    params(("source" = String, Path, description = "The source's id."), Save),
    responses((status = 200, body = Outcome)))]
pub(in crate::admin) async fn enable(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    Params(Save { save }): Params<Save>,
) -> Result<Json<Outcome>, ApiError> {
    caller.check_source(&id)?;
    apply(&app, &caller, Edit::EnableSource { id, enabled: true }, save).await.map(Json)
}

/// Switches a source off; its entry stays.
#[utoipa::path(post, path = "/api/v1/sources/{source}/disable",
    params(("source" = String, Path, description = "The source's id."), Save),
    responses((status = 200, body = Outcome)))]
pub(in crate::admin) async fn disable(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    Params(Save { save }): Params<Save>,
) -> Result<Json<Outcome>, ApiError> {
    caller.check_source(&id)?;
    apply(&app, &caller, Edit::EnableSource { id, enabled: false }, save).await.map(Json)
}

/// Stops a source and starts it again; its tracks and state go on.
#[utoipa::path(post, path = "/api/v1/sources/{source}/restart",
    params(("source" = String, Path, description = "The source's id.")),
    responses((status = 200, body = Outcome)))]
pub(in crate::admin) async fn restart(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Json<Outcome>, ApiError> {
    caller.check_source(&id)?;
    apply(&app, &caller, Edit::RestartSource(id), false).await.map(Json)
}

/// Applies an edit in the caller's name.
pub(super) async fn apply(app: &AppState, caller: &Caller, edit: Edit, save: bool) -> Result<Outcome, ApiError> {
    let control = app.control()?;
    let who = caller.author();
    app.work.call(move || control.apply(edit, save, &who)).await?.map_err(ApiError::from)
}
