//! An address of the network with user and password: split, decoded and checked.

use std::fmt;
use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;

/// Advice for a password that cannot be separated from the rest of its address.
const ENCODE: &str = "percent-encode what is special in user and password: @ is %40, : is %3A, / is %2F, ? is %3F, \
                      # is %23, % is %25";

/// The two schemes of a protocol.
pub(super) struct Schemes {
    pub(super) plain: &'static str,
    /// Over TLS.
    pub(super) tls: &'static str,
    /// The usual port of each.
    pub(super) ports: (u16, u16),
    /// Where its servers listen, for a message.
    pub(super) usual: &'static str,
}

/// The parts of an address.
pub(super) struct Address {
    /// The address without user and password.
    pub(super) location: String,
    pub(super) user: Option<User>,
    /// Name or IP address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl Address {
    /// Parses `scheme://[user[:password]@]host[:port]/path`. User and password end at the last `@` before the host, may
    /// contain any character, and are percent-decoded if encoded.
    ///
    /// # Errors
    /// What is wrong, and what to write. Neither contains a part of the address.
    pub(super) fn read(uri: &str, schemes: &Schemes) -> Result<Self, (String, String)> {
        let Schemes { plain, tls: over_tls, ports, usual } = schemes;
        let wrong = |what: &str, label: &str| Err((what.to_owned(), label.to_owned()));
        let unread = "the stream's address cannot be read";
        let tls = match uri.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()) {
            Some(scheme) if scheme == *plain => false,
            Some(scheme) if scheme == *over_tls => true,
            _ => {
                let label = format!("write {plain}://[user:password@]host[:port]/path, or {over_tls}://");
                return Err((unread.to_owned(), label));
            }
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
                return wrong("the port of the stream's address is not one from 1 to 65535", usual);
            }
            return match rest[..authority].trim_end_matches(|c: char| c.is_ascii_digit() || c == ':').is_empty() {
                true => {
                    Err(("the stream's address has no host".to_owned(), format!("write {plain}://host[:port]/path")))
                }
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
        let location = format!("{}://{}", if tls { over_tls } else { plain }, shown.replace(' ', "%20"));
        let port = found.port.unwrap_or(if tls { ports.1 } else { ports.0 });
        Ok(Self { location, user, host: found.host, port, tls })
    }
}

/// Credentials for a camera or a broker.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password; empty where the address has none.
    pub password: String,
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
