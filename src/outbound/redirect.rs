//! Reads redirects and `Retry-After` from a response's headers.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderMap, LOCATION, RETRY_AFTER};
use url::Url;

/// What to do after a redirect.
#[derive(Debug, PartialEq, Eq)]
pub enum Onward {
    /// Repeat the request there, unchanged.
    To(Url),
    /// Give up; the target and the remedy.
    Refused(String),
}

/// Evaluates the redirect of a POST to `from`; `None` for any other response. Only 307 and 308 keep the method and
/// body, and only the same scheme, host and port are the intended receiver: other programs may listen on the other
/// ports of a machine.
pub fn onward(status: StatusCode, headers: &HeaderMap, from: &Url) -> Option<Onward> {
    if !matches!(status.as_u16(), 300..=303 | 305..=308) {
        return None;
    }
    let location = headers.get(LOCATION).and_then(|place| place.to_str().ok());
    let Some(to) = location.and_then(|place| from.join(place).ok()) else {
        return Some(Onward::Refused("it says not where to".to_owned()));
    };
    let place = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    let same = place(&to) == place(from) && to.username().is_empty() && to.password().is_none();
    if matches!(status.as_u16(), 307 | 308) && same {
        return Some(Onward::To(to));
    }
    let slash = to.path().trim_end_matches('/') == from.path().trim_end_matches('/') && to.path() != from.path();
    let same_path = to.path() == from.path() && to.query() == from.query();
    let path = match (same_path, same && slash) {
        (true, _) => " with the same path".to_owned(),
        (false, true) if to.path().ends_with('/') => " with a slash at the end of the path".to_owned(),
        (false, true) => " without the slash at the end of the path".to_owned(),
        (false, false) => " with another path".to_owned(),
    };
    let place = match to.host_str() {
        Some(host) => {
            format!("{}://{host}{}", to.scheme(), to.port().map(|port| format!(":{port}")).unwrap_or_default())
        }
        None => format!("{}:", to.scheme()),
    };
    let why = match status.as_u16() {
        307 | 308 => "alerts go on to the same scheme, host and port only",
        _ => "a POST would become a GET there",
    };
    Some(Onward::Refused(format!("it points to {place}{path}; {why}: write that address as url")))
}

/// The wait that a response asks for, in seconds or until a date; `unix_ns` is the current time.
pub fn patience(headers: &HeaderMap, unix_ns: u64) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(until.saturating_sub(Duration::from_nanos(unix_ns)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: hyper::header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_request_goes_on_to_its_own_host_only() {
        let from = Url::parse("https://h.example/hook?token=C4n4ry").unwrap();
        let of =
            |status: u16, place: &str| onward(StatusCode::from_u16(status).unwrap(), &headers(LOCATION, place), &from);
        for place in ["/new", "https://h.example/new", "https://h.example:443/new", "new"] {
            for status in [307, 308] {
                assert_eq!(of(status, place), Some(Onward::To(Url::parse("https://h.example/new").unwrap())));
            }
        }
        for (status, place, parts) in [
            (301, "/new", ["https://h.example", "another path"]),
            (302, "/hook/?token=C4n4ry", ["https://h.example", "a slash at the end"]),
            (303, "https://other.example:8443/hook?token=C4n4ry", ["https://other.example:8443", "the same path"]),
            (308, "http://h.example/hook?token=C4n4ry", ["http://h.example", "same scheme, host and port"]),
            (307, "https://other.example/C4n4ry", ["https://other.example", "same scheme, host and port"]),
            (307, "https://user:C4n4ry@h.example/", ["https://h.example", "same scheme, host and port"]),
            (308, "https://:C4n4ry@h.example/", ["https://h.example", "same scheme, host and port"]),
            (308, "ftp://h.example/C4n4ry", ["ftp://h.example", "same scheme, host and port"]),
            (307, "https://h.example:8443/new", ["https://h.example:8443", "same scheme, host and port"]),
            (308, "//h.example:80/hook?token=C4n4ry", ["https://h.example:80", "same scheme, host and port"]),
        ] {
            let Some(Onward::Refused(said)) = of(status, place) else { panic!("{status} {place}") };
            assert!(parts.iter().all(|part| said.contains(part)) && !said.contains("C4n4ry"), "{said}");
        }
        assert_eq!(of(200, "/new"), None);
        let nowhere = onward(StatusCode::PERMANENT_REDIRECT, &HeaderMap::new(), &from);
        assert_eq!(nowhere, Some(Onward::Refused("it says not where to".to_owned())));
    }

    #[test]
    fn patience_is_asked_for_in_seconds_or_until_a_date() {
        let now = 784_111_777_000_000_000;
        let of = |value: &str| patience(&headers(RETRY_AFTER, value), now);
        assert_eq!(of("3"), Some(Duration::from_secs(3)));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(of("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        for none in ["soon", "-1", "1.5", ""] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
