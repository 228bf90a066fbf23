//! Causes of a source's failure, in our own words, with a remedy and a retry policy.
//!
//! An outage is transient: the source is retried soon and for ever. What looks permanent (401, 403, 404, a codec without
//! decoder) has one slow pace from the first failure on, because retrying does harm: cameras lock an account after a few
//! wrong passwords. Other answers that the settings do not fit are tried a few times before the pace gets slow, since a
//! camera that starts may give them, too.

mod device;
mod web;

pub use device::DeviceCause;
pub use web::WebCause;

/// Attempts with a wrong setting before retries slow down.
const TRIES: u32 = 3;
/// The same for an unknown name: DNS may not work yet on a machine that has just started.
const NAME_TRIES: u32 = 6;

/// Why a camera delivers no pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// DNS does not know the name.
    UnknownName,
    /// The name cannot be looked up at the moment, and why.
    NoNameServer(String),
    /// The connection was refused.
    Refused,
    /// The host is unreachable, and why.
    Unreachable(String),
    /// The connection timed out or failed otherwise.
    NoConnection,
    /// The peer closed the connection, and in which phase.
    HungUp(&'static str),
    /// The peer does not speak RTSP.
    NotRtsp,
    /// The peer answers, but not with a usable stream; GStreamer's description.
    NoStream(String),
    /// The port does not speak TLS.
    NoTls,
    /// The certificate was rejected, and why.
    Certificate(String),
    /// 401 or 407: authentication failed or is missing.
    Unauthorized {
        /// Whether the URI holds a user and a password.
        given: bool,
    },
    /// 403: the user lacks permission.
    Forbidden,
    /// 404 or 410: the path does not exist.
    NotFound,
    /// 453 or 503: the camera serves no further clients at the moment.
    Busy,
    /// 3xx: the stream is elsewhere; where, without secrets.
    Redirected(String),
    /// Any other error status, and its phrase.
    Status(u32, String),
    /// The camera does not send over TCP.
    NoTcp,
    /// The camera does not send over UDP.
    NoUdp,
    /// The camera sends neither over TCP nor over UDP.
    NoTransport,
    /// The stream has no video.
    NoVideo,
    /// GStreamer lacks a decoder: which one, and the command that installs it, where known.
    NoDecoder(String, Option<&'static str>),
    /// A failure of a web address.
    Web(WebCause),
    /// A failure of a camera of this machine.
    Device(DeviceCause),
    /// The stream is damaged; GStreamer's description.
    Damaged(String),
}

/// How a failed attempt is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patience {
    /// An outage: retried with backoff.
    #[default]
    Outage,
    /// The peer does not fit the settings, unless the source has worked with them before: retries slow down after so many
    /// attempts in a row.
    Setting(u32),
    /// What was asked for is not there (404, no decoder), unless the source has worked before: retries are slow at once.
    Refused,
    /// A rejected login (401, 403), even if it has worked before: retries are slow at once.
    Login,
}

impl Patience {
    /// The class of the error, for status and metrics.
    pub fn class(self) -> &'static str {
        match self {
            Self::Outage => "transient",
            Self::Refused | Self::Login => "permanent",
            Self::Setting(_) => "configuration",
        }
    }
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// The cause and the remedy, without secrets.
    pub reason: String,
    /// What the user must change, where waiting does not help.
    pub remedy: Option<String>,
    /// The retry policy.
    pub patience: Patience,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { reason, ..Self::default() }
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

impl Failure {
    /// Builds the failure for a cause at `peer` (`host:port`).
    pub fn of(cause: &Cause, peer: &str) -> Self {
        let (what, remedy) = cause.describe(peer);
        let patience = cause.patience();
        let reason = if remedy.is_empty() { what } else { format!("{what}: {remedy}") };
        Self { reason, remedy: (patience != Patience::Outage).then(|| remedy.to_owned()), patience }
    }
}

impl Cause {
    /// The retry policy for this cause.
    pub fn patience(&self) -> Patience {
        match self {
            Self::Web(cause) => cause.patience(),
            Self::Device(cause) => cause.patience(),
            Self::Unauthorized { .. } | Self::Forbidden => Patience::Login,
            Self::NotFound | Self::NoDecoder(..) => Patience::Refused,
            Self::UnknownName => Patience::Setting(NAME_TRIES),
            Self::Status(code, _) if passes(*code) => Patience::Outage,
            Self::Status(..)
            | Self::Redirected(_)
            | Self::NotRtsp
            | Self::NoStream(_)
            | Self::NoTls
            | Self::Certificate(_)
            | Self::NoTcp
            | Self::NoUdp
            | Self::NoTransport
            | Self::NoVideo => Patience::Setting(TRIES),
            Self::NoNameServer(_)
            | Self::Refused
            | Self::Unreachable(_)
            | Self::NoConnection
            | Self::HungUp(_)
            | Self::Busy
            | Self::Damaged(_) => Patience::Outage,
        }
    }

    /// Whether waiting may help.
    pub fn passes(&self) -> bool {
        self.patience() == Patience::Outage
    }

