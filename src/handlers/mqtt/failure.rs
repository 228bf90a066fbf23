//! What goes wrong between this program and a broker, in words with a remedy.

use crate::alert::Retry;

/// A failure.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// What went wrong, and what to do. It holds neither user nor password.
    pub(super) message: String,
    /// Whether to try again.
    pub(super) retry: Retry,
    /// Whether the connection cannot be used any more.
    pub(super) ends: bool,
    /// Whether the broker may speak the other version of the protocol.
    pub(super) version: bool,
}

impl Failure {
    /// The connection broke, or never was.
    pub(super) fn lost(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry: Retry::Later, ends: true, version: false }
    }

    /// The message cannot be sent to this broker; the connection stays.
    pub(super) fn unfit(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry: Retry::Never, ends: false, version: false }
    }

    /// The broker refused the connection for this reason.
    pub(super) fn refused(reason: u8, client_id: &str) -> Self {
        let (what, retry) = of_reason(reason, client_id);
        let message = format!("the broker refused the connection: {what}");
        Self { message, retry, ends: true, version: matches!(reason, 0x80..=0x82 | 0x84) }
    }

    /// The broker refused the message for this reason.
    pub(super) fn rejected(reason: u8, topic: &str, client_id: &str) -> Self {
        let (what, retry) = match reason {
            0x87 => ("this user may not publish there: allow it in the broker's access list".to_owned(), Retry::Login),
            0x90 => ("it does not accept this topic: check config.topic_prefix".to_owned(), Retry::Never),
            other => of_reason(other, client_id),
        };
        Self {
            message: format!("the broker refused the message to {topic}: {what}"),
            retry,
            ends: false,
            version: false,
        }
    }

    /// The broker ended the connection for this reason.
    pub(super) fn ended(reason: u8, client_id: &str) -> Self {
        let (what, retry) = of_reason(reason, client_id);
        Self { message: format!("the broker ended the connection: {what}"), retry, ends: true, version: false }
    }
}

/// A reason of MQTT 5, in words, and whether to try again. What is only wrong for a while, or in the settings of this
/// program or the broker, is tried again.
fn of_reason(reason: u8, client_id: &str) -> (String, Retry) {
    let what = match reason {
        0x84 => "it speaks neither MQTT 5 nor 3.1.1",
        0x85 => return (format!("it does not accept the client name {client_id}: set config.client_id"), Retry::Later),
        0x86 => return ("it knows no such user or password: check config.username and password".into(), Retry::Login),
        0x87 => {
            let what = "not authorised: check config.username and password, and what this user may do there";
            return (what.into(), Retry::Login);
        }
        0x8A => return ("this client is banned there".into(), Retry::Login),
        0x00 | 0x8B => "it is shutting down",
        0x88 | 0x89 => "it is not available at the moment",
        0x8E => {
            let what = format!("another client has the name {client_id}: give each its own config.client_id");
            return (what, Retry::Later);
        }
        0x90 => "it does not accept the topic: check config.topic_prefix",
        0x95 => return ("the alert is too large for it".into(), Retry::Never),
        0x97 => "a quota is used up",
        0x99 => return ("it does not accept the alert's form".into(), Retry::Never),
        0x9A => "it keeps no retained messages, which `available` needs",
        0x9B => "it does not offer this QoS: set config.qos to a lower one",
        0x9C | 0x9D => "it sends clients to another server: change config.url",
        0x9F => "too many connections in a short time",
        other => return (format!("reason 0x{other:02X}"), Retry::Later),
    };
    (what.to_owned(), Retry::Later)
}
