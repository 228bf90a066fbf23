//! The engine's status.

use axum::Json;
use axum::extract::State;

use crate::admin::AppState;
use crate::admin::access::Caller;
use crate::engine::status::{Status, StrategyStatus};

/// A status as the caller may see it.
pub(in crate::admin) fn seen_by(caller: &Caller, status: Status) -> Status {
    match caller.sources() {
        Some(_) => status.only(|source| caller.sees(source)),
        None => status,
    }
}

/// Where everything stands. A token that is limited to some sources sees those only.
#[utoipa::path(get, path = "/api/v1/status", responses((status = 200, body = Status)))]
pub(in crate::admin) async fn status(State(app): State<AppState>, caller: Caller) -> Json<Status> {
    Json(seen_by(&caller, app.board.status()))
}

/// The strategies, in the order in which they judge.
#[utoipa::path(get, path = "/api/v1/strategies", responses((status = 200, body = Vec<StrategyStatus>)))]
pub(in crate::admin) async fn strategies(State(app): State<AppState>, caller: Caller) -> Json<Vec<StrategyStatus>> {
    Json(seen_by(&caller, app.board.status()).strategies)
}
