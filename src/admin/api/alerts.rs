//! The alerts with their cases, and what people do about them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::request::{JsonBody, Name, NoParams, Params, StepBody};
use crate::alert::{By, Case, CaseQuery, CaseRefused, CaseState, CaseStep, Cased, Outbox};
use crate::control::{Outcome, Refusal, RefusalKind};
use crate::engine::SystemClock;
use crate::types::{AlertId, Clock as _};

/// Alerts in a response, where the request does not say how many.
const LIMIT: u32 = 100;
/// Maximum alerts in a response.
const LIMIT_MAX: u32 = 1_000;
/// Longest wait for the disk before an answer.
const WRITTEN_MAX: Duration = Duration::from_secs(2);

/// Which alerts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct Wanted {
    /// Only those in this state: open, acknowledged, resolved; all when absent.
    #[param(required = false, nullable = false, value_type = String, pattern = "^(open|acknowledged|resolved)$")]
    state: Option<String>,
    /// Only those accepted before the alert with this id, which is how the next page is asked for.
    #[param(required = false, nullable = false, value_type = String)]
    before: Option<String>,
    /// So many at most; 100 when absent.
    #[param(required = false, nullable = false, value_type = u32, minimum = 1, maximum = 1_000)]
    limit: Option<u32>,
}

impl Wanted {
    fn query(self) -> Result<CaseQuery, ApiError> {
        let wrong = |message: String| ApiError::unreadable(StatusCode::BAD_REQUEST, message);
        let most = self.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&most) {
            return Err(wrong(format!("limit: from 1 to {LIMIT_MAX}")));
        }
        let state = match self.state.as_deref() {
            Some(word) => Some(word.parse::<CaseState>().map_err(|()| {
                let words = CaseState::ALL.map(CaseState::as_str).join(", ");
                wrong(format!("there is no state '{word}', but {words}"))
            })?),
            None => None,
        };
        let before = self.before.map(|id| known(&id)).transpose()?;
        Ok(CaseQuery { state, before, most: most as usize })
    }
}

/// What is said about a step. Only its description is here.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what a step reads")]
pub(in crate::admin) struct Note {
    /// Why, kept with the alert.
    #[schema(nullable = false)]
    note: Option<String>,
    /// The name of the person who does it, kept before that of the token.
    #[schema(nullable = false)]
    by: Option<String>,
}

/// Whether an alert was true. Only its description is here.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what a verdict reads")]
pub(in crate::admin) struct Judged {
    /// Whether it was.
    correct: bool,
    /// Why, kept with the alert.
    #[schema(nullable = false)]
    note: Option<String>,
    /// The name of the person who does it, kept before that of the token.
    #[schema(nullable = false)]
    by: Option<String>,
}

/// The alerts in memory with their cases, newest first: the newest 10,000, resolved ones leaving first. A token that is
/// limited to some sources sees those of them only.
#[utoipa::path(get, path = "/api/v1/alerts", params(Wanted), responses((status = 200, body = Vec<Cased>)))]
pub(in crate::admin) async fn alerts(
    State(app): State<AppState>,
    caller: Caller,
    Params(wanted): Params<Wanted>,
) -> Result<Json<Vec<Cased>>, ApiError> {
    let query = wanted.query()?;
    let Some(outbox) = app.board.outbox() else { return Ok(Json(recent(&app, &caller, &query))) };
    let found = outbox.cases(&query, |source| caller.sees(source.as_str()));
    found.map(Json).ok_or_else(|| ApiError::not_found("there is no alert with the id that `before` gives"))
}

/// The latest alerts of an engine that keeps no cases.
fn recent(app: &AppState, caller: &Caller, query: &CaseQuery) -> Vec<Cased> {
    let alerts = app.board.events().recent_alerts().into_iter();
    let seen = alerts.filter(|alert| caller.sees(alert.source.as_str()));
    let cased = seen.map(|alert| Cased { case: Case::of(&alert), alert });
    cased.filter(|cased| query.state.is_none_or(|state| cased.case.state == state)).take(query.most).collect()
}

/// An alert with its case.
#[utoipa::path(get, path = "/api/v1/alerts/{id}", params(("id" = String, Path, description = "The alert's id.")),
    responses((status = 200, body = Cased)))]
pub(in crate::admin) async fn alert(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Json<Cased>, ApiError> {
    let (_, cased) = find(&app, &caller, &id)?;
    Ok(Json(cased))
}

/// Acknowledges an alert: somebody has taken it up.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/acknowledge",
    params(("id" = String, Path, description = "The alert's id.")),
    request_body(content = Note, description = "Why; it may be left out."), responses((status = 200, body = Cased)))]
pub(in crate::admin) async fn acknowledge(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    StepBody(body): StepBody,
) -> Result<Json<Cased>, ApiError> {
    take(&app, &caller, &id, CaseStep::Acknowledge, &body).await
}

/// Resolves an alert: it is over.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/resolve",
    params(("id" = String, Path, description = "The alert's id.")),
    request_body(content = Note, description = "Why; it may be left out."), responses((status = 200, body = Cased)))]
