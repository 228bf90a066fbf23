//! Live pictures: a multipart stream per client, encoded only while somebody watches, newest frame first.
//!
//! Each part has its frame's metadata in `X-Frame`, so that the page draws boxes onto the matching picture. A player
//! that ignores it shows plain MJPEG.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::{task, time};
use utoipa::IntoParams;

use super::access::Caller;
use super::api::sources;
use super::error::ApiError;
use super::request::{Name, Params, check_limit};
use super::streams::received;
use super::{AppState, CLIENT_STALL_MAX};
use crate::engine::live::{Live, LiveFrame, Watching};
use crate::types::{Detection, SourceId};

/// Parts queued for one client. While the queue is full the client's sources skip frames.
const PARTS_MAX: usize = 2;
/// The multipart boundary.
const BOUNDARY: &str = "dsengine-frame";

type Parts = mpsc::Sender<Result<Bytes, Infallible>>;

/// How much of it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Limited {
    /// End after so many pictures of each source; never when absent.
    #[param(required = false, nullable = false, value_type = u32, maximum = 1_000_000)]
    limit: Option<u32>,
}

/// Live pictures of one source: JPEG parts, each with its metadata as JSON in X-Frame.
#[utoipa::path(get, path = "/live/{source}",
    params(("source" = String, Path, description = "The source's id."), Limited),
    responses((status = 200, description = "Parts without end, or up to the limit.",
               content_type = "multipart/x-mixed-replace", body = String)))]
pub(super) async fn one(
    State(app): State<AppState>,
    caller: Caller,
    Name(source): Name,
    Params(Limited { limit }): Params<Limited>,
) -> Result<Response, ApiError> {
    check_limit(limit)?;
    caller.check_source(&source)?;
    let live = app.board.live(&source).ok_or_else(|| sources::unknown(&source))?;
    stream(app, caller, vec![live], limit, "multipart/x-mixed-replace")
}

/// Live pictures of all sources that are there now and that the token is for, in one stream: a browser opens only six
/// connections to a host. X-Frame names the source.
#[utoipa::path(get, path = "/live", params(Limited), responses(
    (status = 200, description = "Parts without end, or up to the limit.", content_type = "multipart/mixed",
     body = String)))]
pub(super) async fn all(
    State(app): State<AppState>,
    caller: Caller,
    Params(Limited { limit }): Params<Limited>,
) -> Result<Response, ApiError> {
    check_limit(limit)?;
    let seen = app.board.status().sources.into_iter().filter(|source| caller.sees(&source.id));
    let lives = seen.filter_map(|source| app.board.live(&source.id)).collect();
    // Not x-mixed-replace: some browsers split such a response even for a script that wants its bytes.
    stream(app, caller, lives, limit, "multipart/mixed")
}

fn stream(
    app: AppState,
    caller: Caller,
    lives: Vec<Arc<Live>>,
    limit: Option<u32>,
    kind: &str,
) -> Result<Response, ApiError> {
    let slot = app.streams.take(&caller)?;
    let (parts, rx) = mpsc::channel(PARTS_MAX);
    tokio::spawn(async move {
        let _slot = slot;
        // Dropping it ends the remaining ones.
        let mut forwards = JoinSet::new();
        for live in lives {
            forwards.spawn(forward(live.watch(), parts.clone(), limit));
        }
        let through = async { while let Some(Ok(End::Source)) = forwards.join_next().await {} };
        tokio::select! {
            () = through => {}
            () = parts.closed() => {}
            () = app.over(&caller) => {}
        }
    });
    let kind = format!("{kind}; boundary={BOUNDARY}");
    Ok(([(CONTENT_TYPE, kind)], Body::from_stream(received(rx))).into_response())
}

/// Why a source's pictures end.
enum End {
    /// The source is removed, or has sent the requested number; others continue.
    Source,
    /// The client has disconnected or stopped reading: the whole stream ends, so that the client can request a new one
    /// instead of continuing with some of its sources.
    Client,
}

/// Sends a source's pictures until the client or the source is gone.
async fn forward(mut watching: Watching, parts: Parts, limit: Option<u32>) -> End {
    let mut left = limit;
    while left != Some(0)
        && let Some(frame) = watching.next().await
    {
        // Encoding fails only at the end of the runtime, or in a panic, which is logged.
        let Ok(part) = task::spawn_blocking(move || part(&frame)).await else { return End::Client };
        let Ok(Ok(())) = time::timeout(CLIENT_STALL_MAX, parts.send(Ok(part))).await else { return End::Client };
        left = left.map(|left| left - 1);
    }
    End::Source
}

/// The contents of `X-Frame`.
#[derive(Serialize)]
struct Meta<'a> {
    source: &'a SourceId,
    seq: u64,
    pts_ns: u64,
    width: u32,
    height: u32,
    detections: &'a [Detection],
}

/// One part. A frame without pixels has an empty body.
fn part(frame: &LiveFrame) -> Bytes {
    let jpeg = frame.jpeg();
    let picture = jpeg.as_deref().unwrap_or_default();
    let kind = if picture.is_empty() { "application/octet-stream" } else { "image/jpeg" };
    let meta = Meta {
        source: &frame.source,
        seq: frame.seq,
        pts_ns: frame.pts_ns,
        width: frame.width,
        height: frame.height,
        detections: &frame.detections,
    };
    // Our values always serialise; a failure would only drop the boxes.
    let meta = serde_json::to_string(&meta).map(|json| ascii(&json)).unwrap_or_default();
    let length = picture.len();
    let head = format!("--{BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nX-Frame: {meta}\r\n\r\n");
    [head.as_bytes(), picture, b"\r\n"].concat().into()
}

/// JSON for a header: non-ASCII characters as `\u` escapes.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_a_header_is_ascii_and_still_the_same() {
        let json = serde_json::json!({"label": "Fußgänger 🚶\n"}).to_string();
        let header = ascii(&json);
        assert!(header.is_ascii() && !header.contains('\n'));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&header).unwrap(),
            serde_json::from_str::<serde_json::Value>(&json).unwrap()
        );
    }
}
