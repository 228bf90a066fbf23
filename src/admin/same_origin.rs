//! The checks for every request, of its host, its sender and its permissions, and the headers of every response.
//!
//! A page of another site can make a browser resolve its own name to this address (DNS rebinding); the Host header then
//! has that name, and is rejected here. It can also make a browser submit a form; such a request has the page's own
//! origin, and may not change anything.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderMap, HeaderValue, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::time::Instant;

use super::AppState;
use super::access::{Access, Caller, Digest};
use super::error::ApiError;
use super::routes;
use super::session::Sessions;

/// No inline script or style, nothing from other sites, no framing. The page shows pictures as `blob:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The peer's address; added to every request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

pub(super) async fn check(State(app): State<AppState>, mut request: Request, next: Next) -> Response {
    let mut response = match admit(&app, &request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    };
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The sender of a request, if it passes the checks.
fn admit(app: &AppState, request: &Request) -> Result<Caller, ApiError> {
    let access = app.access();
    let (method, headers) = (request.method(), request.headers());
    if !asked_for_us(headers, &access) {
        return Err(ApiError::foreign(
            "requests may name localhost, a literal address or a host of monitoring.allowed_hosts",
            "add the name in the request's Host header to monitoring.allowed_hosts",
        ));
    }
    if !method.is_safe() && origin(headers) == Origin::Foreign {
        return Err(ApiError::foreign("another site's page may change nothing here", "ask from the engine's own page"));
    }
    let unknown = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let peer = request.extensions().get::<Peer>().map_or(unknown, |peer| peer.0);
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let is_metrics = route.is_none() && access.metrics_path() == Some(request.uri().path());
    let need = routes::need(method, route, is_metrics);
    let caller = match identify(&access, &app.sessions, &app.cookie, method, headers, peer) {
        Ok(caller) => caller,
        // If no token is required, a wrong one is ignored: a former session must not prevent a new one.
        Err(_) if access.check(&access.nobody(peer), &need).is_ok() => access.nobody(peer),
        Err(error) => {
            if error.is_wrong_token() {
                note_wrong_token(app, peer.ip());
            }
            return Err(error);
        }
    };
    access.check(&caller, &need).inspect_err(|_| {
        app.board.count_refused(if caller.token().is_some() { "scope" } else { "no_token" });
    })?;
    Ok(caller)
}

/// Counts and logs a token that is not among the plan's, without the token.
fn note_wrong_token(app: &AppState, peer: IpAddr) {
    app.board.count_refused("wrong_token");
    match app.refused.note(peer, Instant::now()) {
        Some((Some(peer), count)) => {
            tracing::warn!(%peer, count, "a request with a wrong token, or an ended session, is refused")
        }
        Some((None, count)) => tracing::warn!(count, "requests of many further peers with wrong tokens are refused"),
        None => {}
    }
}

/// The sender of a request: by its token, by its session, or anonymous.
fn identify(
    access: &Access,
    sessions: &Sessions,
    cookie: &str,
    method: &Method,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> Result<Caller, ApiError> {
    if access.is_open() {
        let sent = headers.get(AUTHORIZATION).and_then(bearer).map(Digest::of);
        return Ok(access.open_with(sent.as_ref(), peer));
    }
    if let Some(sent) = headers.get(AUTHORIZATION) {
        let token = bearer(sent).ok_or_else(ApiError::wrong_token)?;
        return access.find(&Digest::of(token), peer).ok_or_else(ApiError::wrong_token);
    }
    let Some(id) = session_id(headers, cookie) else { return Ok(access.nobody(peer)) };
    let token = sessions.find(id, Instant::now()).ok_or_else(ApiError::wrong_token)?;
    let caller = access.find(&token, peer).ok_or_else(ApiError::wrong_token)?;
    if !method.is_safe() && origin(headers) != Origin::Ours {
        let message = "a change by cookie needs the Origin of the engine's own page";
        return Err(ApiError::foreign(message, "send the token as 'Authorization: Bearer TOKEN' instead"));
    }
    Ok(caller)
}

/// The token of an `Authorization` header.
fn bearer(sent: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = sent.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii()).filter(|token| !token.is_empty())
}

/// The session id in a request's cookies.
pub(super) fn session_id<'a>(headers: &'a HeaderMap, cookie: &str) -> Option<&'a str> {
    let sent = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = sent.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == cookie).map(|(_, id)| id)
}

/// The origin of a request.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    /// No Origin header.
    Unsaid,
    /// The same site.
    Ours,
    /// Another site.
    Foreign,
}

fn origin(headers: &HeaderMap) -> Origin {
    let Some(origin) = headers.get(ORIGIN) else { return Origin::Unsaid };
    // A proxy in front may use TLS where we do not.
    let host = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
    let ours = host.is_some_and(|host| headers.get(HOST).is_some_and(|ours| ours.as_bytes() == host.as_bytes()));
    if ours { Origin::Ours } else { Origin::Foreign }
}

fn asked_for_us(headers: &HeaderMap, access: &Access) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    access.allows_host(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AdminPlan;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_our_own_page_may_change_something() {
        let sent = |value: &str| origin(&headers(&[(HOST, "127.0.0.1:8000"), (ORIGIN, value)]));
        assert_eq!(origin(&headers(&[(HOST, "127.0.0.1:8000")])), Origin::Unsaid);
        assert_eq!((sent("http://127.0.0.1:8000"), sent("https://127.0.0.1:8000")), (Origin::Ours, Origin::Ours));
        for origin in ["https://evil.example", "http://127.0.0.1:9000", "null"] {
            assert_eq!(sent(origin), Origin::Foreign, "{origin}");
        }
    }

    #[test]
    fn a_hosts_port_is_ignored_and_two_hosts_are_rejected() {
        let access = Access::new(&AdminPlan::default(), Ipv4Addr::LOCALHOST.into());
        for host in ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "[::1]:80", "[::1]"] {
            assert!(asked_for_us(&headers(&[(HOST, host)]), &access), "{host}");
        }
        for host in ["evil.example:8000", "127.0.0.1.evil.example:80", "0.0.0.0:80", ""] {
            assert!(!asked_for_us(&headers(&[(HOST, host)]), &access), "{host}");
        }
        let mut two = headers(&[(HOST, "localhost")]);
        two.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(!asked_for_us(&two, &access) && !asked_for_us(&HeaderMap::new(), &access));
    }

    #[test]
    fn tokens_and_sessions_are_read_out_of_their_headers() {
        let sent = |value: &'static str| bearer(&HeaderValue::from_static(value)).map(<[u8]>::to_vec);
        assert_eq!(sent("Bearer abc"), Some(b"abc".to_vec()));
        assert_eq!(sent("bearer  abc "), Some(b"abc".to_vec()));
        for other in ["Basic abc", "Bearer ", "Bearer", "abc"] {
            assert_eq!(sent(other), None, "{other}");
        }
        let cookies = headers(&[(COOKIE, "a=1; dsengine-8000=xyz; dsengine-8001=no")]);
        assert_eq!(session_id(&cookies, "dsengine-8000"), Some("xyz"));
        assert_eq!(session_id(&cookies, "dsengine-80"), None);
    }
}
