//! Detections that cameras post.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::sources::unknown;
use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::request::{LinesBody, Name, NoParams, Params};
use crate::backend::Taken;

/// Longest body, in bytes, that is read on the thread of its connection; a longer one takes milliseconds.
const SHORT_BYTES_MAX: usize = 64 * 1024;

/// Takes frames with their detections for a source of the type `detections`.
///
/// A line is a frame of the trace format; with `parameters.format: nvmsgconv`, messages of that follow each other.
#[utoipa::path(post, path = "/api/v1/sources/{source}/detections",
    params(("source" = String, Path, description = "The source's id.")),
    request_body(content((String = "application/x-ndjson"), (String = "application/jsonl"),
                         (Object = "application/json")),
                 description = "Up to 256 frames and 1 MiB."),
    responses((status = 200, description = "What became of the lines.", body = Taken),
              (status = 404, description = "There is no such source.", body = crate::admin::error::ErrorBody),
              (status = 409, description = "The source takes no detections.", body = crate::admin::error::ErrorBody),
              (status = 422, description = "None of the lines can be used.", body = crate::admin::error::ErrorBody)))]
pub(in crate::admin) async fn publish(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    Params(NoParams {}): Params<NoParams>,
    LinesBody(body): LinesBody,
) -> Result<Json<Taken>, ApiError> {
    caller.check_source(&id)?;
    let Some(intake) = app.board.intake(&id) else {
        return Err(match app.board.live(&id) {
            Some(_) => ApiError::refused(
                format!("source '{id}' takes no detections by POST"),
                "those of `type: detections` with `uri: 'detections:'` do",
            ),
            None => unknown(&id),
        });
    };
    let taken = match body.len() <= SHORT_BYTES_MAX {
        true => intake.take(&body),
        false => app.work.call(move || intake.take(&body)).await?,
    };
    match taken.errors.first().filter(|_| taken.is_refused()) {
        Some(first) => {
            let message = format!("no line can be used; line {}: {}", first.line, first.message);
            Err(ApiError::unreadable(StatusCode::UNPROCESSABLE_ENTITY, message))
        }
        None => Ok(Json(taken)),
    }
}
