//! Why there is nothing to read at a web address, by kind.

use std::error::Error;
use std::io::ErrorKind;

use super::failure::{of_certificate, of_connection};

/// Why a request got no answer that can be read. None holds a path, a user or a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// DNS does not know the name.
    UnknownName,
    /// The name cannot be looked up at the moment, and why.
    NoNameServer(String),
    /// The connection was refused.
    Refused,
    /// The host is unreachable, and why.
    Unreachable(String),
    /// The connection timed out.
    NoConnection,
    /// The peer closed the connection.
    HungUp,
    /// The port speaks no TLS.
    NoTls,
    /// The certificate is rejected, and why.
    Certificate(String),
    /// The peer does not speak HTTP, or its answer is too large or wrong.
    NotHttp,
    /// The proxy on the way fails; what to do.
    Proxy(String),
    /// The server asks for a user.
    Unauthorized {
        /// Whether one was given.
        given: bool,
    },
    /// Another status than a success, and its phrase.
    Status(u16, String),
    /// A redirect that is not followed; where to.
    Redirected(String),
    /// An address that may not be read; which, without its path.
    NotAllowed(String),
}

impl Trouble {
    /// Classifies the error of a request to `host`; `proxy` is the one in use.
    pub(super) fn of(error: &(dyn Error + 'static), host: &str, proxy: Option<&str>) -> Self {
        if proxy.is_some() {
            return Self::Proxy(of_connection(error, host, proxy));
        }
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<rustls::Error>().map(|error| of_tls(error, host)) {
                return found;
            }
            if let Some(found) = error.downcast_ref::<std::io::Error>().and_then(|io| of_inside(io, host)) {
                return found;
            }
            if let Some(error) = error.downcast_ref::<hyper::Error>() {
                if error.is_parse() || error.is_parse_too_large() {
                    return Self::NotHttp;
                }
                if error.is_incomplete_message() || error.is_closed() {
                    return Self::HungUp;
                }
            }
            if error.to_string().contains("dns error") {
                return of_name(error.source().map(ToString::to_string).unwrap_or_default());
            }
            next = error.source();
        }
        Self::NoConnection
    }
}

/// Unwraps errors nested in an `io::Error`: its `source` skips the inner error itself.
fn of_inside(error: &std::io::Error, host: &str) -> Option<Trouble> {
    let mut io = error;
    loop {
        match io.kind() {
            ErrorKind::ConnectionRefused => return Some(Trouble::Refused),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                return Some(Trouble::Unreachable(io.to_string()));
            }
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => return Some(Trouble::HungUp),
            ErrorKind::TimedOut => return Some(Trouble::NoConnection),
            _ => {}
        }
        let inner = io.get_ref()?;
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return Some(of_tls(error, host));
        }
        io = inner.downcast_ref::<std::io::Error>()?;
    }
}

fn of_tls(error: &rustls::Error, host: &str) -> Trouble {
    match error {
        rustls::Error::InvalidCertificate(certificate) => Trouble::Certificate(of_certificate(certificate, host)),
        rustls::Error::InvalidMessage(_) => Trouble::NoTls,
        rustls::Error::General(why) => Trouble::Certificate(why.clone()),
        other => Trouble::Certificate(format!("no TLS with {host}: {other}")),
    }
}

/// Classifies a failed lookup by the system's message: the standard library exposes no error code.
fn of_name(why: String) -> Trouble {
    let why = why.strip_prefix("failed to lookup address information: ").unwrap_or(&why);
    match why.contains("emporary") || why.contains("recoverable") || why.contains("ystem error") {
        true => Trouble::NoNameServer(why.to_owned()),
        false => Trouble::UnknownName,
    }
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn errors_are_told_apart_by_kind() {
        let of = |error: std::io::Error| Trouble::of(&error, "cam:80", None);
        assert_eq!(of(ErrorKind::ConnectionRefused.into()), Trouble::Refused);
        assert_eq!(of(ErrorKind::ConnectionReset.into()), Trouble::HungUp);
        assert_eq!(of(ErrorKind::TimedOut.into()), Trouble::NoConnection);
        let tls = |error| std::io::Error::other(std::io::Error::new(ErrorKind::InvalidData, error));
        assert_eq!(of(tls(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType))), Trouble::NoTls);
        let expired = of(tls(rustls::Error::InvalidCertificate(CertificateError::Expired)));
        assert!(matches!(&expired, Trouble::Certificate(why) if why.contains("expired")), "{expired:?}");
        let proxied = Trouble::of(&std::io::Error::from(ErrorKind::ConnectionRefused), "cam:80", Some("p:3128"));
        assert!(matches!(&proxied, Trouble::Proxy(why) if why.contains("the proxy p:3128")), "{proxied:?}");
        assert_eq!(
            of_name("failed to lookup address information: Name or service not known".into()),
            Trouble::UnknownName
        );
        assert_eq!(of_name("Temporary failure in name resolution".into()), {
            Trouble::NoNameServer("Temporary failure in name resolution".into())
        });
    }
}
