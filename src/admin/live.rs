//! Live pictures: a multipart stream per client, encoded only while somebody watches, newest frame first.
//!
//! Each part carries its frame's metadata in `X-Frame`, so that the page draws boxes onto exactly the picture they
//! belong to. A player that knows nothing of it shows plain MJPEG.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::{task, time};
use tokio_stream::wrappers::ReceiverStream;

use super::{CLIENT_STALL_MAX, Desk};
use crate::engine::live::{Live, LiveFrame, Watching};
use crate::types::{Detection, SourceId};

/// Parts on their way to one client. While it is full the client's sources skip frames.
const PARTS_MAX: usize = 2;
/// Between the parts.
const BOUNDARY: &str = "dsengine-frame";

type Parts = mpsc::Sender<Result<Bytes, Infallible>>;

/// Live pictures of one source.
#[utoipa::path(get, path = "/live/{source}",
    params(("source" = String, Path, description = "The source's id.")),
    responses(
        (status = 200, description = "JPEG parts, each with its metadata as JSON in X-Frame.",
         content_type = "multipart/x-mixed-replace"),
        (status = 404, description = "There is no such source."),
        (status = 503, description = "Too many streams."),
    ))]
pub(super) async fn one(State(desk): State<Desk>, Path(source): Path<String>) -> Response {
    match desk.board.live(&source) {
        Some(live) => stream(desk, vec![live], "multipart/x-mixed-replace"),
        None => (StatusCode::NOT_FOUND, "There is no such source.\n").into_response(),
    }
}

/// Live pictures of all sources that are there now, in one stream: a browser opens only six connections to a host.
#[utoipa::path(get, path = "/live", responses(
    (status = 200, description = "As /live/{source}, of all sources; X-Frame names the source.",
     content_type = "multipart/mixed"),
    (status = 503, description = "Too many streams."),
))]
pub(super) async fn all(State(desk): State<Desk>) -> Response {
    let lives = desk.board.status().sources.iter().filter_map(|s| desk.board.live(&s.id)).collect();
    // Not x-mixed-replace: some browsers take such an answer apart even where a script asked for its bytes.
    stream(desk, lives, "multipart/mixed")
}

fn stream(desk: Desk, lives: Vec<Arc<Live>>, kind: &str) -> Response {
    let Ok(permit) = desk.streams.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "Too many streams.\n").into_response();
    };
    let (parts, rx) = mpsc::channel(PARTS_MAX);
    let mut stop = desk.stop;
    tokio::spawn(async move {
        let _permit = permit;
        // Dropping it ends those that are left.
        let mut forwards = JoinSet::new();
        for live in lives {
            forwards.spawn(forward(live.watch(), parts.clone()));
        }
        let through = async { while let Some(Ok(End::Source)) = forwards.join_next().await {} };
        tokio::select! {
            () = through => {}
            () = parts.closed() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    });
    let kind = format!("{kind}; boundary={BOUNDARY}");
    ([(CONTENT_TYPE, kind)], Body::from_stream(ReceiverStream::new(rx))).into_response()
}

/// Why a source's pictures go no further.
enum End {
    /// The source is gone; others go on.
    Source,
    /// The client is gone or has stopped reading: the stream ends, so that the client can ask for a new one, rather
    /// than go on with some of its sources.
    Client,
}

/// Sends what the source shows until the client or the source is gone.
async fn forward(mut watching: Watching, parts: Parts) -> End {
    while let Some(frame) = watching.next().await {
        // Encoding fails only at the end of the runtime, or in a panic, which is logged.
        let Ok(part) = task::spawn_blocking(move || part(&frame)).await else { return End::Client };
        let Ok(Ok(())) = time::timeout(CLIENT_STALL_MAX, parts.send(Ok(part))).await else { return End::Client };
    }
    End::Source
}

/// What `X-Frame` says.
#[derive(Serialize)]
struct Meta<'a> {
    source: &'a SourceId,
    seq: u64,
    pts_ns: u64,
    width: u32,
    height: u32,
    detections: &'a [Detection],
}

/// One part. A frame without pixels has an empty body: there is no picture, and none is made up.
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
    // A value of ours always serialises; were it not to, the picture would come without its boxes.
    let meta = serde_json::to_string(&meta).map(|json| ascii(&json)).unwrap_or_default();
    let length = picture.len();
    let head = format!("--{BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nX-Frame: {meta}\r\n\r\n");
    [head.as_bytes(), picture, b"\r\n"].concat().into()
}

/// JSON in a header: everything beyond ASCII as `\u` escapes.
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
