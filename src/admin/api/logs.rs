//! The log as a stream.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::response::sse::Event as Message;
use serde::Deserialize;
use tracing::Level;
use utoipa::{IntoParams, ToSchema};

use super::sse::Client;
use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::request::{LIMIT_MAX, Params, check_limit};
use crate::telemetry::log::{Follower, Heard, TailLine};

/// Lines queued for one client in addition to those that the log itself queues.
const CLIENT_LINES_MAX: usize = 16;
/// The names of levels, each with the least severe level that passes.
const LEVELS: [(&str, Level); 4] =
    [("debug", Level::DEBUG), ("info", Level::INFO), ("warning", Level::WARN), ("error", Level::ERROR)];

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

/// Maximum length of the search text.
const TEXT_CHARS_MAX: usize = 200;

impl Wanted {
    /// The least severe level that passes.
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
    let (client, response) = Client::open(app, caller, CLIENT_LINES_MAX)?;
    let text = wanted.text.map(|text| text.to_lowercase());
    tokio::spawn(Stream { client, level, text, limit: wanted.limit }.serve(tail.follow()));
    Ok(response)
}

/// One client's stream.
struct Stream {
    client: Client,
    level: Level,
    text: Option<String>,
    limit: Option<u32>,
}

impl Stream {
    async fn serve(self, mut follower: Follower) {
        let mut left = self.limit;
        while left != Some(0) {
            let Some(heard) = self.client.wait(follower.next()).await else { return };
            let message = match heard {
                Heard::Line(line) if !self.wants(&line) => continue,
                Heard::Line(line) => {
                    left = left.map(|left| left - 1);
                    Message::default().event("log").data(&*line.text)
                }
                Heard::Missed(missed) => Message::default().event("lagged").data(missed.to_string()),
                Heard::End => return,
            };
            if !self.client.send(message).await {
                return;
            }
        }
    }

    fn wants(&self, line: &TailLine) -> bool {
        line.level <= self.level && self.text.as_ref().is_none_or(|text| line.text.to_lowercase().contains(text))
    }
}

const _: () = assert!(LIMIT_MAX == 1_000_000, "the maximum in the parameters' description");
