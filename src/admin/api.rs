//! The API: status, recent alerts, the stream of events, and its own description.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{OpenApi, ToSchema};

use super::{CLIENT_STALL_MAX, Desk, health, live};
use crate::engine::Board;
use crate::engine::Reloaded;
use crate::engine::live::Event;
use crate::engine::status::{PluginStatus, Status};
use crate::error::Error;
use crate::types::Alert;

/// Events on their way to one client; who is further behind than this and the engine's own bound is dropped.
const CLIENT_EVENTS_MAX: usize = 64;

/// Where everything stands.
#[utoipa::path(get, path = "/api/v1/status", responses((status = 200, body = Status)))]
pub(super) async fn status(State(desk): State<Desk>) -> Json<Status> {
    Json(desk.board.status())
}

/// The latest alerts, newest first.
#[utoipa::path(get, path = "/api/v1/alerts", responses(
    (status = 200, description = "Up to 100 alerts, as handlers receive them.", body = Vec<Object>),
))]
pub(super) async fn alerts(State(desk): State<Desk>) -> Json<Vec<Arc<Alert>>> {
    Json(desk.board.events().recent_alerts())
}

/// What to hear of.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// Comma-separated: `state`, `alert`, `detections`; all when absent.
    kinds: Option<String>,
}

/// Server-sent events: `state`, `alert`, `detections`. A client that cannot keep up gets a last event `lagged` with
/// the number it missed, and is dropped.
#[utoipa::path(get, path = "/api/v1/events",
    params(("kinds" = Option<String>, Query, description = "Comma-separated: state, alert, detections; all when absent.")),
    responses(
        (status = 200, description = "A stream of events.", content_type = "text/event-stream"),
        (status = 503, description = "Too many streams."),
    ))]
pub(super) async fn events(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Response {
    let Ok(permit) = desk.streams.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "Too many streams.\n").into_response();
    };
    let wants =
        move |kind: &str| wanted.kinds.as_deref().is_none_or(|kinds| kinds.split(',').any(|k| k.trim() == kind));
    let mut listener = desk.board.events().listen(wants("detections"));
    let (tx, rx) = mpsc::channel::<Result<Message, Infallible>>(CLIENT_EVENTS_MAX);
    let mut stop = desk.stop;
    tokio::spawn(async move {
        let _permit = permit;
        loop {
            let event = tokio::select! {
                event = listener.next() => event,
                _ = stop.wait_for(|stop| *stop) => return,
                () = tx.closed() => return,
            };
            let (message, last) = match event {
                Ok(event) => {
                    let kind = match event {
                        Event::State { .. } => "state",
                        Event::Alert { .. } => "alert",
                        Event::Detections { .. } => "detections",
                    };
                    if !wants(kind) {
                        continue;
                    }
                    // A value of ours always serialises; were it not to, it would be left out.
                    let Ok(message) = Message::default().event(kind).json_data(&event) else { continue };
                    (message, false)
                }
                Err(missed) => (Message::default().event("lagged").data(missed.to_string()), true),
            };
            // Waiting here is what makes a slow client lag.
            let sent = tokio::select! {
                sent = time::timeout(CLIENT_STALL_MAX, tx.send(Ok(message))) => matches!(sent, Ok(Ok(()))),
                _ = stop.wait_for(|stop| *stop) => false,
            };
            if last || !sent {
                return;
            }
        }
    });
    Sse::new(ReceiverStream::new(rx)).keep_alive(KeepAlive::default()).into_response()
}

/// Every script and component.
#[utoipa::path(get, path = "/api/v1/plugins", responses((status = 200, body = Vec<PluginStatus>)))]
pub(super) async fn plugins(State(desk): State<Desk>) -> Json<Vec<PluginStatus>> {
    // A reload under way is waited for.
    let board = Arc::clone(&desk.board);
    Json(tokio::task::spawn_blocking(move || board.plugins()).await.unwrap_or_default())
}

/// What a reload did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Done {
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

/// Why a reload was refused; the former version goes on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refused {
    /// The error's code.
    code: &'static str,
    /// What is wrong, with its place.
    message: String,
    /// What to do about it.
    hint: Option<String>,
}

/// Reads a plugin's file again and puts it in place, as a save does. The answer is the outcome.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/reload", params(("name" = String, Path)), responses(
    (status = 200, body = Done), (status = 409, description = "Refused; the former version goes on.", body = Refused),
))]
pub(super) async fn reload(State(desk): State<Desk>, Path(name): Path<String>) -> Response {
    change(desk, move |board| board.reload(&name)).await
}

/// Puts a shadow in the place of the strategy it runs beside.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/promote", params(("name" = String, Path)), responses(
    (status = 200, body = Done), (status = 409, description = "Refused; the former version goes on.", body = Refused),
))]
pub(super) async fn promote(State(desk): State<Desk>, Path(name): Path<String>) -> Response {
    change(desk, move |board| board.promote(&name)).await
}

/// A change waits for the lanes, so it runs where waiting is allowed. Its outcome is in the log, too.
async fn change(desk: Desk, work: impl FnOnce(&dyn Board) -> Result<Reloaded, Error> + Send + 'static) -> Response {
    let board = Arc::clone(&desk.board);
    match tokio::task::spawn_blocking(move || work(&*board)).await {
        Ok(Ok(Reloaded { strategies, generation, lanes, tried, changed })) => {
            let plugins = strategies.join(", ");
            if changed {
                tracing::info!(plugins, generation, lanes, tried, "plugin replaced, as was asked by HTTP");
            } else {
                tracing::info!(plugins, "reload asked by HTTP: the file is the running version");
            }
            Json(Done { plugins: strategies, generation, lanes, tried, changed }).into_response()
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "plugin not replaced, as was asked by HTTP; the running version goes on");
            let (code, message) = (error.code().as_str(), error.message().to_owned());
            let hint = error.remedy().map(str::to_owned);
            (StatusCode::CONFLICT, Json(Refused { code, message, hint })).into_response()
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "The reload failed; see the log.\n").into_response(),
    }
}

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    info(title = "dsengine", description = "Video analytics: where the engine stands and what it sees."),
    paths(
        health::livez,
        health::readyz,
        health::health,
        status,
        alerts,
        events,
        plugins,
        reload,
        promote,
        live::one,
        live::all
    )
)]
struct Description;

/// This API, as OpenAPI.
pub(super) async fn openapi() -> Response {
    Json(Description::openapi()).into_response()
}
