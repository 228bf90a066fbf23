//! The latest alerts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::types::Alert;

/// The latest alerts, newest first, up to 100. A token that is limited to some sources sees those of them only.
#[utoipa::path(get, path = "/api/v1/alerts", responses((status = 200, body = Vec<Alert>)))]
pub(in crate::admin) async fn alerts(State(app): State<AppState>, caller: Caller) -> Json<Vec<Arc<Alert>>> {
    let mut alerts = app.board.events().recent_alerts();
    alerts.retain(|alert| caller.sees(alert.source.as_str()));
    Json(alerts)
}
