//! Why a source does not deliver: one classification, in our own words, with what to change and how soon another attempt
//! makes sense.
//!
//! An outage passes: it is tried again soon and for ever. What somebody has to change does not pass, and asking again does
//! harm (a camera locks the account after a few wrong passwords): a few attempts, then one every few minutes.

/// Attempts at what has to be changed before there is one every few minutes only.
const TRIES: u32 = 3;
/// The same where a name is not known: a machine that has just started may not know names yet.
const NAME_TRIES: u32 = 6;

/// What stands between a camera and its pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// There is no such name.
    UnknownName,
    /// The name cannot be looked up at the moment, and why.
    NoNameServer(String),
    /// Nobody listens there.
    Refused,
    /// There is no way there, and why.
    Unreachable(String),
    /// No connection comes about.
    NoConnection,
    /// It hung up; while it was asked for what.
    HungUp(&'static str),
    /// It speaks something else than RTSP.
    NotRtsp,
    /// It answers with something else than a stream, and what is known of that.
    NoStream(String),
    /// It speaks no TLS there.
    NoTls,
    /// Its certificate is not accepted, and why.
    Certificate(String),
    /// It wants another user or password; whether it was given any.
    Unauthorized {
        /// Whether there are a user and a password.
        given: bool,
    },
    /// This user may not see it.
    Forbidden,
    /// There is nothing at the path.
    NotFound,
    /// It serves no more viewers at the moment.
    Busy,
    /// It answers with another error: the status, and the camera's words for it.
    Status(u32, String),
    /// It does not send over TCP.
    NoTcp,
    /// It does not send over UDP.
    NoUdp,
    /// It sends neither over TCP nor over UDP.
    NoTransport,
    /// There is no video in what it sends.
    NoVideo,
    /// There is no decoder for what it sends: what is missing.
    NoDecoder(String),
    /// What it sends cannot be read, and what is known of that.
    Damaged(String),
}

/// How an attempt's failure is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patience {
    /// It passes.
    #[default]
    Outage,
    /// Somebody has to change something, unless the source has worked as it is: so many attempts in a row.
    Setting(u32),
    /// The camera refuses who asks, whether that has worked or not: so many attempts in a row.
    Login(u32),
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// Why, with what to do, without secrets.
    pub reason: String,
    /// What has to be changed, where waiting does not help.
    pub remedy: Option<String>,
    /// How soon another attempt makes sense.
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
    /// Of a cause at `peer`, a `host:port`.
    pub fn of(cause: &Cause, peer: &str) -> Self {
        let (what, remedy) = cause.told(peer);
        let patience = cause.patience();
        let reason = if remedy.is_empty() { what } else { format!("{what}: {remedy}") };
        Self { reason, remedy: (patience != Patience::Outage).then(|| remedy.to_owned()), patience }
    }
}

impl Cause {
    /// How soon another attempt makes sense.
    pub fn patience(&self) -> Patience {
        match self {
            Self::Unauthorized { .. } | Self::Forbidden => Patience::Login(TRIES),
            Self::UnknownName => Patience::Setting(NAME_TRIES),
            Self::NotRtsp
            | Self::NoStream(_)
            | Self::NoTls
            | Self::Certificate(_)
            | Self::NotFound
            | Self::NoTcp
            | Self::NoUdp
            | Self::NoTransport
            | Self::NoVideo
            | Self::NoDecoder(_) => Patience::Setting(TRIES),
            Self::NoNameServer(_)
            | Self::Refused
            | Self::Unreachable(_)
            | Self::NoConnection
            | Self::HungUp(_)
            | Self::Busy
            | Self::Status(..)
            | Self::Damaged(_) => Patience::Outage,
        }
    }

    /// What is wrong, and what to do about it.
    fn told(&self, peer: &str) -> (String, &'static str) {
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
            Self::NoConnection => (
                format!("no connection to {peer}"),
                "is the camera on, is its address right, does a firewall keep it off",
            ),
            Self::HungUp(asked) => (
                format!("{peer} hung up {asked}"),
                "it may be starting, or serve too many; where it speaks TLS, write rtsps://",
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
            Self::Unauthorized { given: true } => (
                format!("{peer} refuses the user or the password (401 Unauthorized)"),
                "correct user and password in the uri; it is asked rarely until then, so that it locks nobody out",
            ),
            Self::Unauthorized { given: false } => (
                format!("{peer} wants a user and a password (401 Unauthorized)"),
                "write user and password into the uri, before the host",
            ),
            Self::Forbidden => (
                format!("{peer} does not let this user see it (403 Forbidden)"),
                "give the user the right there, or write another into the uri",
            ),
            Self::NotFound => (
                format!("{peer} has nothing at this path (404 Not Found)"),
                "write the path that its manual names into the uri",
            ),
            Self::Busy => (format!("{peer} serves no more viewers"), "close others, or let it allow more"),
            Self::Status(code, phrase) => (format!("{peer} answers {code} {phrase}"), ""),
            Self::NoTcp => {
                (format!("the camera takes no TCP ({peer})"), "write parameters.protocol: udp, or leave it out")
            }
            Self::NoUdp => {
                (format!("the camera takes no UDP ({peer})"), "write parameters.protocol: tcp, or leave it out")
            }
            Self::NoTransport => {
                (format!("the camera takes neither TCP nor UDP ({peer})"), "let it send over TCP, in its own settings")
            }
            Self::NoVideo => (
                format!("there is no video in what {peer} sends"),
                "write the path of a stream with pictures into the uri",
            ),
            Self::NoDecoder(what) => {
                (format!("GStreamer has no {what} here"), "install its package: `dsengine doctor` names it")
            }
            Self::Damaged(what) => {
                (format!("what {peer} sends cannot be read ({what})"), "it may be starting, or damaged on the way")
            }
        }
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
    }
}
