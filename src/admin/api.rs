//! The API: status, recent alerts, the stream of events, and its own description.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::OpenApi;

use super::{CLIENT_STALL_MAX, Desk, health, live};
use crate::engine::live::Event;
use crate::engine::status::Status;
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

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    info(title = "dsengine", description = "Video analytics: where the engine stands and what it sees."),
    paths(health::livez, health::readyz, health::health, status, alerts, events, live::one, live::all)
)]
struct Description;

/// This API, as OpenAPI.
pub(super) async fn openapi() -> Response {
    Json(Description::openapi()).into_response()
}
