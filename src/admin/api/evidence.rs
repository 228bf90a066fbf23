//! Clips and pictures of what is kept of a camera's encoded stream.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::{alerts, sources};
use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::request::{Name, Params};
use crate::backend::evidence::{Evidence, NoEvidence, Offset};
use crate::types::{rfc3339, since_epoch};
use crate::vision::jpeg;

/// Seconds of a clip before its moment, where the request does not say.
const BEFORE_S: f64 = 10.0;
/// Longest time before or after a moment.
const SPAN_MAX_S: f64 = 3_600.0;
/// JPEG quality of a picture.
const QUALITY: u8 = 90;
const MILLISECOND_NS: u64 = 1_000_000;
/// Longest wait for a picture that has not arrived yet.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// `Retry-After` where too much is being made.
const RETRY_AFTER_S: u32 = 1;
/// The header that says what an answer shows.
const HEADER: &str = "x-evidence";

/// Which time. Without any of them, a clip is of the last ten seconds.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct Wanted {
    /// The start, RFC 3339; with `to`.
    #[param(required = false, nullable = false, value_type = String, example = "2026-01-31T14:30:00Z")]
    from: Option<String>,
    /// The end, RFC 3339; with `from`.
    #[param(required = false, nullable = false, value_type = String)]
    to: Option<String>,
    /// A moment, RFC 3339; that of the newest picture when absent.
    #[param(required = false, nullable = false, value_type = String)]
    at: Option<String>,
    /// The moment of the alert with this id, by the stream that is kept: the delay between both streams is allowed for.
    #[param(required = false, nullable = false, value_type = String)]
    alert: Option<String>,
    /// Seconds before the moment; 10 when absent.
    #[param(required = false, nullable = false, value_type = f64, minimum = 0, maximum = 3_600)]
    before: Option<f64>,
    /// Seconds after the moment; 0 when absent.
    #[param(required = false, nullable = false, value_type = f64, minimum = 0, maximum = 3_600)]
    after: Option<f64>,
}

/// Which moment. Without any, the newest picture.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct Moment {
    /// A moment, RFC 3339.
    #[param(required = false, nullable = false, value_type = String)]
    at: Option<String>,
    /// The moment of the alert with this id, by the stream that is kept.
    #[param(required = false, nullable = false, value_type = String)]
    alert: Option<String>,
}

/// The contents of the header.
#[derive(Serialize)]
struct Shown<'a> {
    source: &'a str,
    /// The times of the first and the last picture.
    from: String,
    to: String,
    pictures: usize,
    /// By how many milliseconds a moment is later in this stream than alerts say, and how that was measured.
    offset_ms: f64,
    offset_by: &'static str,
}

/// A clip of what is kept of a camera, as MP4, as the camera encoded it: from the key frame before the time that is
/// asked for. X-Evidence says which times it covers.
#[utoipa::path(get, path = "/api/v1/sources/{source}/evidence.mp4",
    params(("source" = String, Path, description = "The source's id."), Wanted),
    responses((status = 200, description = "The clip.", content_type = "video/mp4", body = String)))]
pub(in crate::admin) async fn clip(
    State(app): State<AppState>,
    caller: Caller,
    Name(source): Name,
    Params(wanted): Params<Wanted>,
) -> Result<Response, ApiError> {
    let kept = kept(&app, &caller, &source)?;
    let (from_ns, to_ns) = wanted.range(&app, &caller, &source, &*kept)?;
    let theirs = Arc::clone(&kept);
    let made = app.work.call(move || theirs.clip(from_ns, to_ns)).await?;
    let clip = made.map_err(|why| refusal(&source, why))?;
    let shown = shown(&source, clip.covers_ns, clip.pictures, kept.offset());
    Ok(([(CONTENT_TYPE.as_str(), "video/mp4"), (HEADER, &shown)], clip.mp4).into_response())
}

/// The picture that a camera's kept stream showed at a moment, as JPEG in full size. X-Evidence says its time.
#[utoipa::path(get, path = "/api/v1/sources/{source}/evidence.jpg",
    params(("source" = String, Path, description = "The source's id."), Moment),
    responses((status = 200, description = "The picture.", content_type = "image/jpeg", body = String)))]
pub(in crate::admin) async fn picture(
    State(app): State<AppState>,
    caller: Caller,
    Name(source): Name,
    Params(Moment { at, alert }): Params<Moment>,
) -> Result<Response, ApiError> {
    let kept = kept(&app, &caller, &source)?;
    let at_ns = moment(&app, &caller, &source, &*kept, (at.as_deref(), alert.as_deref()))?;
    let theirs = Arc::clone(&kept);
    let made = app.work.call(move || {
        let still = theirs.picture(at_ns, WAIT_MAX)?;
        let jpeg = jpeg::encode(&still.picture, still.picture.width, QUALITY);
        let jpeg = jpeg.ok_or_else(|| NoEvidence::Failed("the picture cannot be encoded".into()))?;
        Ok((jpeg, still.at_ns))
    });
    let (jpeg, at_ns) = made.await?.map_err(|why| refusal(&source, why))?;
    let shown = shown(&source, (at_ns, at_ns), 1, kept.offset());
    Ok(([(CONTENT_TYPE.as_str(), "image/jpeg"), (HEADER, &shown)], jpeg).into_response())
}