    /// The cause and its remedy as text.
    fn describe(&self, peer: &str) -> (String, &'static str) {
        let host = peer.rsplit_once(':').map_or(peer, |(host, _)| host);
        match self {
            Self::UnknownName => (
                format!("the name {host} is not known"),
                "check its spelling in the uri, and this machine's DNS; a password with @ or / in it is written %40, %2F",
            ),
            Self::NoNameServer(why) => {
                (format!("the name {host} cannot be looked up ({why})"), "check this machine's network and DNS")
            }
            Self::Refused => {
                (format!("nobody listens at {peer} (connection refused)"), "is the camera on, is the port right")
            }
            Self::Unreachable(why) => (format!("there is no way to {peer} ({why})"), "check the network"),
            Self::NoConnection => {
                (format!("no connection to {peer}"), "is it on, is its address right, does a firewall keep it off")
            }
            Self::HungUp(asked) => (
                format!("{peer} hung up {asked}"),
                "it may be starting, or serve too many; where it speaks TLS, write rtsps:// or https://",
            ),
            Self::NotRtsp => (
                format!("{peer} does not speak RTSP"),
                "write the port of its RTSP (554 as a rule), rtsps:// where it speaks TLS",
            ),
            Self::NoStream(what) => (
                format!("{peer} answers, and not with a stream ({what})"),
                "write the path of a stream into the uri, as the camera's manual names it",
            ),
            Self::NoTls => (
                format!("{peer} speaks no TLS on this port"),
                "write rtsp://, or the port of its rtsps (322 as a rule)",
            ),
            Self::Certificate(why) => (
                why.clone(),
                "name its authority's file as parameters.ca_file or in SSL_CERT_FILE, or its own fingerprint (SHA-256) as \
                 parameters.fingerprint",
            ),
            Self::Unauthorized { given } => login(peer, *given),
            Self::Forbidden => (
                format!("{peer} does not let this user see it (403 Forbidden)"),
                "give the user the right there, or write another into the uri",
            ),
            Self::NotFound => (
                format!("{peer} has nothing at this path (404 Not Found)"),
                "write the path in its manual into the uri",
            ),
            Self::Busy => (format!("{peer} serves no more viewers"), "close others, or let it allow more"),
            Self::Redirected(target) => (
                format!("{peer} sends it on to {target}"),
                "no redirect is followed, so that the password stays with its host; write the stream's own address as uri",
            ),
            Self::Status(code, phrase) => (
                format!("{peer} answers {code} {phrase}"),
                if passes(*code) { "" } else { "compare the uri with the one in the camera's manual" },
            ),
            Self::NoTcp => {
                (format!("the camera takes no TCP ({peer})"), "write parameters.protocol: udp, or leave it out")
            }
            Self::NoUdp => {
                (format!("the camera takes no UDP ({peer})"), "write parameters.protocol: tcp, or leave it out")
            }
            Self::NoTransport => {
                (format!("the camera takes neither TCP nor UDP ({peer})"), "let it send over TCP, in its own settings")
            }
            Self::NoVideo => {
                (format!("there is no video in what {peer} sends"), "write the path of a video stream as uri")
            }
            Self::NoDecoder(what, install) => (
                format!("GStreamer has no {what} here"),
                install.unwrap_or("install its package: `dsengine doctor` names it"),
            ),
            Self::Web(cause) => cause.describe(peer),
            Self::Device(cause) => cause.describe(peer),
            Self::Damaged(what) => {
                (format!("what {peer} sends cannot be read ({what})"), "it may be starting, or damaged on the way")
            }
        }
    }
}

/// A refused login as text, by whether the URI holds a user.
fn login(peer: &str, given: bool) -> (String, &'static str) {
    match given {
        true => (
            format!("{peer} refuses the user or the password (401 Unauthorized)"),
            "correct user and password in the uri; it is asked rarely until then, so that it locks nobody out",
        ),
        false => (
            format!("{peer} requires a user and a password (401 Unauthorized)"),
            "write user and password into the uri, before the host",
        ),
    }
}

/// Whether an error status is about the server's present state. Any other is about the request, and the same request
/// gets the same answer: 4xx, and 501, 505 and 551, which name what the server never does.
fn passes(status: u32) -> bool {
    match status {
        // Too slow, too often, no such session any more, not in this state.
        408 | 429 | 454 | 455 => true,
        501 | 505 | 551 => false,
        _ => status >= 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_is_wrong_and_where_it_stays_so_what_to_change() {
        let of = |cause: Cause| Failure::of(&cause, "cam:554");
        for cause in [Cause::Unauthorized { given: true }, Cause::NotFound, Cause::UnknownName, Cause::NoVideo] {
            let failure = of(cause.clone());
            let remedy = failure.remedy.unwrap_or_else(|| panic!("{cause:?} has to be changed"));
            assert!(failure.reason.contains("cam") && failure.reason.ends_with(&remedy), "{}", failure.reason);
            assert_ne!(failure.patience, Patience::Outage);
        }
        for cause in [Cause::Refused, Cause::NoConnection, Cause::HungUp("in the middle"), Cause::Busy] {
            let failure = of(cause.clone());
            assert_eq!((failure.remedy, failure.patience), (None, Patience::Outage), "{cause:?} passes");
        }
        assert_eq!(of(Cause::Status(500, "Oops".into())).reason, "cam:554 answers 500 Oops");
        let lasts = |code| of(Cause::Status(code, String::new())).patience != Patience::Outage;
        for code in [400, 402, 405, 406, 415, 451, 457, 459, 501, 505, 551] {
            assert!(lasts(code), "{code}: the same request gets the same answer");
        }
        for code in [408, 429, 454, 455, 500, 502, 504, 599] {
            assert!(!lasts(code), "{code} passes");
        }
    }
}
