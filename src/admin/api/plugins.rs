//! Scripts and components: their status, and installing a new version.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::request::Name;
use crate::control::{Outcome, Refusal, RefusalKind};
use crate::engine::status::PluginStatus;
use crate::engine::{EngineApi, Reloaded};
use crate::error::Error;
use crate::guest::StateStatus;

/// Every script and component. A token that is limited to some sources is told the name of the file, not its folder.
#[utoipa::path(get, path = "/api/v1/plugins", responses((status = 200, body = Vec<PluginStatus>)))]
pub(in crate::admin) async fn list(
    State(app): State<AppState>,
    caller: Caller,
) -> Result<Json<Vec<PluginStatus>>, ApiError> {
    // Waits for a reload in progress.
    let board = Arc::clone(&app.board);
    let mut plugins = app.work.call(move || board.plugins()).await?;
    if caller.sources().is_some() {
        for plugin in &mut plugins {
            // An error may quote what was seen on any source.
            plugin.last_error = None;
            let file = Path::new(&plugin.module).file_name();
            plugin.module = file.map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
        }
    }
    Ok(Json(plugins))
}

/// What a reload did.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct Done {
    /// The strategies and handlers that run the file.
    plugins: Vec<String>,
    /// The generation that runs from now on.
    generation: u64,
    /// How many lanes swapped.
    lanes: usize,
    /// Remembered frames that the new version was tried on.
    tried: usize,
    /// `false` when the file's contents were running already.
    changed: bool,
}

/// Reads a plugin's file again and puts it in place, as a save does. The answer is the outcome.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/reload",
    params(("name" = String, Path, description = "The strategy's or handler's name.")),
    responses((status = 200, body = Done)))]
pub(in crate::admin) async fn reload(
    State(app): State<AppState>,
    caller: Caller,
    Name(name): Name,
) -> Result<Json<Done>, ApiError> {
    replace(&app, &caller, format!("reload plugin {name}"), move |board| board.reload(&name)).await
}

/// Puts a shadow in the place of the strategy it runs beside.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/promote",
    params(("name" = String, Path, description = "The shadow's name.")),
    responses((status = 200, body = Done)))]
pub(in crate::admin) async fn promote(
    State(app): State<AppState>,
    caller: Caller,
    Name(name): Name,
) -> Result<Json<Done>, ApiError> {
    replace(&app, &caller, format!("promote shadow {name}"), move |board| board.promote(&name)).await
}

/// The state that the engine keeps for a plugin, by source: how much there is, and whether it survives a restart.
#[utoipa::path(get, path = "/api/v1/plugins/{name}/state",
    params(("name" = String, Path, description = "The strategy's or handler's name.")),
    responses((status = 200, body = Vec<StateStatus>)))]
pub(in crate::admin) async fn state(
    State(app): State<AppState>,
    Name(name): Name,
) -> Result<Json<Vec<StateStatus>>, ApiError> {
    let board = Arc::clone(&app.board);
    let state = app.work.call(move || board.plugin_state(&name)).await?;
    state.map(Json).map_err(|error| ApiError::not_found(error.message()))
}

/// What was cleared.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct Cleared {
    /// How many values there were.
    values: usize,
}

/// Clears the state that the engine keeps for a plugin, on every source and for later runs. What a script holds in its
/// own variables stays until it is loaded again.
#[utoipa::path(delete, path = "/api/v1/plugins/{name}/state",
    params(("name" = String, Path, description = "The strategy's or handler's name.")),
    responses((status = 200, body = Cleared)))]
pub(in crate::admin) async fn clear_state(
    State(app): State<AppState>,
    caller: Caller,
    Name(name): Name,
) -> Result<Json<Cleared>, ApiError> {
    let (board, control) = (Arc::clone(&app.board), app.control.clone());
    let who = caller.author();
    let cleared = app.work.call(move || {
        let cleared = board.clear_plugin_state(&name);
        let outcome = match &cleared {
            Ok(values) => Ok(Outcome { changes: vec![format!("{values} values cleared")], ..Outcome::default() }),
            Err(error) => Err(Refusal::of(RefusalKind::Engine, error, None)),
        };
        if let Some(control) = control {
            control.record(&who, format!("clear state of plugin {name}"), &outcome);
        }
        cleared
    });
    cleared.await?.map(|values| Json(Cleared { values })).map_err(|error| ApiError::conflict(&error))
}

/// Runs a reload, which waits for the lanes. Its result is also in the log and in the audit.
async fn replace(
    app: &AppState,
    caller: &Caller,
    what: String,
    work: impl FnOnce(&dyn EngineApi) -> Result<Reloaded, Error> + Send + 'static,
) -> Result<Json<Done>, ApiError> {
    let (board, control) = (Arc::clone(&app.board), app.control.clone());
    let who = caller.author();
    app.work
        .call(move || {
            let done = work(&*board);
            if let Some(control) = control {
                control.record(&who, what, &in_audit(&done));
            }
            match done {
                Ok(Reloaded { strategies, generation, lanes, tried, changed }) => {
                    let plugins = strategies.join(", ");
                    if changed {
                        tracing::info!(plugins, generation, lanes, tried, "plugin replaced, as was asked by HTTP");
                    } else {
                        tracing::info!(plugins, "reload asked by HTTP: the file is the running version");
                    }
                    Ok(Json(Done { plugins: strategies, generation, lanes, tried, changed }))
                }
                Err(error) => {
                    tracing::error!(%error, "plugin not replaced, as was asked by HTTP; the running version goes on");
                    Err(ApiError::conflict(&error))
                }
            }
        })
        .await?
}

/// Converts the result of a reload for the audit.
fn in_audit(done: &Result<Reloaded, Error>) -> Result<Outcome, Refusal> {
    match done {
        Ok(done) if !done.changed => Ok(Outcome::default()),
        Ok(done) => {
            let change = format!("{} runs generation {}", done.strategies.join(", "), done.generation);
            Ok(Outcome { changes: vec![change], ..Outcome::default() })
        }
        Err(error) => Err(Refusal::of(RefusalKind::Engine, error, None)),
    }
}
