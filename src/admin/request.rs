//! Parses requests: path, query and body, each with errors of the common shape.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use utoipa::IntoParams;

use super::access::Caller;
use super::error::ApiError;

/// Maximum size of a request body: far above any configuration.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Accepted media types of a configuration.
const YAML: &[&str] = &["application/yaml", "application/x-yaml", "text/yaml", "text/plain", "application/json"];
/// Accepted media types of lines of JSON. A form of another site's page has none of them.
const LINES: &[&str] = &["application/x-ndjson", "application/jsonl", "application/json"];
/// Accepted media types of a JSON merge patch.
const JSON: &[&str] = &["application/json", "application/merge-patch+json"];

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // `same_origin` inserts it into every request.
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::no_token)
    }
}

/// The only variable of a path.
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(error) => Err(ApiError::unreadable(StatusCode::BAD_REQUEST, error.body_text())),
        }
    }
}

/// The query, as a typed struct.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(error) => Err(ApiError::unreadable(StatusCode::BAD_REQUEST, of_query(&error.body_text()))),
        }
    }
}

/// What is wrong with a query, in our words: `clean: expected true or false`.
fn of_query(text: &str) -> String {
    let what = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    let what = what.replace("provided string was not `true` or `false`", "expected true or false");
    let what = what.replace("invalid digit found in string", "expected a whole number");
    let what = what.replace("number too large to fit in target type", "the number is too large");
    let what = what.replace("cannot parse integer from empty string", "expected a whole number");
    what.replace("unknown field", "there is no parameter").replace("missing field", "it lacks the parameter")
}

/// A query without keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParams {}

/// How a change is to be made.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Save {
    /// Whether the change outlasts a restart.
    #[serde(default)]
    #[param(required = false)]
    pub(super) save: bool,
}

/// Maximum limit of events or pictures for a stream.
pub(super) const LIMIT_MAX: u32 = 1_000_000;

/// Checks that a stream's limit is in range.
pub(super) fn check_limit(limit: Option<u32>) -> Result<(), ApiError> {
    if limit.is_none_or(|limit| limit <= LIMIT_MAX) {
        return Ok(());
    }
    Err(ApiError::unreadable(StatusCode::BAD_REQUEST, format!("limit: at most {LIMIT_MAX}")))
}

/// A JSON object.
pub(super) struct JsonBody(pub(super) Json);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        check_kind(request.headers(), JSON)?;
        let bytes = body(request, state).await?;
        let json: Json = serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::unreadable(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}")))?;
        if json.is_object() {
            return Ok(Self(json));
        }
        Err(ApiError::unreadable(StatusCode::UNPROCESSABLE_ENTITY, "the body is not a JSON object"))
    }
}

/// A JSON object that may be left out: a request without a body and without a `Content-Type`, as `curl -X POST` sends
/// it, has an empty one.
pub(super) struct StepBody(pub(super) Json);

impl<S: Send + Sync> FromRequest<S> for StepBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if request.headers().contains_key(CONTENT_TYPE) {
            return JsonBody::from_request(request, state).await.map(|JsonBody(json)| Self(json));
        }
        match body(request, state).await?.is_empty() {
            true => Ok(Self(Json::Object(serde_json::Map::new()))),
            false => Err(wrong_kind(JSON)),
        }
    }
}

/// A configuration as text, YAML or JSON.
pub(super) struct DocumentBody(pub(super) String);

impl<S: Send + Sync> FromRequest<S> for DocumentBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        check_kind(request.headers(), YAML)?;
        let bytes = body(request, state).await?;
        let text = String::from_utf8(bytes.into())
            .map_err(|_| ApiError::unreadable(StatusCode::BAD_REQUEST, "the body is not UTF-8"))?;
        // An empty file is a configuration; `null`, which YAML equates with it, is not.
        match serde_json::from_str::<Json>(&text) {
            Ok(json) if !json.is_object() => {
                Err(ApiError::unreadable(StatusCode::UNPROCESSABLE_ENTITY, "the configuration is not an object"))
            }
            _ => Ok(Self(text)),
        }
    }
}

/// Lines of JSON.
pub(super) struct LinesBody(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for LinesBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        check_kind(request.headers(), LINES)?;
        body(request, state).await.map(Self)
    }
}

/// Checks the body's media type.
fn check_kind(headers: &HeaderMap, kinds: &[&str]) -> Result<(), ApiError> {
    let sent = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let bare = sent.split(';').next().unwrap_or_default().trim();
    if kinds.iter().any(|kind| kind.eq_ignore_ascii_case(bare)) {
        return Ok(());
    }
    Err(wrong_kind(kinds))
}

fn wrong_kind(kinds: &[&str]) -> ApiError {
    let message = format!("the body is to be one of: {}", kinds.join(", "));
    ApiError::unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
}

async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state).await.map_err(|error| match error {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            let message = format!("the body is longer than {BODY_BYTES_MAX} bytes");
            ApiError::unreadable(StatusCode::PAYLOAD_TOO_LARGE, message)
        }
        other => ApiError::unreadable(StatusCode::BAD_REQUEST, other.body_text()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_query_that_does_not_fit_is_refused_in_our_words() {
        for (query, wanted) in
            [("save=ja", "save: expected true or false"), ("sav=true", "there is no parameter `sav`, expected `save`")]
        {
            let uri = format!("/?{query}");
            let (mut parts, ()) = axum::http::Request::builder().uri(uri).body(()).unwrap().into_parts();
            let Err(refused) = Params::<Save>::from_request_parts(&mut parts, &()).await else { panic!("{query}") };
            assert!(format!("{refused:?}").contains(wanted), "{refused:?}");
        }
    }
}
