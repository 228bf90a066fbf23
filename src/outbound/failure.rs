//! Describes a failed request in our own words, with a remedy: the libraries' errors name the operation, not the
//! problem.

use std::error::Error;
use std::fmt::Display;
use std::io::ErrorKind;

use hyper::StatusCode;
use rustls::CertificateError;

/// What differs between protocols in a description.
#[derive(Clone, Copy)]
struct Words {
    /// The remedy where the peer speaks no TLS.
    no_tls: &'static str,
    /// The remedy where there is no way to the peer.
    no_way: &'static str,
}

const WEB: Words = Words {
    no_tls: "write http://, or the port of its https",
    no_way: "check the network, or set HTTPS_PROXY where only a proxy leads out",
};
const BROKER: Words =
    Words { no_tls: "write mqtt://, or the port of its mqtts", no_way: "check the network; no proxy is used" };

const MAIL: Words = Words {
    no_tls: "set tls: starttls, or the port on which it begins with TLS, often 465",
    no_way: "check the network; no proxy is used",
};

/// Why the connection to `host` failed; `proxy` is the one in use.
pub fn of_connection(error: &(dyn Error + 'static), host: &str, proxy: Option<&str>) -> String {
    described(error, host, proxy, WEB)
}

/// Why the connection to the broker at `host` failed.
pub fn of_broker(error: &(dyn Error + 'static), host: &str) -> String {
    described(error, host, None, BROKER)
}

/// Why the connection to the mail server `host` failed.
pub fn of_mail_connection(error: &(dyn Error + 'static), host: &str) -> String {
    described(error, host, None, MAIL)
}

/// Why the name of `host` has no address.
pub fn of_name(host: &str, why: Option<&dyn Display>) -> String {
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    format!("the name {} is not known{why}: check its spelling, and this machine's DNS", bare(host))
}

fn described(error: &(dyn Error + 'static), host: &str, proxy: Option<&str>, words: Words) -> String {
    let peer = proxy.map_or_else(|| host.to_owned(), |proxy| format!("the proxy {proxy}"));
    let mut next = Some(error);
    let mut last = String::new();
    while let Some(error) = next {
        if let Some(why) = error.downcast_ref::<rustls::Error>().map(|error| of_tls(error, host, words)) {
            return why;
        }
        if let Some(why) = error.downcast_ref::<std::io::Error>().and_then(|io| of_inside(io, host, &peer, words)) {
            return why;
        }
        last = error.to_string();
        if last.contains("dns error") {
            let source = error.source();
            return of_name(&peer, source.as_ref().map(|source| source as &dyn Display));
        }
        if last.contains("proxy authorization required") {
            return format!("{peer} requires a user: write it into the variable, http://user:password@host:port");
        }
        if last.contains("unsuccessful") && proxy.is_some() {
            return format!("{peer} does not let through to {host}: NO_PROXY={} goes round it", bare(host));
        }
        if last.contains("before message completed") {
            return format!("{peer} hung up before it answered");
        }
        next = error.source();
    }
    last
}

/// Unwraps errors nested in an `io::Error`: its `source` skips the inner error itself.
fn of_inside(error: &std::io::Error, host: &str, peer: &str, words: Words) -> Option<String> {
    let mut io = error;
    loop {
        if let Some(why) = of_io(io, peer, words) {
            return Some(why);
        }
        let inner = io.get_ref()?;
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return Some(of_tls(error, host, words));
        }
        io = inner.downcast_ref::<std::io::Error>()?;
    }
}

/// The host of `host:port`, without the prefix "the proxy ".
fn bare(host: &str) -> &str {
    let host = host.strip_prefix("the proxy ").unwrap_or(host);
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn of_io(error: &std::io::Error, peer: &str, words: Words) -> Option<String> {
    Some(match error.kind() {
        ErrorKind::ConnectionRefused => {
            format!("nobody listens at {peer} (Connection refused): is it running, is the port right")
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            format!("there is no way to {peer} ({error}): {}", words.no_way)
        }
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => {
            format!("{peer} hung up before it answered")
        }
        ErrorKind::TimedOut => format!("no connection to {peer}: the machine did not answer"),
        _ => return None,
    })
}

fn of_tls(error: &rustls::Error, host: &str, words: Words) -> String {
    let certificate = match error {
        rustls::Error::InvalidCertificate(certificate) => certificate,
        rustls::Error::InvalidMessage(_) => {
            return format!("{host} speaks no TLS on this port: {}", words.no_tls);
        }
        other => return format!("no TLS with {host}: {other}"),
    };
    let remedy = match certificate {
        CertificateError::UnknownIssuer => ": name its file as config.ca_file, or in SSL_CERT_FILE",
        _ => "",
    };
    format!("{}{remedy}", of_certificate(certificate, host))
}

/// Describes a problem with the certificate of `host`.
pub(super) fn of_certificate(error: &CertificateError, host: &str) -> String {
    let name = bare(host);
    match error {
        CertificateError::UnknownIssuer => {
            format!("the certificate of {host} is of an authority that this machine does not trust")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!(
                "the certificate of {host} has expired: it has to be renewed there, or this machine's clock is wrong"
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {host} is not valid yet: this machine's clock may be wrong")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the certificate of {host} is for another name than {name}: write the name that it is for ({error})"
            )
        }
        CertificateError::Revoked => format!("the certificate of {host} was revoked"),
        _ if error.to_string().contains("CaUsedAsEndEntity") => format!(
            "the certificate of {host} is an authority's own: let it sign one for the server, or make one that is no CA"
        ),
        _ => format!("the certificate of {host} cannot be used: {error}"),
    }
}

/// The remedy for an error status; empty if there is none.
pub fn of_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 415 | 422 => ": it does not take alerts as they are; let a handler in Lua write what it wants",
        401 => ": it knows no such user or token; check `user:password@` in the url, or headers.Authorization",
        403 => ": this user or token may not post there",
        404 | 410 => ": nothing takes alerts at this path; check the url",
        405 => ": it takes no POST at this path; check the url",
        407 => ": the proxy requires a user; write it into the variable, http://user:password@host:port",
        408 | 504 => ": it was too slow to answer",
        413 => ": the alert is too large for it",
        429 => ": it wants fewer requests",
        500..=599 => ": the trouble is on its side",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_is_wrong_and_what_to_do() {
        let tls = |error: CertificateError| {
            std::io::Error::other(std::io::Error::new(ErrorKind::InvalidData, rustls::Error::InvalidCertificate(error)))
        };
        let of = |error: std::io::Error| of_connection(&error, "hooks.example:8443", None);
        for (said, parts) in [
            (of(tls(CertificateError::UnknownIssuer)), ["hooks.example:8443", "config.ca_file"]),
            (of(tls(CertificateError::Expired)), ["expired", "clock"]),
            (of(tls(CertificateError::NotValidForName)), ["another name than hooks.example", "write"]),
            (of(ErrorKind::ConnectionRefused.into()), ["nobody listens at hooks.example:8443", "port"]),
            (of(ErrorKind::ConnectionReset.into()), ["hung up", "answered"]),
            (of(ErrorKind::NetworkUnreachable.into()), ["no way to hooks.example:8443", "HTTPS_PROXY"]),
        ] {
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
        let plain = std::io::Error::other(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType));
        assert!(of_broker(&plain, "b:8883").contains("b:8883 speaks no TLS on this port: write mqtt://"));
        let no_way = of_broker(&std::io::Error::from(ErrorKind::HostUnreachable), "b:1883");
        assert!(no_way.contains("no way to b:1883") && !no_way.contains("HTTPS_PROXY"), "{no_way}");
        let refused = std::io::Error::from(ErrorKind::ConnectionRefused);
        assert!(of_connection(&refused, "h:1", Some("p:3128")).contains("nobody listens at the proxy p:3128"));
        assert_eq!((bare("h:80"), bare("[::1]:80"), bare("h")), ("h", "[::1]", "h"));
        // A mail server is reached without a proxy, and over TLS by another key.
        let mail = |error: std::io::Error| of_mail_connection(&error, "mail.example:465");
        assert!(!mail(ErrorKind::NetworkUnreachable.into()).contains("PROXY"));
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        let said = mail(std::io::Error::new(ErrorKind::InvalidData, plain));
        assert!(said.contains("mail.example:465 speaks no TLS") && said.contains("tls: starttls"), "{said}");
        assert!(of_name("mail.example:465", None).contains("the name mail.example is not known: check"));
    }
}