/// What is kept of a source that the caller may see.
fn kept(app: &AppState, caller: &Caller, source: &str) -> Result<Arc<dyn Evidence>, ApiError> {
    caller.check_source(source)?;
    app.board.evidence(source).ok_or_else(|| match app.board.live(source) {
        Some(_) => {
            ApiError::not_found(format!("no evidence is kept of source '{source}': `sources[].evidence` is not set"))
        }
        None => sources::unknown(source),
    })
}

impl Wanted {
    /// The times that are asked for, Unix time, nanoseconds.
    fn range(self, app: &AppState, caller: &Caller, source: &str, kept: &dyn Evidence) -> Result<(u64, u64), ApiError> {
        let Self { from, to, at, alert, before, after } = self;
        match (from, to) {
            (None, None) => {}
            (Some(from), Some(to))
                if [at.is_some(), alert.is_some(), before.is_some(), after.is_some()] == [false; 4] =>
            {
                let (from_ns, to_ns) = (read(&from)?, read(&to)?);
                return if from_ns <= to_ns { Ok((from_ns, to_ns)) } else { Err(wrong("from: it is after `to`")) };
            }
            _ => return Err(wrong("`from` and `to` belong together, and exclude the others")),
        }
        let span = |name: &str, seconds: f64| {
            let allowed = (0.0..=SPAN_MAX_S).contains(&seconds);
            let ns = Duration::try_from_secs_f64(seconds).ok().and_then(|time| u64::try_from(time.as_nanos()).ok());
            ns.filter(|_| allowed).ok_or_else(|| wrong(format!("{name}: from 0 to {SPAN_MAX_S}")))
        };
        let (before_ns, after_ns) = (span("before", before.unwrap_or(BEFORE_S))?, span("after", after.unwrap_or(0.0))?);
        let at_ns = moment(app, caller, source, kept, (at.as_deref(), alert.as_deref()))?;
        Ok((at_ns.saturating_sub(before_ns), at_ns.saturating_add(after_ns)))
    }
}

/// The moment in the ring that is asked for: stated, that of an alert, or that of the newest picture.
fn moment(
    app: &AppState,
    caller: &Caller,
    source: &str,
    kept: &dyn Evidence,
    (at, alert): (Option<&str>, Option<&str>),
) -> Result<u64, ApiError> {
    match (at, alert) {
        (Some(_), Some(_)) => Err(wrong("`at` and `alert` exclude each other")),
        // The times in our answers are cut to the millisecond: the picture of one is found by its own time.
        (Some(at), None) => read(at).map(|at_ns| at_ns.saturating_add(MILLISECOND_NS - 1)),
        (None, Some(id)) => {
            let (_, cased) = alerts::find(app, caller, id)?;
            if cased.alert.source.as_str() != source {
                return Err(ApiError::not_found(format!("the alert is of source '{}'", cased.alert.source)));
            }
            let at_ns = read(&cased.alert.time)?;
            Ok(match &cased.alert.evidence {
                // As it was measured then.
                Some(mark) => at_ns.saturating_add_signed((mark.offset_ms * 1e6) as i64),
                None => kept.offset().apply(at_ns),
            })
        }
        (None, None) => {
            let newest = kept.newest_ns();
            newest.ok_or_else(|| refusal(source, NoEvidence::NotKept(None)))
        }
    }
}

fn read(text: &str) -> Result<u64, ApiError> {
    let ns = since_epoch(text).and_then(|time| u64::try_from(time.as_nanos()).ok());
    ns.ok_or_else(|| wrong("a time is written as 2026-01-31T14:30:00Z"))
}

fn wrong(message: impl Into<String>) -> ApiError {
    ApiError::unreadable(StatusCode::BAD_REQUEST, message)
}

/// A time in an answer.
fn written(at_ns: u64) -> String {
    rfc3339(at_ns / MILLISECOND_NS)
}

fn shown(source: &str, (first_ns, last_ns): (u64, u64), pictures: usize, offset: Offset) -> String {
    let shown = Shown {
        source,
        from: written(first_ns),
        to: written(last_ns),
        pictures,
        offset_ms: offset.ns() as f64 / 1e6,
        offset_by: offset.by(),
    };
    // A header is ASCII; a name in another script is escaped as JSON allows.
    let text = serde_json::to_string(&shown).unwrap_or_default();
    let escape = |c: char| match c {
        ' '..='~' => c.to_string(),
        _ => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    text.chars().map(escape).collect()
}

fn refusal(source: &str, why: NoEvidence) -> ApiError {
    match why {
        NoEvidence::NotKept(None) => ApiError::not_found(format!("nothing is kept of source '{source}' yet")),
        NoEvidence::NotKept(Some((first, last))) => {
            let kept = format!("{} to {}", written(first), written(last));
            ApiError::not_found(format!("nothing of that time is kept of source '{source}': it has {kept}"))
        }
        NoEvidence::Busy => ApiError::busy("too many clips and pictures of this source are being made", RETRY_AFTER_S),
        NoEvidence::Failed(why) => {
            tracing::warn!(source, "evidence cannot be made: {why}");
            ApiError::ours()
        }
    }
}
