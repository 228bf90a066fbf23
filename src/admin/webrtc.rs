//! WebRTC over HTTP: publishing to a source (WHIP, RFC 9725) and watching it (WHEP).
//!
//! One request opens a session: the offer in its body, the answer with every candidate in the response. The address in
//! `Location` ends it. Candidates that are sent later (PATCH) are not taken.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;

use tokio::time;

use super::AppState;
use super::access::Caller;
use super::api::sources;
use super::error::ApiError;
use super::request::Name;
use crate::backend::{Answer, Offer, Peers, Unanswered};

/// Longest offer.
const OFFER_BYTES_MAX: usize = 64 * 1024;
/// How often a session is looked at.
const SESSION_TICK: Duration = Duration::from_secs(2);
/// The media type of offers and answers.
const SDP: &str = "application/sdp";
/// `Retry-After` of a source that is occupied: a publisher that vanished is given up after this time.
const RETRY_AFTER_S: u32 = 3;

/// The routes that open sessions.
pub(super) fn open(handler: MethodRouter<AppState>) -> MethodRouter<AppState> {
    handler.layer(DefaultBodyLimit::max(OFFER_BYTES_MAX))
}

/// Publishes to a source: it waits for one publisher.
#[utoipa::path(post, path = "/whip/{source}",
    params(("source" = String, Path, description = "The source's id.")),
    request_body(content = String, content_type = "application/sdp", description = "The offer, with its candidates."),
    responses((status = 201, description = "The answer, with every candidate.", content_type = "application/sdp",
               body = String, headers(("Location" = String, description = "The session; DELETE ends it.")))))]
pub(super) async fn publish(
    State(app): State<AppState>,
    caller: Caller,
    Name(source): Name,
    OfferBody(sdp): OfferBody,
) -> Result<Response, ApiError> {
    let (peers, offer) = (peers(&app, &caller, &source)?, Offer { sdp, from: caller.peer().ip() });
    open_session(app, caller, ("whip", source), peers, move |peers| peers.publish(&offer)).await
}

/// Watches a source: its H.264 stream, as it comes from the camera. 409 where it cannot be passed on as it is; /live
/// has its pictures then.
#[utoipa::path(post, path = "/whep/{source}",
    params(("source" = String, Path, description = "The source's id.")),
    request_body(content = String, content_type = "application/sdp", description = "The offer, with its candidates."),
    responses((status = 201, description = "The answer, with every candidate.", content_type = "application/sdp",
               body = String, headers(("Location" = String, description = "The session; DELETE ends it.")))))]
pub(super) async fn watch(
    State(app): State<AppState>,
    caller: Caller,
    Name(source): Name,
    OfferBody(sdp): OfferBody,
) -> Result<Response, ApiError> {
    let (peers, offer) = (peers(&app, &caller, &source)?, Offer { sdp, from: caller.peer().ip() });
    open_session(app, caller, ("whep", source), peers, move |peers| peers.watch(&offer)).await
}

/// Opens a session, which ends with its token.
async fn open_session(
    app: AppState,
    caller: Caller,
    (kind, source): (&str, String),
    peers: Arc<dyn Peers>,
    open: impl FnOnce(&dyn Peers) -> Result<Answer, Unanswered> + Send + 'static,
) -> Result<Response, ApiError> {
    let theirs = Arc::clone(&peers);
    let answer = app.work.call(move || open(&*theirs)).await?;
    if let Ok(Answer { session, .. }) = &answer {
        let session = session.clone();
        // As many as there are sessions, which the source bounds.
        tokio::spawn(async move {
            let ended = async {
                while peers.is_open(&session) {
                    time::sleep(SESSION_TICK).await;
                }
            };
            tokio::select! {
                () = ended => {}
                () = app.over(&caller) => drop(peers.hang_up(&session)),
            }
        });
    }
    answered(kind, &source, answer)
}

