//! A network camera's parsed address.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

/// Advice for a password that cannot be separated from the rest of its address.
const ENCODE: &str = "percent-encode what is special in user and password: @ is %40, : is %3A, / is %2F, ? is %3F, \
                      # is %23, % is %25";

/// A camera's address. `Debug` does not show user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Camera {
    uri: String,
    /// The address without user and password, for requests.
    pub location: String,
    /// The credentials.
    pub user: Option<User>,
    /// The camera's name or IP address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection uses TLS: `rtsps://`.
    pub tls: bool,
    /// The transport of its packets.
    pub transport: Transport,
    /// A CA file that is trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The SHA-256 of its certificate; only that certificate is trusted then, whoever signed it.
    pub fingerprint: Option<[u8; 32]>,
}

/// The transport of a camera's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// TCP, or UDP if the camera does not support TCP.
    #[default]
    Auto,
    /// TCP only.
    Tcp,
    /// UDP only.
    Udp,
}

/// Credentials for a camera or a broker.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password; empty where the address has none.
    pub password: String,
}

impl Camera {
    /// Parses `rtsp://[user[:password]@]host[:port]/path`. User and password end at the last `@` before the host, may
    /// contain any character, and are percent-decoded if encoded.
    ///
    /// # Errors
    /// What is wrong, and what to write. Neither contains a part of the address.
    pub fn read(uri: &str) -> Result<Self, (String, String)> {
        let wrong = |what: &str, label: &str| Err((what.to_owned(), label.to_owned()));
        let unread = "the stream's address cannot be read";
        let tls = match uri.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
            Some("rtsp") => false,
            Some("rtsps") => true,
            _ => return wrong(unread, "write rtsp://[user:password@]host[:port]/path, or rtsps://"),
        };
        let rest = uri.split_once("://").map_or("", |(_, rest)| rest);
        if rest.chars().any(char::is_control) {
            return wrong(unread, "it holds a control character");
        }
        let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // The host follows the last `@` before the path, else the first later `@` that a host follows.
        let first = rest[..authority].rfind('@');
        let later = rest[authority..].match_indices('@').map(|(at, _)| authority + at);
        let candidates = std::iter::once(first).chain(later.map(Some));
        let read = |at: Option<usize>| Some((at, host_port(&rest[at.map_or(0, |at| at + 1)..])?));
        let Some((at, found)) = candidates.into_iter().find_map(read) else {
            let last = &rest[first.map_or(0, |at| at + 1)..authority];
            if last.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && is_number(port)) {
                return wrong("the port of the stream's address is not one from 1 to 65535", "cameras listen at 554");
            }
            return match rest[..authority].trim_end_matches(|c: char| c.is_ascii_digit() || c == ':').is_empty() {
                true => wrong("the stream's address has no host", "write rtsp://host[:port]/path"),
                false => wrong(unread, ENCODE),
            };
        };
        let shown = &rest[at.map_or(0, |at| at + 1)..];
        if at.is_none_or(|at| at < authority) && reads_otherwise(rest, authority) {
            return wrong("the stream's address can be read in two ways", ENCODE);
        }
        let user = at.map(|at| User::read(&rest[..at]));
        if user.as_ref().is_some_and(|user| user.name.chars().chain(user.password.chars()).any(char::is_control)) {
            return wrong(unread, "its user or password holds a control character");
        }
        let location = format!("{}://{}", if tls { "rtsps" } else { "rtsp" }, shown.replace(' ', "%20"));
        let port = found.port.unwrap_or(if tls { 322 } else { 554 });
        Ok(Self {
            uri: uri.to_owned(),
            location,
            user,
            host: found.host,
            port,
            tls,
            transport: Transport::Auto,
            ca_file: None,
            fingerprint: None,
        })
    }

    /// The address as written, with its secrets: print it only through `telemetry::redact`.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// `host:port`, for display.
    pub fn peer(&self) -> String {
        peer(&self.host, self.port)
    }
}

impl fmt::Debug for Camera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Camera").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

impl User {
    /// Reads `name[:password]`, each percent-decoded if encoded.
    pub(super) fn read(text: &str) -> Self {
        let (name, password) = text.split_once(':').unwrap_or((text, ""));
        Self { name: decoded(name), password: decoded(password) }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User")
    }
}

