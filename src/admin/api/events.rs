//! The stream of events.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::response::sse::Event as Message;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::sse::Client;
use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::request::{LIMIT_MAX, Params, check_limit};
use crate::engine::live::{Event, Listener};

/// Events queued for one client; a client that lags behind this and the engine's own limit is dropped.
const CLIENT_EVENTS_MAX: usize = 64;
/// The kinds of events.
const KINDS: [&str; 4] = ["state", "alert", "case", "detections"];

/// What to hear of.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct Wanted {
    /// Comma-separated: state, alert, case, detections; all when absent.
    #[param(required = false, nullable = false, value_type = String,
            pattern = "^(state|alert|case|detections)(,(state|alert|case|detections))*$")]
    kinds: Option<String>,
    /// End after so many events, the states at the start not counted; never when absent.
    #[param(required = false, nullable = false, value_type = u32, maximum = 1_000_000)]
    limit: Option<u32>,
}

/// One message of the stream.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is sent as text")]
pub(in crate::admin) struct EventMessage {
    /// `state`, `alert`, `case`, `detections` or `lagged`.
    event: String,
    /// An `Event` as JSON; with `lagged`, how many were missed.
    data: String,
}

impl Wanted {
    fn wants(&self, kind: &str) -> bool {
        self.kinds.as_deref().is_none_or(|kinds| kinds.split(',').any(|wanted| wanted == kind))
    }

    fn check(&self) -> Result<(), ApiError> {
        check_limit(self.limit)?;
        let unknown = self.kinds.as_deref().and_then(|kinds| kinds.split(',').find(|kind| !KINDS.contains(kind)));
        unknown.map_or(Ok(()), |kind| {
            let message = format!("there are no events of the kind '{kind}', but {}", KINDS.join(", "));
            Err(ApiError::unreadable(StatusCode::BAD_REQUEST, message))
        })
    }
}

/// Server-sent events: `state`, `alert`, `case` (a person or a rule changed one), `detections`, each with an `Event` as
/// JSON. First come the states of all sources as they are. A client that cannot keep up gets a last event `lagged` with
/// the number it missed, and is dropped. A token that is limited to some sources hears of those only.
#[utoipa::path(get, path = "/api/v1/events", params(Wanted), responses(
    (status = 200, description = "A stream of events.", content_type = "text/event-stream", body = EventMessage)))]
pub(in crate::admin) async fn events(
    State(app): State<AppState>,
    caller: Caller,
    Params(wanted): Params<Wanted>,
) -> Result<Response, ApiError> {
    wanted.check()?;
    let (client, response) = Client::open(app, caller, CLIENT_EVENTS_MAX)?;
    let events = client.app.board.events();
    let listener = match wanted.wants("detections") && wanted.limit != Some(0) {
        true => events.listen_to_frames(),
        false => events.listen(),
    };
    tokio::spawn(Stream { client, wanted }.serve(listener));
    Ok(response)
}

/// One client's stream.
struct Stream {
    client: Client,
    wanted: Wanted,
}

impl Stream {
    async fn serve(self, mut listener: Listener) {
        if !self.states().await {
            return;
        }
        let mut left = self.wanted.limit;
        while left != Some(0) {
            let Some(event) = self.client.wait(listener.next()).await else { return };
            let (message, last) = match event {
                Ok(event) => match self.message(&event) {
                    Some(message) => (message, false),
                    None => continue,
                },
                Err(missed) => (Message::default().event("lagged").data(missed.to_string()), true),
            };
            if !self.client.send(message).await || last {
                return;
            }
            left = left.map(|left| left - 1);
        }
    }

    /// Sends the current state of every source.
    async fn states(&self) -> bool {
        for source in self.client.app.board.status().sources {
            let event = Event::State { source: source.id.as_str().into(), state: source.state };
            if let Some(message) = self.message(&event)
                && !self.client.send(message).await
            {
                return false;
            }
        }
        true
    }

    /// The event as a message; `None` if the client does not want it or may not see it.
    fn message(&self, event: &Event) -> Option<Message> {
        let (kind, source) = match event {
            Event::State { source, .. } => ("state", source),
            Event::Alert { alert } => ("alert", &alert.source),
            Event::Case { source, .. } => ("case", source),
            Event::Detections { source, .. } => ("detections", source),
        };
        if !self.wanted.wants(kind) || !self.client.caller.sees(source.as_str()) {
            return None;
        }
        // Our values always serialise; a failure would only drop the message.
        Message::default().event(kind).json_data(event).ok()
    }
}

const _: () = assert!(LIMIT_MAX == 1_000_000, "the maximum in the parameters' description");
