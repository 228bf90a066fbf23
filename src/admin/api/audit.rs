//! The audit of changes.

use axum::Json;
use axum::extract::State;

use crate::admin::AppState;
use crate::admin::error::ApiError;
use crate::control::Audit;

/// Maximum lines shown.
const LINES_MAX: usize = 100;

/// The last changes that were asked for, newest first, up to 100: who, what, from where, and what became of it.
#[utoipa::path(get, path = "/api/v1/audit", responses((status = 200, body = Vec<Audit>)))]
pub(in crate::admin) async fn audit(State(app): State<AppState>) -> Result<Json<Vec<Audit>>, ApiError> {
    let control = app.control()?;
    let mut lines = app.work.call(move || control.audit()).await?;
    lines.truncate(LINES_MAX);
    Ok(Json(lines))
}
