//! The OpenAPI description: each endpoint's own part, and the common part from the table of routes.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response as Answer};
use utoipa::OpenApi;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, Header, ObjectBuilder, OpenApi as Document, Ref, RefOr, Required, Response, ResponseBuilder,
};

use super::AppState;
use super::access::Access;
use super::api::{
    alerts, audit, config, detections, events, evidence, explain, logs, pictures, plugins, profile, retry, session,
    silences, sources, status,
};
use super::error::ErrorBody;
use super::routes::{METRICS, Need, ROUTES};
use super::{health, live, webrtc};
use crate::config::Scope;
use crate::engine::live::Event;

/// Paths whose request waits for a change in progress or for a disk, or takes some time.
const WAITS: &[&str] = &[
    "/api/v1/sources",
    "/api/v1/sources/{source}",
    "/api/v1/sources/{source}/detections",
    "/api/v1/plugins",
    "/api/v1/plugins/{name}/state",
    "/api/v1/config",
    "/api/v1/profile",
    "/api/v1/silences",
    "/api/v1/audit",
    "/api/v1/alerts/{id}/explain",
    "/api/v1/explain",
    "/api/v1/alerts/{id}/picture.jpg",
    "/api/v1/sources/{source}/evidence.mp4",
    "/api/v1/sources/{source}/evidence.jpg",
];
/// Paths that exist only if the configuration can be changed.
const NEEDS_CONTROL: &[&str] =
    &["/api/v1/config", "/api/v1/profile", "/api/v1/silences", "/api/v1/audit", "/api/v1/logs"];
/// Paths that continue after something that may be gone.
const PAGED: &[&str] = &["/api/v1/alerts"];
/// Paths with endless responses.
const STREAMS: &[&str] = &["/api/v1/events", "/api/v1/logs", "/live", "/live/{source}"];

/// Paths that open and end WebRTC sessions.
const PEERS: &[&str] = &["/whip/{source}", "/whip/{source}/{session}", "/whep/{source}", "/whep/{source}/{session}"];
/// Paths whose request may have no body.
const BODILESS: &[&str] =
    &["/api/v1/alerts/{id}/acknowledge", "/api/v1/alerts/{id}/resolve", "/api/v1/alerts/{id}/reopen"];

/// What is known when it is compiled.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "dsengine",
        description = "Video analytics: where the engine stands, what it sees, and changes of both.\n\nEach call says in \
                       `x-scope` which scope its token needs (`none`: no token), and in `x-public` which word of \
                       `monitoring.public` makes it free of one. `x-whole: true` asks for a token that is not limited \
                       to some sources. Bound to loopback, the engine asks for no token at all."
    ),
    paths(
        health::livez,
        health::readyz,
        health::health,
        health::healthz,
        status::status,
        status::strategies,
        sources::list,
        sources::add,
        sources::get,
        sources::change,
        sources::remove,
        sources::enable,
        sources::disable,
        sources::restart,
        detections::publish,
        plugins::list,
        plugins::reload,
        plugins::promote,
        plugins::state,
        plugins::clear_state,
        config::get,
        config::validate,
        config::diff,
        config::apply_patch,
        profile::profile,
        profile::switch,
        alerts::alerts,
        silences::list,
        silences::add,
        silences::end,
        alerts::alert,
        alerts::acknowledge,
        alerts::resolve,
        alerts::reopen,
        alerts::verdict,
        retry::retry,
        explain::alert,
        explain::source,
        pictures::picture,
        evidence::clip,
        evidence::picture,
        events::events,
        logs::logs,
        audit::audit,
        session::show,
        session::open,
        session::close,
        openapi,
        live::one,
        live::all,
        webrtc::publish,
        webrtc::unpublish,
        webrtc::watch,
        webrtc::unwatch
    ),
    components(schemas(ErrorBody, Event))
)]
struct Description;

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", responses((status = 200, body = Object)))]
pub(super) async fn openapi(State(app): State<AppState>) -> Answer {
    Json(describe(&app.access(), &app.cookie)).into_response()
}