/// Ends a viewer's session.
#[utoipa::path(delete, path = "/whep/{source}/{session}",
    params(("source" = String, Path, description = "The source's id."),
           ("session" = String, Path, description = "The session's name.")),
    responses((status = 200, description = "It has ended.")))]
pub(super) async fn unwatch(
    State(app): State<AppState>,
    caller: Caller,
    Session(source, session): Session,
) -> Result<StatusCode, ApiError> {
    hang_up(&app, &caller, &source, session).await
}

/// Ends a publisher's session.
#[utoipa::path(delete, path = "/whip/{source}/{session}",
    params(("source" = String, Path, description = "The source's id."),
           ("session" = String, Path, description = "The session's name.")),
    responses((status = 200, description = "It has ended.")))]
pub(super) async fn unpublish(
    State(app): State<AppState>,
    caller: Caller,
    Session(source, session): Session,
) -> Result<StatusCode, ApiError> {
    hang_up(&app, &caller, &source, session).await
}

async fn hang_up(app: &AppState, caller: &Caller, source: &str, session: String) -> Result<StatusCode, ApiError> {
    let peers = peers(app, caller, source)?;
    match peers.hang_up(&session) {
        true => Ok(StatusCode::OK),
        false => Err(ApiError::not_found(format!("there is no session '{session}'"))),
    }
}

/// The WebRTC side of a source that the caller may see.
fn peers(app: &AppState, caller: &Caller, source: &str) -> Result<Arc<dyn Peers>, ApiError> {
    caller.check_source(source)?;
    if app.board.live(source).is_none() {
        return Err(sources::unknown(source));
    }
    app.board.peers(source).map_err(|error| ApiError::conflict(&error))
}

fn answered(kind: &str, source: &str, answer: Result<Answer, Unanswered>) -> Result<Response, ApiError> {
    match answer {
        Ok(Answer { sdp, session }) => {
            let encoded = percent_encoding::utf8_percent_encode(source, percent_encoding::NON_ALPHANUMERIC);
            let headers = [(CONTENT_TYPE, SDP.to_owned()), (LOCATION, format!("/{kind}/{encoded}/{session}"))];
            Ok((StatusCode::CREATED, headers, sdp).into_response())
        }
        Err(Unanswered::Invalid(why)) => {
            Err(ApiError::unreadable(StatusCode::BAD_REQUEST, format!("the offer: {why}")))
        }
        Err(Unanswered::Occupied(why)) => Err(ApiError::occupied(format!("source {source}: {why}"), RETRY_AFTER_S)),
        Err(Unanswered::Unsupported(why)) => {
            Err(ApiError::refused(format!("source {source}: {why}"), "/live/SOURCE has its pictures as MJPEG"))
        }
        Err(Unanswered::Failed(why)) => Err(ApiError::busy(&format!("source {source}: {why}"), RETRY_AFTER_S)),
    }
}

/// An offer.
pub(super) struct OfferBody(String);

impl<S: Send + Sync> FromRequest<S> for OfferBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_sdp(request.headers()) {
            let message = format!("the body is to be {SDP}");
            return Err(ApiError::unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|error| {
            let message = match error.status() {
                StatusCode::PAYLOAD_TOO_LARGE => format!("the offer is longer than {OFFER_BYTES_MAX} bytes"),
                _ => error.body_text(),
            };
            ApiError::unreadable(error.status(), message)
        })?;
        String::from_utf8(bytes.into())
            .map(Self)
            .map_err(|_| ApiError::unreadable(StatusCode::BAD_REQUEST, "the offer is not UTF-8"))
    }
}

fn is_sdp(headers: &HeaderMap) -> bool {
    let sent = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    sent.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(SDP)
}

/// The source and the session of a path.
pub(super) struct Session(String, String);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<(String, String)>::from_request_parts(parts, state).await {
            Ok(Path((source, session))) => Ok(Self(source, session)),
            Err(error) => Err(ApiError::unreadable(StatusCode::BAD_REQUEST, error.body_text())),
        }
    }
}
