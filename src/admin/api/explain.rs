//! How alerts were decided on, and what a source raised and what held it back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::request::{Name, NoParams, Params};
use crate::alert::records::{self, Explained, NotOne, Page, REVIEW_MAX, REVIEW_USUAL, Records, Review};
use crate::control::Control;
use crate::engine::EngineApi;
use crate::error::Error;
use crate::types::unix_ms;

/// Which source and time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct Asked {
    /// The source.
    source: String,
    /// From this moment on, in Unix milliseconds or RFC 3339; as far back as `limit` says when absent.
    #[param(required = false, nullable = false, value_type = String, pattern = "^[0-9]{1,13}$")]
    from: Option<String>,
    /// Up to this moment, which is how the next page is asked for; up to now when absent.
    #[param(required = false, nullable = false, value_type = String, pattern = "^[0-9]{1,13}$")]
    to: Option<String>,
    /// Of this rule only.
    #[param(required = false, nullable = false, value_type = String)]
    rule: Option<String>,
    /// So many decisions at most, the newest; those of one moment stay together. 1,000 when absent.
    #[param(required = false, nullable = false, value_type = u32, minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
}

impl Asked {
    /// What is asked for, if it can be read.
    fn read(self) -> Result<records::Asked, ApiError> {
        let Self { source, from, to, rule, limit } = self;
        let moment = |text: Option<String>, absent: u64| match text.as_deref().map(unix_ms) {
            None => Ok(absent),
            Some(Some(ms)) => Ok(ms),
            Some(None) => {
                let message = "from and to are moments: Unix milliseconds, or 2026-01-31T14:30:00Z";
                Err(ApiError::unreadable(StatusCode::UNPROCESSABLE_ENTITY, message))
            }
        };
        let most = limit.map_or(REVIEW_USUAL, |limit| limit as usize);
        if !(1..=REVIEW_MAX).contains(&most) {
            return Err(ApiError::unreadable(StatusCode::BAD_REQUEST, format!("limit: from 1 to {REVIEW_MAX}")));
        }
        Ok(records::Asked { source, rule, from_ms: moment(from, 0)?, to_ms: moment(to, u64::MAX)?, most })
    }
}

/// Where the log is: the latest part in memory, all of it in the database, if there is one.
struct Log {
    board: Arc<dyn EngineApi>,
    control: Option<Arc<Control>>,
    caller: Caller,
}

impl Log {
    fn new(app: &AppState, caller: Caller) -> Self {
        Self { board: Arc::clone(&app.board), control: app.control.clone(), caller }
    }

    /// What the caller may know of an alert, from memory or the database.
    fn explain(&self, id: &str) -> Result<Explained, NotOne> {
        let in_memory = self.seen(self.board.records()).explain(id);
        let kept = self.control.as_ref().and_then(|control| control.decisions());
        match (&in_memory, kept) {
            // The database knows what became of it in former runs, too.
            (Ok(_) | Err(NotOne::Many(_)), _) | (_, None) => in_memory,
            (Err(NotOne::None), Some(kept)) => self.seen(read(kept.of_alert(id))).explain(id),
        }
    }

    fn review(&self, asked: &records::Asked) -> Review {
        let kept = self.control.as_ref().and_then(|control| control.decisions());
        let kept: Page = kept.map(|kept| read(kept.of_source(asked))).unwrap_or_default();
        kept.with(asked, self.board.records()).review(asked)
    }

    /// Leaves out what the caller may not know.
    fn seen(&self, records: Records) -> Records {
        let Records { mut decided, attempts, settled, mut alerts } = records;
        decided.retain(|decided| self.caller.sees(decided.source.as_str()));
        alerts.retain(|alert| self.caller.sees(alert.source.as_str()));
        Records { decided, attempts, settled, alerts }
    }
}

/// A log that cannot be read is empty; what is in memory is known nevertheless.
fn read<T: Default>(records: Result<T, Error>) -> T {
    records.unwrap_or_else(|error| {
        tracing::warn!("the log of decisions is not shown: {error}");
        T::default()
    })
}

/// How an alert was decided on and what became of it, sent or not: the strategy with the script's line, each stage of
/// the policy, each failed delivery. The id may be a part of it, at its beginning or its end.
#[utoipa::path(get, path = "/api/v1/alerts/{id}/explain",
    params(("id" = String, Path, description = "The alert's id.")),
    responses((status = 200, body = Explained)))]
pub(in crate::admin) async fn alert(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Json<Explained>, ApiError> {
    let (log, wanted) = (Log::new(&app, caller), id.clone());
    match app.work.call(move || log.explain(&wanted)).await? {
        Ok(explained) => Ok(Json(explained)),
        Err(NotOne::None) => Err(ApiError::not_found(format!("the log has no alert '{id}'"))),
        Err(NotOne::Many(ids)) => Err(ApiError::not_found(format!("more than one alert has '{id}' in its id: {ids}"))),
    }
}

/// What was raised on a source in some time, and what held it back; and what its strategies judged. The newest
/// decisions of that time: `next_ms` in the answer, given as `to`, asks for those before them.
#[utoipa::path(get, path = "/api/v1/explain", params(Asked),
    responses((status = 200, body = Review), (status = 422, description = "A moment cannot be read.")))]
pub(in crate::admin) async fn source(
    State(app): State<AppState>,
    caller: Caller,
    Params(asked): Params<Asked>,
) -> Result<Json<Review>, ApiError> {
    caller.check_source(&asked.source)?;
    let asked = asked.read()?;
    let log = Log::new(&app, caller);
    Ok(Json(app.work.call(move || log.review(&asked)).await?))
}