fn describe(access: &Access, cookie: &str) -> Document {
    let mut document = Description::openapi();
    if let Some(path) = access.metrics_path() {
        let text = ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(utoipa::openapi::Type::String)));
        let page = ResponseBuilder::new().description("The metrics.").content("text/plain", text.build()).build();
        let mut operation = Operation::new();
        operation.summary = Some("The metrics, as Prometheus reads them.".into());
        operation.operation_id = Some("metrics".into());
        operation.responses.responses.insert("200".into(), RefOr::T(page));
        complete(&mut operation, path, METRICS, access);
        document.paths.add_path_operation(path, vec![HttpMethod::Get], operation);
    }
    for route in ROUTES {
        let Some(item) = document.paths.paths.get_mut(route.path) else { continue };
        let operation = match route.method {
            "GET" => item.get.as_mut(),
            "POST" => item.post.as_mut(),
            "PATCH" => item.patch.as_mut(),
            "DELETE" => item.delete.as_mut(),
            _ => None,
        };
        if let Some(operation) = operation {
            complete(operation, route.path, route.need, access);
        }
    }
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let session = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(cookie)));
    components.security_schemes.insert("token".into(), RefOr::T(SecurityScheme::Http(bearer)));
    components.security_schemes.insert("session".into(), RefOr::T(session));
    document
}

/// Adds the responses that endpoints of this kind have in common.
fn complete(operation: &mut Operation, path: &str, need: Need, access: &Access) {
    let word = need.scope.map_or("none", Scope::as_str);
    let mut extensions = Extensions::builder().add("x-scope", word);
    if let Some(public) = need.public {
        extensions = extensions.add("x-public", public.as_str());
    }
    if need.whole {
        extensions = extensions.add("x-whole", true);
    }
    operation.extensions.get_or_insert_default().merge(extensions.build());
    if let Some(RefOr::T(body)) = operation.request_body.as_mut().filter(|_| BODILESS.contains(&path)) {
        body.required = Some(Required::False);
    }
    if access.asks_for_token(&need) {
        let schemes = ["token", "session"].map(|scheme| SecurityRequirement::new(scheme, [""; 0]));
        operation.security = Some(schemes.into());
    }
    let changes = need.scope == Some(Scope::Control);
    let takes_body = operation.request_body.is_some();
    let in_path = path.contains('{');
    let mut add = |when: bool, status: &str, description: &str, header: Option<&str>| {
        if when {
            let answers = &mut operation.responses.responses;
            answers.entry(status.into()).or_insert_with(|| RefOr::T(error(description, header)));
        }
    };
    let challenge = Some("WWW-Authenticate");
    let later = Some("Retry-After");
    let streams = STREAMS.contains(&path);
    let peers = PEERS.contains(&path);
    let waits = changes || peers || WAITS.contains(&path);
    add(true, "400", "The request cannot be read.", None);
    add(true, "401", "A token is needed, or there is none like the one that was sent.", challenge);
    add(true, "403", "The token lacks the scope or the source, or the request names or comes from another site.", None);
    add(in_path || changes || PAGED.contains(&path), "404", "There is no such thing.", None);
    add(
        changes || peers || NEEDS_CONTROL.contains(&path),
        "409",
        "The engine cannot take it; everything is as it was.",
        None,
    );
    add(takes_body, "413", "The body is too long.", None);
    add(takes_body, "415", "The body is of another kind.", None);
    add(changes, "422", "It is not valid: `problems` has each thing that is wrong, with its place.", None);
    add(streams, "429", "The token has too many streams open.", later);
    add(waits, "500", "The call failed inside the engine.", None);
    add(streams || waits, "503", "Too many of these are under way.", later);
}

/// An error response.
fn error(description: &str, header: Option<&str>) -> Response {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
    let mut response = ResponseBuilder::new().description(description).content("application/json", body);
    if let Some(header) = header {
        response =
            response.header(header, Header::new(ObjectBuilder::new().schema_type(utoipa::openapi::Type::String)));
    }
    response.build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config::AdminPlan;

    #[test]
    fn every_route_of_the_table_is_described_and_no_other() {
        let access = Access::new(&AdminPlan::default(), Ipv4Addr::LOCALHOST.into());
        let document = serde_json::to_value(describe(&access, "dsengine-8000")).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                assert!(operation["x-scope"].is_string(), "{method} {path}");
                described.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        // The page is for people, and the metrics' path depends on the plan.
        let pages = ["GET /", "GET /assets/{name}"];
        let rows = ROUTES.iter().map(|row| format!("{} {}", row.method, row.path));
        let mut table: BTreeSet<_> = rows.filter(|row| !pages.contains(&row.as_str())).collect();
        table.insert("GET /metrics".into());
        assert_eq!(described, table);
        for path in BODILESS {
            assert_eq!(document["paths"][path]["post"]["requestBody"]["required"], false, "{path}");
        }
    }
}