pub(in crate::admin) async fn resolve(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    StepBody(body): StepBody,
) -> Result<Json<Cased>, ApiError> {
    take(&app, &caller, &id, CaseStep::Resolve, &body).await
}

/// Opens an alert again.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/reopen",
    params(("id" = String, Path, description = "The alert's id.")),
    request_body(content = Note, description = "Why; it may be left out."), responses((status = 200, body = Cased)))]
pub(in crate::admin) async fn reopen(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    StepBody(body): StepBody,
) -> Result<Json<Cased>, ApiError> {
    take(&app, &caller, &id, CaseStep::Reopen, &body).await
}

/// Says whether an alert was true, which is kept with it.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/verdict",
    params(("id" = String, Path, description = "The alert's id.")),
    request_body(content = Judged, description = "Whether it was."), responses((status = 200, body = Cased)))]
pub(in crate::admin) async fn verdict(
    State(app): State<AppState>,
    caller: Caller,
    Name(id): Name,
    JsonBody(mut body): JsonBody,
) -> Result<Json<Cased>, ApiError> {
    let correct = body.as_object_mut().and_then(|body| body.remove("correct"));
    let step = match correct {
        Some(Value::Bool(true)) => CaseStep::True,
        Some(Value::Bool(false)) => CaseStep::False,
        _ => {
            let message = "the body has a key `correct`: true or false";
            return Err(ApiError::unreadable(StatusCode::UNPROCESSABLE_ENTITY, message));
        }
    };
    take(&app, &caller, &id, step, &body).await
}

/// Takes a step in the caller's name, and writes it into the audit.
async fn take(
    app: &AppState,
    caller: &Caller,
    id: &str,
    step: CaseStep,
    body: &Value,
) -> Result<Json<Cased>, ApiError> {
    let (outbox, cased) = find(app, caller, id)?;
    let said = Said::read(body)?;
    let by = By::new(&said.who(caller.name()), SystemClock::new().unix_ns() / 1_000_000, said.note);
    let taken = outbox.change_case(&cased.alert.id, step, by);
    if let Some(control) = &app.control {
        let what = format!("{} alert {} of {}", word(step), cased.alert.id, cased.alert.source);
        let outcome = match &taken {
            Ok(cased) => Ok(Outcome { changes: vec![format!("it is {}", cased.case.state)], ..Outcome::default() }),
            Err(error) => Err(Refusal::new(RefusalKind::Conflict, error.to_string())),
        };
        control.record(&caller.author(), what, &outcome);
    }
    match taken {
        Ok(cased) => {
            // A disk that does not answer is said in the health, and the case is written once it does.
            outbox.case_written(&cased.alert.id, WRITTEN_MAX).await;
            Ok(Json(cased))
        }
        Err(CaseRefused::Unknown) => Err(unknown(id)),
        Err(error) => Err(ApiError::refused(error.to_string(), &format!("POST /api/v1/alerts/{id}/reopen"))),
    }
}

/// A step in the audit.
fn word(step: CaseStep) -> &'static str {
    match step {
        CaseStep::Acknowledge => "acknowledge",
        CaseStep::Resolve => "resolve",
        CaseStep::Reopen => "reopen",
        CaseStep::True => "verdict true on",
        CaseStep::False => "verdict false on",
    }
}

/// What the body of a step says.
struct Said<'a> {
    note: Option<&'a str>,
    by: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn read(body: &'a Value) -> Result<Self, ApiError> {
        let wrong = |message: String| ApiError::unreadable(StatusCode::UNPROCESSABLE_ENTITY, message);
        let mut keys = body.as_object().into_iter().flatten().map(|(key, _)| key);
        if let Some(key) = keys.find(|key| !["note", "by"].contains(&key.as_str())) {
            return Err(wrong(format!("the body has a key `{key}`, which is not known here")));
        }
        let text = |key: &str| match &body[key] {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.as_str())),
            _ => Err(wrong(format!("`{key}` is a text"))),
        };
        Ok(Self { note: text("note")?, by: text("by")? })
    }

    /// Who does it. The token's name stays: a body can say any name.
    fn who(&self, caller: &str) -> String {
        By::person(self.by, caller)
    }
}

/// An alert that the caller may see. One of another source is not there for it.
pub(super) fn find(app: &AppState, caller: &Caller, id: &str) -> Result<(Arc<Outbox>, Cased), ApiError> {
    let outbox = app.board.outbox().ok_or_else(|| unknown(id))?;
    let cased = outbox.case(&known(id)?).filter(|cased| caller.sees(cased.alert.source.as_str()));
    cased.map(|cased| (outbox, cased)).ok_or_else(|| unknown(id))
}

/// An id as it was given: the lookup says whether there is such an alert.
fn known(id: &str) -> Result<AlertId, ApiError> {
    serde_json::from_value(Value::String(id.to_owned())).map_err(|_| unknown(id))
}

fn unknown(id: &str) -> ApiError {
    ApiError::no_alert(id)
}
