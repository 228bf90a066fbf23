//! The log as a stream.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Level;
use utoipa::{IntoParams, ToSchema};

use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::request::{LIMIT_MAX, Params, check_limit};
use crate::admin::streams::StreamSlot;
use crate::admin::{AppState, CLIENT_STALL_MAX};
use crate::telemetry::log::{Follower, Heard, TailLine};

/// Lines on their way to one client besides those that the log itself keeps for it.
const CLIENT_LINES_MAX: usize = 16;
/// The words for levels, each with the last that passes.
const LEVELS: [(&str, Level); 4] =
    [("debug", Level::DEBUG), ("info", Level::INFO), ("warning", Level::WARN), ("error", Level::ERROR)];

type Messages = mpsc::Sender<Result<Message, Infallible>>;

/// What to hear of.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct Wanted {
    /// The lowest level: debug, info, warning, error; all that is logged when absent.
    #[param(required = false, nullable = false, value_type = String, pattern = "^(debug|info|warning|error)$")]
    level: Option<String>,
    /// Only records that hold this text, in whatever case; all when absent.
    #[param(required = false, nullable = false, value_type = String, max_length = 200)]
    text: Option<String>,
    /// End after so many records; never when absent.
    #[param(required = false, nullable = false, value_type = u32, maximum = 1_000_000)]
    limit: Option<u32>,
}

/// One message of the stream.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is sent as text")]
pub(in crate::admin) struct LogMessage {
    /// `log` or `lagged`.
    event: String,
    /// A log record as JSON; with `lagged`, how many were missed.
    data: String,
}

/// Longest text to look for.
const TEXT_CHARS_MAX: usize = 200;

impl Wanted {
    /// The last level that passes.
    fn level(&self) -> Result<Level, ApiError> {
        check_limit(self.limit)?;
        if self.text.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX) {
            let message = format!("`text` has more than {TEXT_CHARS_MAX} characters");
            return Err(ApiError::unreadable(StatusCode::BAD_REQUEST, message));
        }
        let Some(wanted) = &self.level else { return Ok(Level::TRACE) };
        let known = LEVELS.iter().find(|(word, _)| word == wanted);
        known.map(|(_, level)| *level).ok_or_else(|| {
            let words = LEVELS.map(|(word, _)| word).join(", ");
            ApiError::unreadable(StatusCode::BAD_REQUEST, format!("there is no level '{wanted}', but {words}"))
        })
    }
}

/// Server-sent events: `log`, each with one record of the log as JSON, as it is written from now on, secrets redacted. A
/// client that cannot keep up gets `lagged` with the number of records that it missed.
#[utoipa::path(get, path = "/api/v1/logs", params(Wanted), responses(
    (status = 200, description = "A stream of log records.", content_type = "text/event-stream", body = LogMessage)))]
pub(in crate::admin) async fn logs(
    State(app): State<AppState>,
    caller: Caller,
    Params(wanted): Params<Wanted>,
) -> Result<Response, ApiError> {
    let level = wanted.level()?;
    let tail = app.logs.as_ref().map(Arc::clone).ok_or_else(ApiError::no_log)?;
    let place = app.streams.take(&caller)?;
    let (messages, stream) = mpsc::channel(CLIENT_LINES_MAX);
    let text = wanted.text.map(|text| text.to_lowercase());
    let client = Client { app, caller, level, text, limit: wanted.limit, messages, _place: place };
    tokio::spawn(client.serve(tail.follow()));
    Ok(Sse::new(ReceiverStream::new(stream)).keep_alive(KeepAlive::default()).into_response())
}

/// One client, until it or its token is gone, has enough, or takes nothing.
struct Client {
    app: AppState,
    caller: Caller,
    level: Level,
    text: Option<String>,
    limit: Option<u32>,
    messages: Messages,
    _place: StreamSlot,
}

impl Client {
    async fn serve(self, mut follower: Follower) {
        let mut left = self.limit;
        while left != Some(0) {
            let heard = tokio::select! {
                heard = follower.next() => heard,
                () = self.app.over(&self.caller) => return,
                () = self.messages.closed() => return,
            };
            let message = match heard {
                Heard::Line(line) if !self.wants(&line) => continue,
                Heard::Line(line) => {
                    left = left.map(|left| left - 1);
                    Message::default().event("log").data(&*line.text)
                }
                Heard::Missed(missed) => Message::default().event("lagged").data(missed.to_string()),
                Heard::End => return,
            };
            // Waiting here is what makes a slow client lag.
            let sent = tokio::select! {
                sent = time::timeout(CLIENT_STALL_MAX, self.messages.send(Ok(message))) => matches!(sent, Ok(Ok(()))),
                () = self.app.over(&self.caller) => false,
            };
            if !sent {
                return;
            }
        }
    }

    fn wants(&self, line: &TailLine) -> bool {
        line.level <= self.level && self.text.as_ref().is_none_or(|text| line.text.to_lowercase().contains(text))
    }
}

const _: () = assert!(LIMIT_MAX == 1_000_000, "the maximum in the parameters' description");