/// Percent-decodes a text; keeps invalid escapes as they are.
fn decoded(text: &str) -> String {
    String::from_utf8(percent_decode_str(text).collect()).unwrap_or_else(|_| text.to_owned())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A host and its port.
pub(super) struct HostPort {
    /// The name or IP address, without brackets.
    pub(super) host: String,
    /// The port, if there is one.
    pub(super) port: Option<u16>,
}

/// `host:port`, for display.
pub(super) fn peer(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// The host and port at the start of `text`, up to its path.
pub(super) fn host_port(text: &str) -> Option<HostPort> {
    let text = &text[..text.find(['/', '?', '#']).unwrap_or(text.len())];
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner.split_once(']')?;
            host.split('%').next()?.parse::<Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_name = |c: char| c.is_alphanumeric() || "-._~".contains(c);
    if host.is_empty() || (!text.starts_with('[') && !host.chars().all(is_name)) {
        return None;
    }
    let port = match port {
        None => None,
        Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
    };
    Some(HostPort { host: host.to_owned(), port })
}

/// Whether an `@` in the path could also end the credentials, since an address follows it:
/// `rtsp://admin:1/2@10.0.0.7/stream`.
fn reads_otherwise(rest: &str, authority: usize) -> bool {
    let path = &rest[..rest.find('?').unwrap_or(rest.len())];
    let mut later = path.match_indices('@').filter(|(at, _)| *at > authority);
    later.any(|(at, _)| {
        let found = host_port(&rest[at + 1..]);
        let is_address = found.is_some_and(|found| found.port.is_some() || found.host.contains(['.', ':']));
        is_address && rest[..at].contains(':') && !rest[..at].contains("://")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str) -> (Option<(String, String)>, String, u16) {
        let camera = Camera::read(uri).unwrap_or_else(|why| panic!("{uri}: {why:?}"));
        (camera.user.map(|user| (user.name, user.password)), camera.location, camera.port)
    }

    #[test]
    fn user_and_password_are_everything_before_the_host() {
        for (written, password) in [
            ("p@ss", "p@ss"),
            ("100%sure", "100%sure"),
            ("100%25sure", "100%sure"),
            ("p@ss:w/rd#1", "p@ss:w/rd#1"),
            ("p%40ss%3Aw%2Frd%231", "p@ss:w/rd#1"),
            ("pa ss", "pa ss"),
            ("a/b", "a/b"),
            ("?", "?"),
            ("#1", "#1"),
            ("a&b=c+d", "a&b=c+d"),
            ("'\"<\\", "'\"<\\"),
            ("[::1]", "[::1]"),
            ("pässwörd", "pässwörd"),
            ("%", "%"),
            ("%ff", "%ff"),
            ("", ""),
            ("a?", "a?"),
        ] {
            let uri = format!("rtsp://admin:{written}@10.0.0.7:8554/live?channel=1");
            let user = Some(("admin".to_owned(), password.to_owned()));
            assert_eq!(read(&uri), (user, "rtsp://10.0.0.7:8554/live?channel=1".into(), 8554), "{uri}");
        }
        assert_eq!(read("rtsp://admin@cam/s").0, Some(("admin".into(), String::new())));
        assert_eq!(read("rtsp://a%40b.c:x@cam/s").0, Some(("a@b.c".into(), "x".into())));
        assert_eq!(read("rtsp://cam/s"), (None, "rtsp://cam/s".into(), 554));
        assert_eq!(read("RTSPS://cam"), (None, "rtsps://cam".into(), 322));
        assert_eq!(read("rtsp://u:p@[fe80::1]:555/s").1, "rtsp://[fe80::1]:555/s");
        assert_eq!(read("rtsp://my_cam/a b").1, "rtsp://my_cam/a%20b");
    }

    #[test]
    fn an_at_sign_in_a_path_is_not_a_password() {
        for path in ["s@2", "@home", "s?user=a@b.example", "rtsp://u:p@10.0.0.7/s"] {
            let camera = Camera::read(&format!("rtsp://proxy:8554/{path}")).unwrap();
            assert_eq!((&*camera.host, camera.user), ("proxy", None), "{path}");
        }
    }

    #[test]
    fn an_unreadable_address_is_refused_with_advice_and_without_its_secrets() {
        for uri in [
            "rtsp://admin:canary:x/y",
            "rtsp://admin:canary/1@2:3:4/y",
            "rtsp://admin:1/canary@10.0.0.7/s",
            "rtsp://admin:canary@ca m/s",
        ] {
            let (what, label) = Camera::read(uri).unwrap_err();
            assert!(
                !what.contains("canary") && label.contains("@ is %40") && !label.contains("canary"),
                "{uri}: {what}"
            );
        }
        for (uri, part) in [
            ("rtsp://", "no host"),
            ("rtsp://:554/s", "no host"),
            ("rtsp://admin:canary@cam:99999/s", "1 to 65535"),
            ("rtsp://cam:0/s", "1 to 65535"),
            ("rtsp:///s", "no host"),
            ("ftp://u:canary@h/", "cannot be read"),
            ("rtsp//u:canary@h/", "cannot be read"),
            ("rtsp://u:can%00ary@h/", "cannot be read"),
        ] {
            let (what, label) = Camera::read(uri).unwrap_err();
            assert!(what.contains(part) && !label.contains("canary"), "{uri}: {what} {label}");
        }
        let shown = format!("{:?}", Camera::read("rtsp://viewer:canary@cam/s").unwrap());
        assert!(shown.contains("cam:554") && !shown.contains("viewer") && !shown.contains("canary"), "{shown}");
    }
}
