//! Error responses, all of one shape.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::alert::again::no_handler;
use crate::config::Scope;
use crate::control::{Problem, Refusal, RefusalKind};
use crate::error::{Code, Error};

/// The challenge that follows a wrong token.
const WRONG_TOKEN: &str = "Bearer realm=\"dsengine\", error=\"invalid_token\"";

/// Why a request was not carried out.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// The error's code; `dsengine explain CODE` prints its page.
    code: &'static str,
    /// What is wrong, in one sentence.
    message: String,
    /// Where, `file:line:column` or the path of the key.
    place: Option<String>,
    /// What to do about it.
    hint: Option<String>,
    /// Every problem of a configuration that is not valid.
    problems: Vec<Problem>,
}

/// An error response.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    /// For `WWW-Authenticate`.
    challenge: Option<&'static str>,
    /// For `Retry-After`, in seconds.
    retry_after: Option<u32>,
    // Boxed, since every `Result` with it has its size.
    body: Box<ErrorBody>,
}

impl ApiError {
    fn new(status: StatusCode, code: Code, message: impl Into<String>, hint: Option<String>) -> Self {
        let body = ErrorBody { code: code.as_str(), message: message.into(), place: None, hint, problems: Vec::new() };
        Self { status, challenge: None, retry_after: None, body: Box::new(body) }
    }

    /// Its HTTP status.
    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// 401: neither a token nor a session.
    pub(super) fn no_token() -> Self {
        let hint = "send one of monitoring.tokens as 'Authorization: Bearer TOKEN', or type it into the page";
        let error = Self::new(StatusCode::UNAUTHORIZED, Code::Access, "a token is needed here", Some(hint.into()));
        Self { challenge: Some("Bearer realm=\"dsengine\""), ..error }
    }

    /// 401: an unknown token or session.
    pub(super) fn wrong_token() -> Self {
        let hint = "the token is not among monitoring.tokens, or the session has ended";
        let error = Self::new(StatusCode::UNAUTHORIZED, Code::Access, "there is no such token", Some(hint.into()));
        Self { challenge: Some(WRONG_TOKEN), ..error }
    }

    /// Whether it is about an unknown token or session.
    pub(super) fn is_wrong_token(&self) -> bool {
        self.challenge == Some(WRONG_TOKEN)
    }

    /// 403: a token without the scope.
    pub(super) fn no_scope(token: &str, scope: Scope) -> Self {
        let message = format!("the token '{token}' has no scope '{}'", scope.as_str());
        let hint = format!("add '{}' to its scopes in monitoring.tokens", scope.as_str());
        let error = Self::new(StatusCode::FORBIDDEN, Code::Access, message, Some(hint));
        Self { challenge: Some("Bearer realm=\"dsengine\", error=\"insufficient_scope\""), ..error }
    }

    /// 403: a token that is limited to other sources.
    pub(super) fn limited(token: &str, sources: &[String]) -> Self {
        let message = format!("the token '{token}' is for these sources only: {}", sources.join(", "));
        let hint = "ask with a token whose sources in monitoring.tokens include it, or that is not limited".to_owned();
        let error = Self::new(StatusCode::FORBIDDEN, Code::Access, message, Some(hint));
        Self { challenge: Some("Bearer realm=\"dsengine\", error=\"insufficient_scope\""), ..error }
    }

    /// 403: a request from, or for, another site.
    pub(super) fn foreign(message: &str, hint: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, Code::Access, message, Some(hint.into()))
    }

    /// An invalid request: 400, 413, 415 or 422.
    pub(super) fn unreadable(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, Code::Request, message, Some("/api/v1/openapi.json describes what is taken".into()))
    }

    /// 404.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        let hint = "the page is at /, the API is described at /api/v1/openapi.json";
        Self::new(StatusCode::NOT_FOUND, Code::Request, message, Some(hint.into()))
    }

    /// 404: an alert that is not in memory, or not for this caller.
    pub(super) fn no_alert(id: &str) -> Self {
        let hint = "GET /api/v1/alerts lists those in memory; `dsengine alerts list` those on the disk";
        Self::new(StatusCode::NOT_FOUND, Code::NoAlert, format!("alert '{id}' is not in memory"), Some(hint.into()))
    }

    /// 404: a handler that does not exist; it names those that do.
    pub(super) fn no_handler(name: &str, handlers: &[&str]) -> Self {
        let (message, hint) = no_handler(name, handlers);
        Self::new(StatusCode::NOT_FOUND, Code::Request, message, Some(hint))
    }

    /// 405. `Allow` is added where the methods are known.
    pub(super) fn method() -> Self {
        let hint = "the header Allow names the methods that it takes".to_owned();
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::Request, "this path does not take this method", Some(hint))
    }

    /// 409: an engine without a changeable configuration.
    pub(super) fn no_control() -> Self {
        let message = "this engine was started without a configuration that can be changed";
        Self::new(StatusCode::CONFLICT, Code::Request, message, None)
    }

    /// 409: a step that is not possible as things are.
    pub(super) fn refused(message: String, hint: &str) -> Self {
        Self::new(StatusCode::CONFLICT, Code::Request, message, Some(hint.into()))
    }

    /// 409: something that another has at the moment.
    pub(super) fn occupied(message: String, retry_after_s: u32) -> Self {
        let error = Self::new(StatusCode::CONFLICT, Code::Request, message, None);
        Self { retry_after: Some(retry_after_s), ..error }
    }

    /// 409: this engine serves no log stream.
    pub(super) fn no_log() -> Self {
        let hint = "the program keeps one; an embedder hands its own to `admin::Port::with_log`";
        Self::new(StatusCode::CONFLICT, Code::Unsupported, "this engine keeps no log", Some(hint.into()))
    }

    /// 429: one token has too many of something.
    pub(super) fn too_many_of_token(message: String, retry_after_s: u32) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, Code::Request, message, None);
        Self { retry_after: Some(retry_after_s), ..error }
    }

    /// 503: at capacity.
    pub(super) fn busy(message: &str, retry_after_s: u32) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Request, message, None);
        Self { retry_after: Some(retry_after_s), ..error }
    }

    /// 500: an internal error.
    pub(super) fn ours() -> Self {
        let message = "the call failed inside the engine";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Request, message, Some("the log says more".into()))
    }

    /// 409: a reload failed.
    pub(super) fn conflict(error: &Error) -> Self {
        let hint = error.remedy().map(str::to_owned);
        let mut refused = Self::new(StatusCode::CONFLICT, error.code(), error.message(), hint);
        refused.body.place = error.part().map(str::to_owned);
        refused
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, kind, message, place, hint, problems } = refusal;
        let status = match kind {
            RefusalKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            RefusalKind::NotFound => StatusCode::NOT_FOUND,
            RefusalKind::Conflict | RefusalKind::NeedsRestart | RefusalKind::NotSaved | RefusalKind::Engine => {
                StatusCode::CONFLICT
            }
        };
        let body = Box::new(ErrorBody { code, message, place, hint, problems });
        Self { status, challenge: None, retry_after: None, body }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&*self.body)).into_response();
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
