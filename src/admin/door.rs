//! What every request passes: who is asked for, and what every answer carries.
//!
//! A page of another site can make a browser resolve its own name to 127.0.0.1 (DNS rebinding); the Host header then
//! still says that name, and is turned away here. It can also make a browser send a form here; such a request carries
//! the page's own origin, and may change nothing.

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderValue, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// No inline script or style, nothing from elsewhere, in nobody's frame. `blob:` is how the page shows pictures.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn check(request: Request, next: Next) -> Response {
    if !request.method().is_safe() && !sent_by_us(request.headers()) {
        return (StatusCode::FORBIDDEN, "Another site's page may change nothing here.\n").into_response();
    }
    if !asked_for_us(request.headers()) {
        let text = "This address answers to 127.0.0.1 and localhost only.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let mut response = next.run(request).await;
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

/// No browser sent it, or one that shows our own page.
fn sent_by_us(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let host = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
    host.is_some_and(|host| headers.get(HOST).is_some_and(|ours| ours.as_bytes() == host.as_bytes()))
}

fn asked_for_us(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|h| h.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_page_may_change_something() {
        let sent = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.1:8000".parse().unwrap());
            origin.map(|origin| headers.insert(ORIGIN, origin.parse().unwrap()));
            sent_by_us(&headers)
        };
        assert!(sent(None) && sent(Some("http://127.0.0.1:8000")));
        for origin in ["https://evil.example", "http://127.0.0.1:9000", "null"] {
            assert!(!sent(Some(origin)), "{origin}");
        }
    }

    #[test]
    fn only_loopback_names_are_let_in() {
        let asked = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            asked_for_us(&headers)
        };
        for host in ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LocalHost", "[::1]:80", "[::1]"] {
            assert!(asked(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil", "0.0.0.0:80", ""]
        {
            assert!(!asked(host), "{host}");
        }
        assert!(!asked_for_us(&HeaderMap::new()));
    }
}
