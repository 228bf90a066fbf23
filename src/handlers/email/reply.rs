//! What a mail server's answer means: the failure in our own words, and whether to try again.

use lettre::Address;
use lettre::transport::smtp::Error;

use crate::alert::Retry;
use crate::outbound;
use crate::types::one_line;

/// Characters of a server's answer that are repeated.
const ANSWER_CHARS_MAX: usize = 300;

/// Why a mail was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The cause and the remedy.
    pub(super) what: String,
    /// Whether to try again.
    pub(super) retry: Retry,
}

/// A receiver that the server has refused while it took others.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) receiver: Address,
    pub(super) failure: Failure,
}

/// What the server was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Request<'a> {
    /// A greeting.
    Hello,
    /// Encryption.
    StartTls,
    /// A login.
    Login,
    /// A mail from this sender.
    Sender(&'a Address),
    /// A mail to this receiver.
    Receiver(&'a Address),
    /// The mail.
    Letter,
}

impl Failure {
    /// A failure that may pass.
    pub(super) fn later(what: String) -> Self {
        Self { what, retry: Retry::Later }
    }

    /// The failure of a request to the server at `address`; `is_user` if there was a login.
    pub(super) fn of(error: &Error, request: Request<'_>, address: &str, is_user: bool) -> Self {
        let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        let Some(code) = error.status().map(u16::from) else {
            return Self::later(match (error.is_response(), &*source) {
                (true, "incomplete response") => format!("{address} hung up before it answered"),
                (true, _) => format!("{address} does not answer like a mail server: check smtp_port"),
                (false, _) => outbound::of_mail_connection(error, address),
            });
        };
        let text: String = one_line(&source).chars().take(ANSWER_CHARS_MAX).collect();
        let said = if text.is_empty() { String::new() } else { format!(" ({text})") };
        let what = format!("the server answered {code}{said}{}{}", request.about(), remedy(code, request, is_user));
        Self { what, retry: retry(code, request) }
    }
}

impl Request<'_> {
    fn about(self) -> String {
        match self {
            Self::Hello => " to the greeting".to_owned(),
            Self::StartTls => " to STARTTLS".to_owned(),
            Self::Login => " to the login".to_owned(),
            Self::Sender(address) => format!(" to the sender {address}"),
            Self::Receiver(address) => format!(" to the receiver {address}"),
            Self::Letter => " to the mail".to_owned(),
        }
    }
}

/// Whether an answer may be another one later.
fn retry(code: u16, request: Request<'_>) -> Retry {
    match (code, request) {
        (502 | 504, Request::Login) => Retry::Never,
        (530 | 534 | 535 | 538, _) | (500..=599, Request::Login) => Retry::Login,
        // It is about the connection, not about this mail.
        (500..=599, Request::Hello | Request::StartTls) => Retry::Later,
        (500..=599, _) => Retry::Never,
        _ => Retry::Later,
    }
}

/// What to do about an answer; empty if there is nothing.
fn remedy(code: u16, request: Request<'_>, is_user: bool) -> &'static str {
    match (code, request) {
        (530, _) if !is_user => ": it wants a login or encryption; set username and password, and tls as it wants it",
        (534, _) => ": it wants another kind of password; many providers give one for applications",
        (502 | 504, Request::Login) => ": it takes no login with user and password",
        (530 | 535 | 538, _) | (500..=599, Request::Login) => {
            ": it knows no such user and password; check username and password"
        }
        (421, _) => ": it closes the connection; it may be overloaded",
        (452 | 552, Request::Letter | Request::Sender(_)) => ": the mail is too large for it, or it has no room",
        (452 | 552, Request::Receiver(_)) => ": this receiver's mailbox is full",
        (400..=499, _) => ": it may take it later",
        (_, Request::Sender(_)) => {
            ": it takes no mail from this sender; check from_address, and which the user may write"
        }
        (_, Request::Receiver(_)) => ": it takes no mail for this receiver; check the address",
        (_, Request::Letter) => ": it does not take the mail as it is; its administrator knows why",
        (_, Request::StartTls) => ": it changes to no encryption; check tls and smtp_port",
        (_, Request::Hello) => ": it takes no mail from this machine; check smtp_server and smtp_port",
        (_, Request::Login) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_to_try_again() {
        let address: Address = "a@example.com".parse().unwrap();
        for (code, request, expected) in [
            (421, Request::Hello, Retry::Later),
            (554, Request::Hello, Retry::Later),
            (454, Request::StartTls, Retry::Later),
            (535, Request::Login, Retry::Login),
            (534, Request::Login, Retry::Login),
            (550, Request::Login, Retry::Login),
            (504, Request::Login, Retry::Never),
            (454, Request::Login, Retry::Later),
            (530, Request::Sender(&address), Retry::Login),
            (550, Request::Sender(&address), Retry::Never),
            (450, Request::Receiver(&address), Retry::Later),
            (553, Request::Receiver(&address), Retry::Never),
            (451, Request::Letter, Retry::Later),
            (552, Request::Letter, Retry::Never),
        ] {
            assert_eq!(retry(code, request), expected, "{code} {request:?}");
            assert!(remedy(code, request, false).starts_with(": "), "{code} {request:?}");
        }
        assert!(remedy(530, Request::Sender(&address), false).contains("set username"));
        assert!(remedy(530, Request::Sender(&address), true).contains("check username"));
    }
}
